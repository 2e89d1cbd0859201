//! The rows of the validation rules, kind by kind (pods, services, deployments and schemas have
//! their own tests).

use std::sync::Arc;

use api::Value;
use apiserver::resource::{Resource, WriteContext};
use auth::UserInfo;
use serde_json::json;

use super::{all, deps, find};

fn with<R>(
    group: &str,
    plural: &str,
    subresource: Option<&str>,
    run: impl Fn(&Arc<dyn Resource>, &WriteContext<'_>) -> R,
) -> R {
    let user = UserInfo::named("u", &[]);
    let ctx = WriteContext {
        user: &user,
        now: "2026-01-02T00:00:00Z".parse().unwrap(),
        namespace: "n",
        subresource,
        dry_run: false,
    };
    run(&find(&all(&deps()), group, plural), &ctx)
}

fn named(mut object: Value) -> Value {
    if object["metadata"]["name"].is_null() {
        object["metadata"]["name"] = "x".into();
    }
    object["metadata"]["namespace"] = "n".into();
    object
}

/// What is wrong with a new object.
fn create(group: &str, plural: &str, object: Value, expected: &str) {
    let found = with(group, plural, None, |kind, ctx| {
        let mut object = named(object.clone());
        kind.default(&mut object);
        let errors = kind.validate_create(ctx, &object);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    });
    compare(plural, &found, expected);
}

/// What is wrong with a change through an endpoint.
fn update(group: &str, plural: &str, sub: Option<&str>, old: Value, new: Value, expected: &str) {
    let found = with(group, plural, sub, |kind, ctx| {
        let (mut old, mut new) = (named(old.clone()), named(new.clone()));
        kind.default(&mut old);
        kind.default(&mut new);
        let errors = kind.validate_update(ctx, &new, &old);
        errors.iter().map(ToString::to_string).collect::<Vec<_>>()
    });
    compare(plural, &found, expected);
}

fn compare(plural: &str, found: &[String], expected: &str) {
    let fits = if expected.is_empty() {
        found.is_empty()
    } else {
        found.iter().any(|text| text.starts_with(expected))
    };
    assert!(fits, "{plural}: {found:#?} has no {expected:?}");
}

#[test]
fn configuration() {
    create(
        "",
        "configmaps",
        json!({"data": {"a/b": "x"}}),
        "data[a/b]: Invalid value: \"a/b\": a valid config key must consist of",
    );
    create(
        "",
        "configmaps",
        json!({"data": {"a": "x"}, "binaryData": {"a": "eA=="}}),
        "data[a]: Invalid value: \"a\": duplicate of key present in binaryData",
    );
    create(
        "",
        "configmaps",
        json!({"data": {"a": "x".repeat(1_048_577)}}),
        "<nil>: Too long: may not be more than 1048576 bytes",
    );
    let frozen = json!({"immutable": true, "data": {"a": "b"}});
    update(
        "",
        "configmaps",
        None,
        frozen.clone(),
        json!({"immutable": true, "data": {"a": "c"}}),
        "data: Forbidden: field is immutable when `immutable` is set",
    );
    update(
        "",
        "configmaps",
        None,
        frozen,
        json!({"data": {"a": "b"}}),
        "immutable: Forbidden: field is immutable when `immutable` is set",
    );
    create("", "secrets", json!({"type": "kubernetes.io/tls"}), "data[tls.crt]: Required value");
    create(
        "",
        "secrets",
        json!({"type": "kubernetes.io/ssh-auth"}),
        "data[ssh-privatekey]: Required value",
    );
    create(
        "",
        "secrets",
        json!({"type": "kubernetes.io/basic-auth"}),
        "data[username]: Required value",
    );
    create(
        "",
        "secrets",
        json!({"type": "kubernetes.io/service-account-token"}),
        "metadata.annotations[kubernetes.io/service-account.name]: Required value",
    );
    create(
        "",
        "secrets",
        json!({"type": "kubernetes.io/dockerconfigjson", "data": {".dockerconfigjson": "e30="}}),
        "",
    );
    update(
        "",
        "secrets",
        None,
        json!({"type": "a"}),
        json!({"type": "b"}),
        "type: Invalid value: \"b\": field is immutable",
    );
    create(
        "",
        "namespaces",
        json!({"spec": {"finalizers": ["x"]}}),
        "spec.finalizers: Invalid value: \"x\": name is neither a standard finalizer name nor is it fully qualified",
    );
    update(
        "",
        "namespaces",
        Some("status"),
        json!({}),
        json!({"status": {"phase": "Terminating"}}),
        "status.Phase: Invalid value: \"Terminating\": may only be 'Active' if `deletionTimestamp` is empty",
    );
    create(
        "",
        "limitranges",
        json!({"spec": {"limits": [{"type": "Pod", "default": {"cpu": "1"}}]}}),
        "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
    );
    create(
        "",
        "limitranges",
        json!({"spec": {"limits": [{"type": "Pod", "min": {"cpu": "2"}, "max": {"cpu": "1"}}]}}),
        "spec.limits[0].min[cpu]: Invalid value: \"2\": min value 2 is greater than max value 1",
    );
    create(
        "",
        "resourcequotas",
        json!({"spec": {"hard": {"foo": "1"}}}),
        "spec.hard[foo]: Invalid value: \"foo\": must be a standard resource for quota",
    );
    create(
        "",
        "resourcequotas",
        json!({"spec": {"scopes": ["BestEffort", "NotBestEffort"]}}),
        "spec.scopes: Invalid value: [\"BestEffort\",\"NotBestEffort\"]: conflicting scopes",
    );
    update(
        "",
        "resourcequotas",
        None,
        json!({"spec": {"scopes": ["BestEffort"]}}),
        json!({"spec": {}}),
        "spec.scopes: Invalid value: null: field is immutable",
    );
}

#[test]
fn nodes_and_endpoints() {
    create(
        "",
        "nodes",
        json!({"spec": {"taints": [{"key": "a", "effect": "X"}]}}),
        "spec.taints[0].effect: Unsupported value: \"X\"",
    );
    create(
        "",
        "nodes",
        json!({"spec": {"taints": [{"key": "a", "effect": "NoExecute"}, {"key": "a", "effect": "NoExecute"}]}}),
        "spec.taints[1]: Duplicate value: {\"effect\":\"NoExecute\",\"key\":\"a\"}: taints must be unique by key and effect pair",
    );
    update(
        "",
        "nodes",
        None,
        json!({"spec": {"providerID": "a"}}),
        json!({"spec": {"providerID": "b"}}),
        "spec.providerID: Forbidden: node updates may not change providerID except from \"\" to valid",
    );
    create(
        "",
        "endpoints",
        json!({"subsets": [{"ports": [{"port": 1}]}]}),
        "subsets[0]: Required value: must specify `addresses` or `notReadyAddresses`",
    );
    create(
        "",
        "endpoints",
        json!({"subsets": [{"addresses": [{"ip": "127.0.0.1"}]}]}),
        "subsets[0].addresses[0].ip: Invalid value: \"127.0.0.1\": may not be in the loopback range (127.0.0.0/8, ::1/128)",
    );
    const SLICES: &str = "discovery.k8s.io";
    create(SLICES, "endpointslices", json!({}), "addressType: Required value");
    create(
        SLICES,
        "endpointslices",
        json!({"addressType": "IPv4", "endpoints": [{}]}),
        "endpoints[0].addresses: Required value: must contain at least 1 address",
    );
    create(
        SLICES,
        "endpointslices",
        json!({"addressType": "IPv4", "ports": [{}, {}]}),
        "ports[1].name: Duplicate value: \"\"",
    );
    update(
        SLICES,
        "endpointslices",
        None,
        json!({"addressType": "IPv4"}),
        json!({"addressType": "IPv6"}),
        "addressType: Invalid value: \"IPv6\": field is immutable",
    );
    create(
        "",
        "events",
        json!({"involvedObject": {"namespace": "other"}}),
        "involvedObject.namespace: Invalid value: \"other\": does not match event.namespace",
    );
    create(
        "events.k8s.io",
        "events",
        json!({"involvedObject": {"namespace": "n"}}),
        "eventTime: Required value",
    );
}

fn template() -> Value {
    json!({"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "i"}]}})
}

fn job_template() -> Value {
    let mut template = template();
    template["spec"]["restartPolicy"] = "Never".into();
    template
}

#[test]
fn workloads() {
    let spec = |more: Value| {
        let mut spec = json!({"selector": {"matchLabels": {"a": "b"}}, "template": template()});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "spec": spec })
    };
    create(
        "apps",
        "replicasets",
        spec(json!({"replicas": -1})),
        "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
    );
    update(
        "apps",
        "replicasets",
        None,
        spec(json!({})),
        spec(json!({"selector": {"matchLabels": {"a": "b", "c": "d"}}})),
        "spec.selector: Invalid value: {\"matchLabels\":{\"a\":\"b\",\"c\":\"d\"}}: field is immutable",
    );
    create(
        "apps",
        "daemonsets",
        spec(
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 1}}}),
        ),
        "spec.updateStrategy.rollingUpdate.maxSurge: Invalid value: 1: may not be set when maxUnavailable is non-zero",
    );
    create(
        "apps",
        "daemonsets",
        spec(
            json!({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 0, "maxUnavailable": 0}}}),
        ),
        "spec.updateStrategy.rollingUpdate.maxUnavailable: Required value: cannot be 0 when maxSurge is 0",
    );
    update(
        "apps",
        "statefulsets",
        None,
        spec(json!({"serviceName": "a"})),
        spec(json!({"serviceName": "b"})),
        "spec: Forbidden: updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden",
    );
    update(
        "apps",
        "statefulsets",
        None,
        spec(json!({"replicas": 1})),
        spec(json!({"replicas": 2})),
        "",
    );
    create("apps", "controllerrevisions", json!({}), "data: Required value: data is mandatory");
    create(
        "",
        "replicationcontrollers",
        json!({"spec": {"selector": {"a": "c"}, "template": template()}}),
        "spec.template.metadata.labels: Invalid value: {\"a\":\"b\"}: `selector` does not match template `labels`",
    );
    let job = |more: Value| {
        let mut spec = json!({"template": job_template()});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "spec": spec })
    };
    create("batch", "jobs", job(json!({})), "");
    create(
        "batch",
        "jobs",
        json!({"spec": {"template": template()}}),
        "spec.template.spec.restartPolicy: Unsupported value: \"Always\": supported values: \"Never\", \"OnFailure\"",
    );
    create(
        "batch",
        "jobs",
        job(json!({"completionMode": "Indexed", "parallelism": 1})),
        "spec.completions: Required value: when completion mode is Indexed",
    );
    create(
        "batch",
        "jobs",
        job(json!({"backoffLimitPerIndex": 1})),
        "spec.backoffLimitPerIndex: Invalid value: 1: requires indexed completion mode",
    );
    create(
        "batch",
        "jobs",
        job(json!({"managedBy": "x"})),
        "spec.managedBy: Invalid value: \"x\": must be a domain-prefixed path (such as \"acme.io/foo\")",
    );
    update(
        "batch",
        "jobs",
        None,
        job(json!({"completions": 1})),
        job(json!({"completions": 2})),
        "spec.completions: Invalid value: 2: field is immutable",
    );
    let cron = |schedule: &str, more: Value| {
        let mut spec =
            json!({"schedule": schedule, "jobTemplate": {"spec": {"template": job_template()}}});
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        json!({ "spec": spec })
    };
    create("batch", "cronjobs", cron("* * * * *", json!({})), "");
    create(
        "batch",
        "cronjobs",
        cron("* * *", json!({})),
        "spec.schedule: Invalid value: \"* * *\": expected exactly 5 fields",
    );
    create(
        "batch",
        "cronjobs",
        cron("TZ=UTC * * * * *", json!({})),
        "spec.schedule: Invalid value: \"TZ=UTC * * * * *\": cannot use TZ or CRON_TZ in schedule, use timeZone field instead",
    );
    create(
        "batch",
        "cronjobs",
        cron("* * * * *", json!({"timeZone": "Nowhere/X"})),
        "spec.timeZone: Invalid value: \"Nowhere/X\": unknown time zone Nowhere/X",
    );
    create(
        "policy",
        "poddisruptionbudgets",
        json!({"spec": {"minAvailable": 1, "maxUnavailable": 1}}),
        "spec: Invalid value: {\"maxUnavailable\":1,\"minAvailable\":1}: minAvailable and maxUnavailable cannot be both set",
    );
    create(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"spec": {"maxReplicas": 0, "scaleTargetRef": {"kind": "a", "name": "b"}}}),
        "spec.maxReplicas: Invalid value: 0: must be greater than 0",
    );
    create(
        "autoscaling",
        "horizontalpodautoscalers",
        json!({"spec": {"minReplicas": 3, "maxReplicas": 2, "scaleTargetRef": {"kind": "a", "name": "b"}}}),
        "spec.maxReplicas: Invalid value: 2: must be greater than or equal to `minReplicas`",
    );
}

