//! Expressions of webhooks, policies and definitions: what does not compile is refused.

use api::Value;
use serde_json::json;

use super::*;

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
    let at = "spec.validation.openAPIV3Schema.properties[spec].x-kubernetes-validations[0]";
    check(json!({"rule": "self.x > 0 && self.x >= oldSelf.x"}), "");
    check(
        json!({"rule": "self.y > 0"}),
        &format!(
            "{at}.rule: Invalid value: {{\"Rule\":\"self.y \\u003e 0\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: ERROR: <input>:1:5: undefined field 'y'"
        ),
    );
    check(
        json!({"rule": "true", "message": "a\nb"}),
        &format!("{at}.message: Invalid value: \"a\\nb\": must not contain line breaks"),
    );
}

#[test]
fn device_selectors_must_compile() {
    let check = |expression: &str, expected: &str| {
        let object = json!({"spec": {"selectors": [{"cel": {"expression": expression}}]}});
        create("resource.k8s.io", "deviceclasses", object, expected);
    };
    check("device.driver == 'gpu.example.com'", "");
    check(
        "device.nope",
        "spec.selectors[0].cel.expression: Invalid value: \"device.nope\": compilation failed: ERROR: <input>:1:7: undefined field 'nope'",
    );
}
