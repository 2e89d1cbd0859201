//! Roles, bindings, priority and runtime classes, signing requests.

use serde_json::json;

use super::*;

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
        "",
    );
    create(
        RBAC,
        "clusterrolebindings",
        json!({"roleRef": {"kind": "ClusterRole", "name": "r"}, "subjects": [{"kind": "ServiceAccount", "name": "s"}]}),
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
fn rules_and_subjects() {
    const RBAC: &str = "rbac.authorization.k8s.io";
    let rule = |rule: serde_json::Value| json!({ "rules": [rule] });
    for (object, expected) in [
        (
            rule(json!({"verbs": ["get"], "resources": ["pods"]})),
            "rules[0].apiGroups: Required value: resource rules must supply at least one api group",
        ),
        (
            rule(json!({"verbs": ["get"], "apiGroups": [""]})),
            "rules[0].resources: Required value: resource rules must supply at least one resource",
        ),
        (
            rule(
                json!({"verbs": ["get"], "apiGroups": [""], "resources": ["pods"], "nonResourceURLs": ["/x"]}),
            ),
            "rules[0].nonResourceURLs: Invalid value: [\"/x\"]: rules cannot apply to both regular resources and non-resource URLs",
        ),
        (rule(json!({"verbs": ["get"], "nonResourceURLs": ["/x/*"]})), ""),
    ] {
        create(RBAC, "clusterroles", object, expected);
    }
    rows(
        RBAC,
        "rolebindings",
        &json!({"roleRef": {"kind": "Role", "name": "r"}, "subjects": [{"kind": "User", "name": "u"}]}),
        &[
            (
                json!({"roleRef": {"apiGroup": "x"}}),
                "roleRef.apiGroup: Unsupported value: \"x\": supported values: \"rbac.authorization.k8s.io\"",
            ),
            (
                json!({"roleRef": {"kind": "X"}}),
                "roleRef.kind: Unsupported value: \"X\": supported values: \"Role\", \"ClusterRole\"",
            ),
            (json!({"roleRef": {"name": ""}}), "roleRef.name: Required value"),
            (
                json!({"subjects": [{"kind": "X", "name": "u"}]}),
                "subjects[0].kind: Unsupported value: \"X\": supported values: \"ServiceAccount\", \"User\", \"Group\"",
            ),
            (
                json!({"subjects": [{"kind": "User", "name": ""}]}),
                "subjects[0].name: Required value",
            ),
            (
                json!({"subjects": [{"kind": "User", "name": "u", "apiGroup": "x"}]}),
                "subjects[0].apiGroup: Unsupported value: \"x\"",
            ),
        ],
    );
}

#[test]
fn classes_of_pods() {
    changes(
        "scheduling.k8s.io",
        "priorityclasses",
        None,
        &json!({"value": 1}),
        &[(
            json!({"preemptionPolicy": "Never"}),
            "preemptionPolicy: Invalid value: \"Never\": field is immutable",
        )],
    );
    create(
        "scheduling.k8s.io",
        "priorityclasses",
        json!({"metadata": {"name": "system-mine"}, "value": 1}),
        "metadata.name: Forbidden: priority class names with 'system-' prefix are reserved for system use only",
    );
    create(
        "scheduling.k8s.io",
        "priorityclasses",
        json!({"value": 1, "preemptionPolicy": "X"}),
        "preemptionPolicy: Unsupported value: \"X\"",
    );
    rows(
        "node.k8s.io",
        "runtimeclasses",
        &json!({"handler": "runc"}),
        &[
            (json!({"handler": "A_b"}), "handler: Invalid value: \"A_b\""),
            (
                json!({"overhead": {"podFixed": {"cpu": "-1"}}}),
                "overhead.limits[cpu]: Invalid value: \"-1\"",
            ),
        ],
    );
}