#[test]
fn volumes() {
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"capacity": {"storage": "1"}, "hostPath": {"path": "/x"}}}),
        "spec.accessModes: Required value: at least 1 access mode is required",
    );
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/x"}}}),
        "spec.capacity: Required value",
    );
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}}}),
        "spec: Required value: must specify a volume type",
    );
    create(
        "",
        "persistentvolumes",
        json!({"spec": {"accessModes": ["ReadWriteOnce", "ReadWriteOncePod"], "capacity": {"storage": "1"}, "hostPath": {"path": "/x"}}}),
        "spec.accessModes: Forbidden: may not use ReadWriteOncePod with other access modes",
    );
    let volume = |path: &str| json!({"spec": {"accessModes": ["ReadWriteOnce"], "capacity": {"storage": "1"}, "hostPath": {"path": path}}});
    update(
        "",
        "persistentvolumes",
        None,
        volume("/a"),
        volume("/b"),
        "spec.persistentvolumesource: Forbidden: spec.persistentvolumesource is immutable after creation",
    );
    let claim = |size: &str, class: &str, phase: &str| {
        json!({"spec": {"accessModes": ["ReadWriteOnce"], "storageClassName": class,
        "resources": {"requests": {"storage": size}}}, "status": {"phase": phase}})
    };
    create(
        "",
        "persistentvolumeclaims",
        json!({"spec": {"accessModes": ["ReadWriteOnce"]}}),
        "spec.resources.requests[storage]: Required value",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("1Gi", "a", "Bound"),
        claim("1Gi", "b", "Bound"),
        "spec: Forbidden: spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("1Gi", "a", "Bound"),
        claim("2Gi", "a", "Bound"),
        "",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("1Gi", "a", "Pending"),
        claim("2Gi", "a", "Pending"),
        "spec: Forbidden: spec is immutable",
    );
    update(
        "",
        "persistentvolumeclaims",
        None,
        claim("2Gi", "a", "Bound"),
        claim("1Gi", "a", "Bound"),
        "spec.resources.requests[storage]: Forbidden: field can not be less than status.capacity",
    );
    const STORAGE: &str = "storage.k8s.io";
    create(STORAGE, "storageclasses", json!({}), "provisioner: Required value");
    update(
        STORAGE,
        "storageclasses",
        None,
        json!({"provisioner": "a", "parameters": {"a": "b"}}),
        json!({"provisioner": "a"}),
        "parameters: Forbidden: updates to parameters are forbidden.",
    );
    update(
        STORAGE,
        "csidrivers",
        None,
        json!({"spec": {"attachRequired": true}}),
        json!({"spec": {"attachRequired": false}}),
        "spec.attachRequired: Invalid value: false: field is immutable",
    );
    create(
        STORAGE,
        "volumeattachments",
        json!({"spec": {"attacher": "a", "nodeName": "n"}}),
        "spec.source: Required value: must specify exactly one of inlineVolumeSpec and persistentVolumeName",
    );
    create(STORAGE, "csistoragecapacities", json!({}), "storageClassName: Required value");
}

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
fn who_may_do_what() {
    const RBAC: &str = "rbac.authorization.k8s.io";
    create(
        RBAC,
        "roles",
        json!({"rules": [{"apiGroups": [""], "resources": ["pods"]}]}),
        "rules[0].verbs: Required value: verbs must contain at least one value",
    );
    create(
        RBAC,
        "roles",
        json!({"rules": [{"verbs": ["get"], "nonResourceURLs": ["/x"]}]}),
        "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: namespaced rules cannot apply to non-resource URLs",
    );
    create(
        RBAC,
        "clusterroles",
        json!({"aggregationRule": {}}),
        "aggregationRule.clusterRoleSelectors: Required value: at least one clusterRoleSelector required if aggregationRule is non-nil",
    );
    create(
        RBAC,
        "clusterrolebindings",
        json!({"roleRef": {"kind": "Role", "name": "r"}}),
        "roleRef.kind: Unsupported value: \"Role\": supported values: \"ClusterRole\"",
    );
    create(
        RBAC,
        "rolebindings",
        json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
        "subjects[0].namespace: Required value",
    );
    update(
        RBAC,
        "rolebindings",
        None,
        json!({"roleRef": {"kind": "Role", "name": "r"}}),
        json!({"roleRef": {"kind": "Role", "name": "s"}}),
        "roleRef: Invalid value: {\"apiGroup\":\"rbac.authorization.k8s.io\",\"kind\":\"Role\",\"name\":\"s\"}: cannot change roleRef",
    );
    create(
        "scheduling.k8s.io",
        "priorityclasses",
        json!({"value": 1_000_000_001}),
        "value: Forbidden: maximum allowed value of a user defined priority is 1000000000",
    );
    update(
        "scheduling.k8s.io",
        "priorityclasses",
        None,
        json!({"value": 1}),
        json!({"value": 2}),
        "value: Forbidden: may not be changed in an update.",
    );
    update(
        "node.k8s.io",
        "runtimeclasses",
        None,
        json!({"handler": "a"}),
        json!({"handler": "b"}),
        "handler: Invalid value: \"b\": field is immutable",
    );
    create(
        "certificates.k8s.io",
        "certificatesigningrequests",
        json!({"spec": {"request": "", "signerName": "x", "usages": ["client auth"]}}),
        "spec.signerName: Invalid value: \"x\": must be a fully qualified domain and path of the form 'example.com/signer-name'",
    );
}

