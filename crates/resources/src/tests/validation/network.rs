//! Ingresses, network policies, addresses, leases.

use serde_json::json;

use super::*;

#[test]
fn network() {
    const NET: &str = "networking.k8s.io";
    create(
        NET,
        "ingresses",
        json!({"spec": {}}),
        "spec: Invalid value: []: either `defaultBackend` or `rules` must be specified",
    );
    let rule = |rule: Value| json!({"spec": {"rules": [rule]}});
    create(
        NET,
        "ingresses",
        rule(json!({"host": "1.2.3.4"})),
        "spec.rules[0].host: Invalid value: \"1.2.3.4\": must be a DNS name, not an IP address",
    );
    create(
        NET,
        "ingresses",
        rule(json!({"http": {"paths": []}})),
        "spec.rules[0].http.paths: Required value",
    );
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    create(
        NET,
        "ingresses",
        rule(json!({"http": {"paths": [{"path": "x", "pathType": "Prefix", "backend": backend}]}})),
        "spec.rules[0].http.paths[0].path: Invalid value: \"x\": must be an absolute path",
    );
    create(
        NET,
        "ingresses",
        rule(json!({"http": {"paths": [{"path": "/x", "backend": backend}]}})),
        "spec.rules[0].http.paths[0].pathType: Required value: pathType must be specified",
    );
    create(
        NET,
        "ingresses",
        json!({"spec": {"defaultBackend": {"service": {"name": "s", "port": {"number": 80, "name": "a"}}}}}),
        "spec.defaultBackend.service.port: Invalid value: \"\": cannot set both port name & port number",
    );
    create(NET, "ingressclasses", json!({"spec": {}}), "spec.controller: Required value");
    let peer = |peer: Value| json!({"spec": {"podSelector": {}, "ingress": [{"from": [peer]}]}});
    create(
        NET,
        "networkpolicies",
        peer(json!({})),
        "spec.ingress[0].from[0]: Required value: must specify a peer",
    );
    create(
        NET,
        "networkpolicies",
        peer(json!({"ipBlock": {"cidr": "10.0.0.0/8", "except": ["11.0.0.0/16"]}})),
        "spec.ingress[0].from[0].ipBlock.except[0]: Invalid value: \"11.0.0.0/16\": must be a strict subset of `cidr`",
    );
    create(
        NET,
        "servicecidrs",
        json!({"spec": {"cidrs": ["10.0.0.1/8"]}}),
        "spec.cidrs[0]: Invalid value: \"10.0.0.1/8\": must not have bits set beyond the prefix length",
    );
    create(NET, "ipaddresses", json!({"spec": {}}), "spec.parentRef: Required value");
    create(
        "coordination.k8s.io",
        "leases",
        json!({"spec": {"leaseDurationSeconds": 0}}),
        "spec.leaseDurationSeconds: Invalid value: 0: must be greater than 0",
    );
}

#[test]
fn ingress_paths_and_backends() {
    const NET: &str = "networking.k8s.io";
    let backend = json!({"service": {"name": "s", "port": {"number": 80}}});
    let path = |change: serde_json::Value| {
        let good = json!({"path": "/x", "pathType": "Prefix", "backend": backend});
        json!({"spec": {"rules": [{"http": {"paths": [merged(&good, &change)]}}]}})
    };
    let field = "spec.rules[0].http.paths[0]";
    for (object, expected) in [
        (path(json!({})), String::new()),
        (path(json!({"pathType": "X"})), format!("{field}.pathType: Unsupported value: \"X\"")),
        (
            path(json!({"path": "/a//b"})),
            format!("{field}.path: Invalid value: \"/a//b\": must not contain '//'"),
        ),
        (
            path(json!({"path": "/a/../b"})),
            format!("{field}.path: Invalid value: \"/a/../b\": must not contain '/../'"),
        ),
        (
            path(json!({"path": "/a%2fb"})),
            format!("{field}.path: Invalid value: \"/a%2fb\": must not contain '%2f'"),
        ),
        (
            path(json!({"backend": {"service": {"name": ""}}})),
            format!("{field}.backend.service.name: Required value"),
        ),
        (
            path(json!({"backend": {"service": {"port": {"number": 0}}}})),
            format!("{field}.backend.service.port"),
        ),
        (
            path(json!({"backend": {"resource": {"kind": "K", "name": "n"}}})),
            format!(
                "{field}.backend: Invalid value: \"\": cannot set both resource and service backends"
            ),
        ),
    ] {
        create(NET, "ingresses", object, &expected);
    }
    let with =
        |change: serde_json::Value| merged(&json!({"spec": {"defaultBackend": backend}}), &change);
    create(
        NET,
        "ingresses",
        with(json!({"spec": {"ingressClassName": "A_b"}})),
        "spec.ingressClassName: Invalid value: \"A_b\"",
    );
    create(
        NET,
        "ingresses",
        with(
            json!({"metadata": {"annotations": {"kubernetes.io/ingress.class": "a"}}, "spec": {"ingressClassName": "b"}}),
        ),
        "metadata.annotations.kubernetes.io/ingress.class: Invalid value: \"a\": must match `ingressClassName` when both are specified",
    );
    create(
        NET,
        "ingresses",
        with(json!({"spec": {"rules": [{"host": "a*b"}]}})),
        "spec.rules[0].host: Invalid value: \"a*b\"",
    );
    create(NET, "ingresses", with(json!({"spec": {"rules": [{"host": "*.example.com"}]}})), "");
    create(
        NET,
        "ingresses",
        with(json!({"spec": {"tls": [{"hosts": ["A_b"]}]}})),
        "spec.tls[0].hosts[0]: Invalid value: \"A_b\"",
    );
}

