//! Definitions, webhooks, policies, aggregated APIs, flow control, device claims.

use api::Value;
use serde_json::json;

use super::*;

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
        "spec.versions[0].schema.openAPIV3Schema: Required value",
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
        "webhooks[0].clientConfig.url: Invalid value: \"http\": 'https' is the only allowed URL scheme",
    );
    create(
        ADMISSION,
        "validatingadmissionpolicies",
        json!({"spec": {}}),
        "spec.matchConstraints: Required value",
    );
    create(
        ADMISSION,
        "validatingadmissionpolicies",
        json!({"spec": {"paramKind": {"apiVersion": "a/b/c", "kind": "X"}}}),
        "spec.paramKind.apiVersion: Invalid value: \"a/b/c\": unexpected GroupVersion string: a/b/c",
    );
    create(
        ADMISSION,
        "validatingadmissionpolicies",
        json!({"metadata": {"name": "x"}, "spec": {"auditAnnotations": [{"key": "a b", "valueExpression": "'v'"}]}}),
        "spec.auditAnnotations[0].key: Invalid value: \"x/a b\": name part must consist",
    );
    create(
        ADMISSION,
        "mutatingadmissionpolicies",
        json!({"spec": {"matchConstraints": {"resourceRules": [{"operations": ["DELETE"], "apiGroups": [""], "apiVersions": ["v1"], "resources": ["pods"]}]}}}),
        "spec.matchConstraints.resourceRules.operations: Unsupported value: \"DELETE\": supported values: \"*\", \"CONNECT\", \"CREATE\", \"UPDATE\"",
    );
    create(
        "rbac.authorization.k8s.io",
        "rolebindings",
        json!({"roleRef": {"kind": "X", "name": "r", "apiGroup": "rbac.authorization.k8s.io"}}),
        "roleRef.kind: Unsupported value: \"X\": supported values: \"Role\", \"ClusterRole\"",
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
fn definitions_of_kinds() {
    const CRD: &str = "apiextensions.k8s.io";
    let good = json!({"metadata": {"name": "foos.x.io"}, "spec": {"group": "x.io", "scope": "Namespaced",
        "names": {"plural": "foos", "kind": "Foo"}, "versions": [
            {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]},
        "status": {"storedVersions": ["v1"]}});
    let version = |change: Value| json!({"spec": {"versions": [merged(&good["spec"]["versions"][0], &change)]}});
    let schema = |schema: Value| version(json!({"schema": {"openAPIV3Schema": schema}}));
    let property = |property: Value| schema(json!({"properties": {"a": property}}));
    let root = "spec.validation.openAPIV3Schema";
    for (change, expected) in [
        (json!({}), String::new()),
        (json!({"spec": {"group": "nodots"}}), "spec.group: Invalid value: \"nodots\"".to_owned()),
        (
            json!({"metadata": {"name": "foos.x.k8s.io"}, "spec": {"group": "x.k8s.io"}}),
            "metadata.annotations[api-approved.kubernetes.io]: Required value".to_owned(),
        ),
        (
            json!({"spec": {"names": {"plural": "Foos"}}}),
            "spec.names.plural: Invalid value: \"Foos\"".to_owned(),
        ),
        (json!({"spec": {"names": {"kind": null}}}), "spec.names.kind: Required value".to_owned()),
        (
            json!({"spec": {"names": {"shortNames": ["A_b"]}}}),
            "spec.names.shortNames[0]: Invalid value: \"A_b\"".to_owned(),
        ),
        (json!({"spec": {"versions": []}}), "spec.versions: Invalid value".to_owned()),
        (version(json!({"name": "V1"})), "spec.versions[0].name: Invalid value: \"V1\"".to_owned()),
        (json!({"status": {"storedVersions": ["v0"]}}), "status.storedVersions".to_owned()),
        (
            property(json!({})),
            format!(
                "{root}.properties[a].type: Required value: must not be empty for specified object fields"
            ),
        ),
        (
            property(json!({"type": "array"})),
            format!("{root}.properties[a].items: Required value: must be specified"),
        ),
        (
            property(json!({"type": "x"})),
            format!("{root}.properties[a].type: Unsupported value: \"x\""),
        ),
        (
            property(json!({"type": "string", "$ref": "x"})),
            format!("{root}.properties[a].$ref: Forbidden: $ref is not supported"),
        ),
        (
            property(json!({"type": "array", "items": {"type": "string"}, "uniqueItems": true})),
            format!(
                "{root}.properties[a].uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic"
            ),
        ),
        (
            property(
                json!({"type": "object", "additionalProperties": {"type": "string"}, "properties": {"b": {"type": "string"}}}),
            ),
            format!(
                "{root}.properties[a].additionalProperties: Forbidden: additionalProperties and properties are mutual exclusive"
            ),
        ),
        (
            property(
                json!({"type": "array", "items": {"type": "object"}, "x-kubernetes-list-type": "map"}),
            ),
            format!("{root}.properties[a].x-kubernetes-list-map-keys: Required value"),
        ),
        (
            schema(json!({"type": "string"})),
            format!("{root}.type: Invalid value: \"string\": must be object at the root"),
        ),
        (
            version(
                json!({"additionalPrinterColumns": [{"name": "n", "type": "x", "jsonPath": ".a"}]}),
            ),
            "spec.additionalPrinterColumns[0].type: Invalid value: \"x\"".to_owned(),
        ),
        (
            version(
                json!({"subresources": {"scale": {"specReplicasPath": ".x.replicas", "statusReplicasPath": ".status.replicas"}}}),
            ),
            "spec.subresources.scale.specReplicasPath: Invalid value: \".x.replicas\""
                .to_owned(),
        ),
        (
            // What versions do not have alike is shown where each has it.
            json!({"spec": {"versions": [
                {"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
                {"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "string"}}}]}}),
            "spec.versions[1].schema.openAPIV3Schema.type: Invalid value: \"string\": must be object at the root".to_owned(),
        ),
        (
            json!({"spec": {"conversion": {"strategy": "X"}}}),
            "spec.conversion.strategy: Unsupported value: \"X\"".to_owned(),
        ),
        (
            json!({"spec": {"conversion": {"strategy": "Webhook"}}}),
            "spec.conversion.webhookClientConfig: Required value: required when strategy is set to Webhook".to_owned(),
        ),
    ] {
        create(CRD, "customresourcedefinitions", merged(&good, &change), &expected);
    }
    changes(
        CRD,
        "customresourcedefinitions",
        None,
        &merged(
            &good,
            &json!({"status": {"conditions": [{"type": "Established", "status": "True"}]}}),
        ),
        &[
            (
                json!({"spec": {"scope": "Cluster"}}),
                "spec.scope: Invalid value: \"Cluster\": field is immutable",
            ),
            (
                json!({"spec": {"versions": [{"name": "v2", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}]}}),
                "status.storedVersions",
            ),
        ],
    );
}