#[test]
fn definitions_and_policies() {
    let definition = |change: &dyn Fn(&mut Value)| {
        let mut object = json!({"metadata": {"name": "foos.x.io"}, "spec": {"group": "x.io", "scope": "Namespaced",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
            "status": {"storedVersions": ["v1"]}});
        change(&mut object);
        object
    };
    let check = |change: &dyn Fn(&mut Value), expected: &str| {
        create("apiextensions.k8s.io", "customresourcedefinitions", definition(change), expected);
    };
    check(&|_| {}, "");
    check(
        &|d| d["metadata"]["name"] = "bar".into(),
        "metadata.name: Invalid value: \"bar\": must be spec.names.plural+\".\"+spec.group",
    );
    check(
        &|d| d["spec"]["scope"] = "X".into(),
        "spec.scope: Unsupported value: \"X\": supported values: \"Cluster\", \"Namespaced\"",
    );
    check(
        &|d| d["spec"]["versions"][0]["storage"] = false.into(),
        "spec.versions: Invalid value: [{",
    );
    check(
        &|d| d["spec"]["versions"][0]["schema"] = Value::Null,
        "spec.versions[0].schema.openAPIV3Schema: Required value: schemas are required",
    );
    check(
        &|d| d["spec"]["names"]["listKind"] = "Foo".into(),
        "spec.names.listKind: Invalid value: \"Foo\": kind and listKind may not be the same",
    );
    check(
        &|d| d["spec"]["preserveUnknownFields"] = true.into(),
        "spec.preserveUnknownFields: Invalid value: true: cannot set to true",
    );
    const ADMISSION: &str = "admissionregistration.k8s.io";
    let webhook = json!({"webhooks": [{"name": "a.b", "sideEffects": "None", "admissionReviewVersions": ["v1"],
        "clientConfig": {"url": "http://x"}, "timeoutSeconds": 31}]});
    create(
        ADMISSION,
        "validatingwebhookconfigurations",
        webhook.clone(),
        "webhooks[0].name: Invalid value: \"a.b\": should be a domain with at least three segments separated by dots",
    );
    create(
        ADMISSION,
        "validatingwebhookconfigurations",
        webhook.clone(),
        "webhooks[0].timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds",
    );
    create(
        ADMISSION,
        "validatingwebhookconfigurations",
        webhook,
        "webhooks[0].clientConfig.url: Invalid value: \"http://x\": 'https' is the only allowed URL scheme; got \"http\"",
    );
    create(
        ADMISSION,
        "validatingadmissionpolicies",
        json!({"spec": {}}),
        "spec.matchConstraints: Required value",
    );
    create(
        ADMISSION,
        "validatingadmissionpolicybindings",
        json!({"spec": {"policyName": "p", "validationActions": ["Deny", "Warn"]}}),
        "spec.validationActions: Invalid value: [\"Deny\",\"Warn\"]: must not contain both Deny and Warn",
    );
    create(
        "apiregistration.k8s.io",
        "apiservices",
        json!({"metadata": {"name": "x"}, "spec": {"group": "g.io", "version": "v1", "groupPriorityMinimum": 1, "versionPriority": 1}}),
        "metadata.name: Invalid value: \"x\": must be `spec.version+\".\"+spec.group`: \"v1.g.io\"",
    );
    create(
        "flowcontrol.apiserver.k8s.io",
        "prioritylevelconfigurations",
        json!({"spec": {"type": "Limited"}}),
        "spec.limited: Required value: must not be empty when type is Limited",
    );
    let claim = |request: Value| json!({"spec": {"devices": {"requests": [request]}}});
    create(
        "resource.k8s.io",
        "resourceclaims",
        claim(json!({"name": "a"})),
        "spec.devices.requests[0]: Required value: exactly one of `exactly` or `firstAvailable` is required",
    );
    create(
        "resource.k8s.io",
        "resourceclaims",
        claim(json!({"name": "a", "exactly": {}})),
        "spec.devices.requests[0].exactly.deviceClassName: Required value",
    );
}

#[test]
fn expressions_must_compile() {
    const ADMISSION: &str = "admissionregistration.k8s.io";
    let webhook = |expression: &str| {
        json!({"webhooks": [{"name": "a.b.c", "sideEffects": "None", "admissionReviewVersions": ["v1"],
            "clientConfig": {"url": "https://x"},
            "matchConditions": [{"name": "m", "expression": expression}]}]})
    };
    let check = |expression: &str, expected: &str| {
        create(ADMISSION, "validatingwebhookconfigurations", webhook(expression), expected);
        create(ADMISSION, "mutatingwebhookconfigurations", webhook(expression), expected);
    };
    check("object.metadata.name != 'skip-me' && authorizer.path('/x').check('get').allowed()", "");
    check(
        "... [] bad expression",
        "webhooks[0].matchConditions[0].expression: Invalid value: \"... [] bad expression\": compilation failed: ERROR: <input>:1:",
    );
    check(
        "object.x",
        "webhooks[0].matchConditions[0].expression: Invalid value: \"object.x\": must evaluate to bool but got dyn",
    );
    let policy = |plural: &str, more: Value, expected: &str| {
        let mut spec = json!({"matchConstraints": {"namespaceSelector": {}, "objectSelector": {},
            "resourceRules": [{"operations": ["CREATE"], "apiGroups": ["apps"],
                "apiVersions": ["v1"], "resources": ["deployments"], "scope": "*"}]}});
        for (name, value) in more.as_object().unwrap() {
            spec[name] = value.clone();
        }
        create(ADMISSION, plural, json!({"spec": spec}), expected);
    };
    const VALIDATING: &str = "validatingadmissionpolicies";
    policy(
        VALIDATING,
        json!({"variables": [{"name": "n", "expression": "object.spec.replicas"},
                {"name": "m", "expression": "variables.n + 1"}],
            "validations": [{"expression": "variables.m > 1", "messageExpression": "'x' + string(variables.m)"}],
            "auditAnnotations": [{"key": "k", "valueExpression": "variables.m > 1 ? 'a' : null"}]}),
        "spec.auditAnnotations[0].valueExpression: Invalid value: \"variables.m > 1 ? 'a' : null\": compilation failed: ERROR: <input>:1:17: found no matching overload for '_?_:_' applied to '(bool, string, null)'",
    );
    policy(
        VALIDATING,
        json!({"paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
            "validations": [{"expression": "object.x < params.y", "messageExpression": "1"}]}),
        "spec.validations[0].messageExpression: Invalid value: \"1\": must evaluate to string but got int",
    );
    policy(
        VALIDATING,
        json!({"variables": [{"name": "n", "expression": "nope"}], "validations": [{"expression": "true"}]}),
        "spec.variables[0].expression: Invalid value: \"nope\": compilation failed: ERROR: <input>:1:1: undeclared reference to 'nope' (in container '')",
    );
    let mutation = |patch: Value, expected: &str| {
        let more = json!({"reinvocationPolicy": "Never", "mutations": [patch]});
        policy("mutatingadmissionpolicies", more, expected);
    };
    mutation(
        json!({"patchType": "ApplyConfiguration", "applyConfiguration":
            {"expression": "Object{spec: Object.spec{replicas: 1337}}"}}),
        "",
    );
    mutation(
        json!({"patchType": "JSONPatch", "jsonPatch": {"expression": "1"}}),
        "spec.mutations[0].jsonPatch.expression: Invalid value: \"1\": must evaluate to list(JSONPatch) but got int",
    );
}

#[test]
fn rules_of_definitions_must_compile() {
    let check = |rule: Value, expected: &str| {
        let object = json!({"metadata": {"name": "foos.x.io"}, "spec": {"group": "x.io", "scope": "Namespaced",
            "names": {"plural": "foos", "kind": "Foo"},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema":
                {"type": "object", "properties": {"spec": {"type": "object",
                    "properties": {"x": {"type": "integer"}},
                    "x-kubernetes-validations": [rule]}}}}}]},
            "status": {"storedVersions": ["v1"]}});
        create("apiextensions.k8s.io", "customresourcedefinitions", object, expected);
    };
    let at = "spec.versions[0].schema.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    check(json!({"rule": "self.x > 0 && self.x >= oldSelf.x"}), "");
    check(
        json!({"rule": "self.y > 0"}),
        &format!(
            "{at}.rule: Invalid value: {{\"Rule\":\"self.y > 0\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: ERROR: <input>:1:5: undefined field 'y'"
        ),
    );
    check(
        json!({"rule": "true", "message": "a\nb"}),
        &format!("{at}.message: Invalid value: \"a\\nb\": must not contain line breaks"),
    );
}