#[test]
fn classes_policies_and_addresses() {
    const NET: &str = "networking.k8s.io";
    rows(
        NET,
        "ingressclasses",
        &json!({"spec": {"controller": "example.com/c"}}),
        &[
            (
                json!({"spec": {"controller": "x"}}),
                "spec.controller: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
            (
                json!({"spec": {"parameters": {"kind": "K"}}}),
                "spec.parameters.name: Required value: name is required",
            ),
            (
                json!({"spec": {"parameters": {"kind": "K", "name": "n", "scope": "Namespace"}}}),
                "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
            ),
            (
                json!({"spec": {"parameters": {"kind": "K", "name": "n", "scope": "X"}}}),
                "spec.parameters.scope: Unsupported value: \"X\"",
            ),
        ],
    );
    changes(
        NET,
        "ingressclasses",
        None,
        &json!({"spec": {"controller": "example.com/c"}}),
        &[(
            json!({"spec": {"controller": "example.com/d"}}),
            "spec.controller: Invalid value: \"example.com/d\": field is immutable",
        )],
    );
    let port = |port: serde_json::Value| json!({"spec": {"ingress": [{"ports": [port]}]}});
    rows(
        NET,
        "networkpolicies",
        &json!({"spec": {"podSelector": {}}}),
        &[
            (
                port(json!({"protocol": "X"})),
                "spec.ingress[0].ports[0].protocol: Unsupported value: \"X\": supported values: \"TCP\", \"UDP\", \"SCTP\"",
            ),
            (
                port(json!({"port": 0})),
                "spec.ingress[0].ports[0].port: Invalid value: 0: must be between 1 and 65535, inclusive",
            ),
            (
                port(json!({"port": 80, "endPort": 79})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 79: must be greater than or equal to `port`",
            ),
            (
                port(json!({"port": "http", "endPort": 79})),
                "spec.ingress[0].ports[0].endPort: Invalid value: 79: may not be specified when `port` is non-numeric",
            ),
            (
                json!({"spec": {"ingress": [{"from": [{"podSelector": {}, "ipBlock": {"cidr": "10.0.0.0/8"}}]}]}}),
                "spec.ingress[0].from[0]: Forbidden: may not specify both ipBlock and another peer",
            ),
            (
                json!({"spec": {"ingress": [{"from": [{"ipBlock": {"cidr": ""}}]}]}}),
                "spec.ingress[0].from[0].ipBlock.cidr: Required value",
            ),
            (
                json!({"spec": {"policyTypes": ["X"]}}),
                "spec.policyTypes[0]: Unsupported value: \"X\": supported values: \"Ingress\", \"Egress\"",
            ),
        ],
    );
    changes(
        NET,
        "servicecidrs",
        None,
        &json!({"spec": {"cidrs": ["10.0.0.0/16"]}}),
        &[(
            json!({"spec": {"cidrs": ["10.1.0.0/16"]}}),
            "spec.cidrs[0]: Invalid value: \"10.1.0.0/16\": field is immutable",
        )],
    );
    let address = json!({"metadata": {"name": "10.0.0.1"}, "spec": {"parentRef": {"resource": "services", "name": "s", "namespace": "n"}}});
    rows(
        NET,
        "ipaddresses",
        &address,
        &[
            (
                json!({"spec": {"parentRef": {"resource": ""}}}),
                "spec.parentRef.resource: Required value",
            ),
            (json!({"spec": {"parentRef": {"name": ""}}}), "spec.parentRef.name: Required value"),
        ],
    );
    rows(
        "coordination.k8s.io",
        "leases",
        &json!({"spec": {"holderIdentity": "h", "leaseDurationSeconds": 1}}),
        &[
            (
                json!({"spec": {"holderIdentity": ""}}),
                "spec.holderIdentity: Invalid value: \"\": must not be empty",
            ),
            (
                json!({"spec": {"leaseTransitions": -1}}),
                "spec.leaseTransitions: Invalid value: -1: must be greater than or equal to 0",
            ),
        ],
    );
}
