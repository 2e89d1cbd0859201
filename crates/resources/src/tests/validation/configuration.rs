//! ConfigMaps, Secrets, namespaces, quotas and limit ranges.

use serde_json::json;

use super::*;

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
fn keys_and_their_values() {
    let long = "k".repeat(254);
    for plural in ["configmaps", "secrets"] {
        rows(
            "",
            plural,
            &json!({}),
            &[
                (json!({"data": {".": ""}}), "data[.]: Invalid value: \".\": must not be '.'"),
                (json!({"data": {"..": ""}}), "data[..]: Invalid value: \"..\": must not be '..'"),
                (json!({"data": {&long: ""}}), &format!("data[{long}]: Invalid value")),
            ],
        );
    }
    let frozen = json!({"immutable": true, "type": "Opaque", "data": {"a": "Yg=="}});
    changes(
        "",
        "secrets",
        None,
        &frozen,
        &[
            (
                json!({"data": {"a": "Yw=="}}),
                "data: Forbidden: field is immutable when `immutable` is set",
            ),
            (
                json!({"immutable": false}),
                "immutable: Forbidden: field is immutable when `immutable` is set",
            ),
            (json!({"metadata": {"labels": {"a": "b"}}}), ""),
        ],
    );
    create(
        "",
        "secrets",
        json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "eA=="}}),
        "data[.dockercfg]: Invalid value: \"<secret contents redacted>\"",
    );
    create(
        "",
        "secrets",
        json!({"type": "kubernetes.io/tls", "data": {"tls.crt": "", "tls.key": ""}}),
        "",
    );
}

#[test]
fn quotas_and_limit_ranges() {
    rows(
        "",
        "resourcequotas",
        &json!({"spec": {"hard": {"pods": "5", "count/widgets.example.com": "1"}}}),
        &[
            (
                json!({"spec": {"hard": {"pods": "-1"}}}),
                "spec.hard[pods]: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"spec": {"hard": {"pods": "1500m"}}}),
                "spec.hard[pods]: Invalid value: \"1500m\": must be an integer",
            ),
            (
                json!({"spec": {"scopes": ["Nothing"]}}),
                "spec.scopes: Invalid value: [\"Nothing\"]: unsupported scope",
            ),
            (
                json!({"spec": {"hard": {"services": "1"}, "scopes": ["BestEffort"]}}),
                "spec.scopes: Invalid value: [\"BestEffort\"]: unsupported scope applied to resource",
            ),
        ],
    );
    let item = |item: serde_json::Value| json!({"spec": {"limits": [item]}});
    rows(
        "",
        "limitranges",
        &item(json!({"type": "Container", "max": {"cpu": "2"}, "min": {"cpu": "1"}})),
        &[
            (
                json!({"spec": {"limits": [{"type": "Container"}, {"type": "Container"}]}}),
                "spec.limits[1].type: Duplicate value: \"Container\"",
            ),
            (
                item(json!({"type": "x"})),
                "spec.limits[0].type: Invalid value: \"x\": must be a standard limit type or fully qualified",
            ),
            (
                item(json!({"type": "PersistentVolumeClaim"})),
                "spec.limits[0].limits: Required value: either minimum or maximum storage value is required, but neither was provided",
            ),
            (
                item(
                    json!({"type": "Container", "default": {"cpu": "1"}, "defaultRequest": {"cpu": "2"}}),
                ),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"2\": default request value 2 is greater than default limit value 1",
            ),
            (
                item(json!({"type": "Container", "maxLimitRequestRatio": {"cpu": "500m"}})),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"500m\": ratio 500m is less than 1",
            ),
            (
                item(
                    json!({"type": "Container", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "3"}}),
                ),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"3\": ratio 3 is greater than max/min = 2.000000",
            ),
        ],
    );
}
