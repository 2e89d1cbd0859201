//! Rows of services that have no test beside their rules.

use serde_json::json;

use super::*;

#[test]
fn services() {
    rows(
        "",
        "services",
        &json!({"spec": {"ports": [{"port": 80}]}}),
        &[
            (
                json!({"spec": {"ports": [{"port": 80, "protocol": "X"}]}}),
                "spec.ports[0].protocol: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"ports": [{"port": 80, "targetPort": 70_000}]}}),
                "spec.ports[0].targetPort: Invalid value: 70000",
            ),
            (
                json!({"spec": {"ports": [{"port": 80, "targetPort": "A_b"}]}}),
                "spec.ports[0].targetPort: Invalid value: \"A_b\"",
            ),
            (
                json!({"spec": {"ports": [{"port": 80, "name": "A_b"}]}}),
                "spec.ports[0].name: Invalid value: \"A_b\"",
            ),
            (
                json!({"spec": {"sessionAffinity": "X"}}),
                "spec.sessionAffinity: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"internalTrafficPolicy": "X"}}),
                "spec.internalTrafficPolicy: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"trafficDistribution": "X"}}),
                "spec.trafficDistribution: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"externalIPs": ["127.0.0.1"]}}),
                "spec.externalIPs[0]: Invalid value: \"127.0.0.1\": may not be in the loopback range",
            ),
            (json!({"spec": {"selector": {"-": "x"}}}), "spec.selector: Invalid value: \"-\""),
            (
                json!({"spec": {"ipFamilyPolicy": "X"}}),
                "spec.ipFamilyPolicy: Unsupported value: \"X\"",
            ),
            (
                json!({"spec": {"loadBalancerSourceRanges": ["10.0.0.0/8"]}}),
                "spec.loadBalancerSourceRanges: Forbidden: may only be used when `type` is 'LoadBalancer'",
            ),
            (
                json!({"spec": {"type": "ExternalName", "externalName": "a b"}}),
                "spec.externalName: Invalid value: \"a b\"",
            ),
            (
                json!({"spec": {"healthCheckNodePort": 30000}}),
                "spec.healthCheckNodePort: Invalid value: 30000",
            ),
        ],
    );
    let old = json!({"spec": {"type": "ClusterIP", "clusterIP": "10.96.0.5", "clusterIPs": ["10.96.0.5"],
        "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "ports": [{"port": 80}]}});
    changes(
        "",
        "services",
        None,
        &old,
        &[(
            json!({"spec": {"clusterIP": "10.96.0.6", "clusterIPs": ["10.96.0.6"]}}),
            "spec.clusterIPs[0]: Invalid value: [\"10.96.0.6\"]: may not change once set",
        )],
    );
    changes(
        "",
        "services",
        Some("status"),
        &merged(&old, &json!({"spec": {"type": "LoadBalancer"}})),
        &[
            (
                json!({"status": {"loadBalancer": {"ingress": [{"ip": "x"}]}}}),
                "status.loadBalancer.ingress[0].ip: Invalid value: \"x\"",
            ),
            (
                json!({"status": {"loadBalancer": {"ingress": [{"ip": "1.2.3.4", "ipMode": "X"}]}}}),
                "status.loadBalancer.ingress[0].ipMode: Unsupported value: \"X\"",
            ),
        ],
    );
}
