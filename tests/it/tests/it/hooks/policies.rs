//! Policies through the whole server: who is meant, what is said, what is changed.

use serde_json::{Value, json};

use super::{GROUP, Site};

const POLICIES: &str = "validatingadmissionpolicies";
const BINDINGS: &str = "validatingadmissionpolicybindings";

fn constraints(group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{"apiGroups": [group], "apiVersions": ["*"],
        "operations": ["CREATE", "UPDATE"], "resources": [resource]}]})
}

impl Site {
    /// A validating policy about ConfigMaps, and its binding.
    async fn policy(&self, name: &str, spec: Value, binding: Value) {
        let mut all = json!({"matchConstraints": constraints("", "configmaps")});
        all.as_object_mut().unwrap().extend(spec.as_object().unwrap().clone());
        let policy = json!({"metadata": {"name": name}, "spec": all});
        self.post(&format!("{GROUP}/{POLICIES}"), policy).await.done();
        let mut all = json!({"policyName": name, "validationActions": ["Deny"]});
        all.as_object_mut().unwrap().extend(binding.as_object().unwrap().clone());
        let binding = json!({"metadata": {"name": name}, "spec": all});
        self.post(&format!("{GROUP}/{BINDINGS}"), binding).await.done();
    }
}

#[tokio::test]
async fn a_policy_refuses_with_its_message_and_reason() {
    let site = Site::start().await;
    let spec = json!({"validations": [
        {"expression": "!has(object.data) || size(object.data) <= 1", "message": "too much"},
        {"expression": "object.metadata.name != 'forbidden'", "reason": "Forbidden",
            "messageExpression": "'not ' + object.metadata.name"},
    ]});
    site.policy("p", spec, json!({})).await;
    site.config_map("fine", json!({"data": {"a": "b"}})).await.done();
    let answer = site.config_map("big", json!({"data": {"a": "b", "c": "d"}})).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (422, Some("Invalid")));
    let denied = "ValidatingAdmissionPolicy 'p' with binding 'p' denied request: too much";
    assert_eq!(answer.message(), format!("configmaps \"big\" is forbidden: {denied}"));
    assert_eq!(answer.body["details"]["causes"][0]["message"], denied);
    let answer = site.config_map("forbidden", json!({})).await;
    assert_eq!((answer.code, answer.body["reason"].as_str()), (403, Some("Forbidden")));
    assert!(answer.message().ends_with("denied request: not forbidden"), "{}", answer.message());
    // Without its binding a policy says nothing.
    site.call("DELETE", &format!("{GROUP}/{BINDINGS}/p"), &json!(null)).await.done();
    site.config_map("forbidden", json!({})).await.done();
}

#[tokio::test]
async fn bindings_choose_namespaces_and_what_is_done() {
    let site = Site::start().await;
    let team = json!({"metadata": {"name": "team", "labels": {"strict": "yes"}}});
    site.post("/api/v1/namespaces", team).await.done();
    let never = json!({"validations": [{"expression": "false", "message": "never"}]});
    let binding = json!({"matchResources": {
        "namespaceSelector": {"matchLabels": {"strict": "yes"}}}});
    site.policy("p", never.clone(), binding).await;
    site.config_map("a", json!({})).await.done();
    let maps = "/api/v1/namespaces/team/configmaps";
    assert_eq!(site.post(maps, json!({"metadata": {"name": "a"}})).await.code, 422);

    site.policy("q", never, json!({"validationActions": ["Warn", "Audit"]})).await;
    let answer = site.config_map("b", json!({})).await;
    let text = "Validation failed for ValidatingAdmissionPolicy 'q' with binding 'q': never";
    assert_eq!(answer.warnings, [format!("299 - \"{text}\"")]);
    answer.done();
}

#[tokio::test]
async fn parameters_are_named_or_selected() {
    let site = Site::start().await;
    let spec = json!({
        "paramKind": {"apiVersion": "v1", "kind": "ConfigMap"},
        "matchConditions": [{"name": "no-params",
            "expression": "!object.metadata.name.startsWith('param')"}],
        "validations": [{"expression": "object.metadata.name == params.data.name"}],
    });
    for (action, code) in [("Deny", 422), ("Allow", 201)] {
        let param = json!({"paramRef": {"name": "param", "namespace": "default",
            "parameterNotFoundAction": action}});
        let policy = action.to_lowercase();
        site.policy(&policy, spec.clone(), param).await;
        let answer = site.config_map("early", json!({})).await;
        assert_eq!(answer.code, code, "{}", answer.body);
        if code == 422 {
            assert!(answer.message().ends_with(
                "with binding 'deny' denied request: failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"
            ), "{}", answer.message());
            site.call("DELETE", &format!("{GROUP}/{BINDINGS}/deny"), &json!(null)).await.done();
        }
    }
    site.config_map("param", json!({"data": {"name": "wanted"}, "labels": {"p": "p"}}))
        .await
        .done();
    assert_eq!(site.config_map("other", json!({})).await.code, 422);
    site.config_map("wanted", json!({})).await.done();
    // Every selected one must be content.
    let selector = json!({"paramRef": {"selector": {"matchLabels": {"p": "p"}},
        "parameterNotFoundAction": "Deny"}});
    site.call("DELETE", &format!("{GROUP}/{BINDINGS}/allow"), &json!(null)).await.done();
    site.policy("selected", spec, selector).await;
    assert_eq!(site.config_map("another", json!({})).await.code, 422);
}

#[tokio::test]
async fn expressions_are_compiled_when_they_are_written() {
    let site = Site::start().await;
    let spec = json!({"matchConstraints": constraints("", "configmaps"),
        "validations": [{"expression": "object.x <"}, {"expression": "1"}]});
    let policy = json!({"metadata": {"name": "p"}, "spec": spec});
    let answer = site.post(&format!("{GROUP}/{POLICIES}"), policy).await;
    assert_eq!(answer.code, 422);
    let causes = answer.body["details"]["causes"].as_array().unwrap();
    assert_eq!(causes[0]["field"], "spec.validations[0].expression");
    assert!(
        causes[0]["message"].as_str().unwrap().contains("compilation failed: ERROR: <input>:1:")
    );
    assert!(causes[1]["message"].as_str().unwrap().ends_with("must evaluate to bool but got int"));

    let hook = json!({"metadata": {"name": "w"}, "webhooks": [{
        "name": "a.b.c", "clientConfig": {"url": "https://a.example"}, "sideEffects": "None",
        "admissionReviewVersions": ["v1"],
        "matchConditions": [{"name": "c", "expression": "... [] bad expression"}]}]});
    for plural in ["validatingwebhookconfigurations", "mutatingwebhookconfigurations"] {
        let answer = site.post(&format!("{GROUP}/{plural}"), hook.clone()).await;
        assert_eq!(answer.code, 422);
        assert!(
            answer.message().contains("webhooks[0].matchConditions[0].expression: Invalid value")
        );
        assert!(answer.message().contains("compilation failed"), "{}", answer.message());
    }
}

#[tokio::test]
async fn policies_change_objects() {
    let site = Site::start().await;
    let mutations = json!([
        {"patchType": "ApplyConfiguration", "applyConfiguration": {"expression":
            "Object{metadata: Object.metadata{annotations: {'my-foo': 'my-value'}}, spec: Object.spec{replicas: 1337}}"}},
        {"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'add', path: '/metadata/labels', value: {'replicas': string(object.spec.replicas)}}]"}},
    ]);
    let policy = json!({"metadata": {"name": "p"}, "spec": {
        "matchConstraints": constraints("apps", "deployments"), "mutations": mutations,
        "reinvocationPolicy": "Never", "failurePolicy": "Fail"}});
    site.post(&format!("{GROUP}/mutatingadmissionpolicies"), policy).await.done();
    let binding = json!({"metadata": {"name": "b"}, "spec": {"policyName": "p"}});
    site.post(&format!("{GROUP}/mutatingadmissionpolicybindings"), binding).await.done();
    let deployment = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"replicas": 1,
        "selector": {"matchLabels": {"a": "b"}}, "template": {"metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}})
    };
    let path = "/apis/apps/v1/namespaces/default/deployments";
    let made = site.post(path, deployment("d")).await.done();
    assert_eq!(made["spec"]["replicas"], 1337);
    assert_eq!(made["metadata"]["annotations"]["my-foo"], "my-value");
    // The second mutation sees what the first one did.
    assert_eq!(made["metadata"]["labels"], json!({"replicas": "1337"}));
    assert_eq!(made["spec"]["template"]["spec"]["containers"][0]["name"], "c");

    let bad = json!({"metadata": {"name": "bad"}, "spec": {
        "matchConstraints": constraints("apps", "deployments"),
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression":
            "[JSONPatch{op: 'add', path: '/a', value: object.nothing}]"}}],
        "reinvocationPolicy": "Never"}});
    site.post(&format!("{GROUP}/mutatingadmissionpolicies"), bad).await.done();
    let binding = json!({"metadata": {"name": "bad"}, "spec": {"policyName": "bad"}});
    site.post(&format!("{GROUP}/mutatingadmissionpolicybindings"), binding).await.done();
    let answer = site.post(path, deployment("e")).await;
    assert_eq!(answer.code, 403);
    assert!(
        answer.message().starts_with(
            "policy 'bad' with binding 'bad' denied request: expression '[JSONPatch{op: 'add'"
        ),
        "{}",
        answer.message()
    );
}

#[tokio::test]
async fn expressions_see_the_whole_request() {
    let site = Site::start().await;
    let label = json!({"metadata": {"labels": {"env": "test"}}});
    site.call("PATCH", "/api/v1/namespaces/default", &label).await.done();
    let true_of_a_config_map = [
        "variables.twice == 'bb'",
        "namespaceObject.metadata.labels['env'] == 'test'",
        "request.userInfo.username == 'testkit' && request.operation == 'CREATE'",
        "request.namespace == 'default' && !request.dryRun && request.kind.kind == 'ConfigMap'",
        "authorizer.group('').resource('pods').check('get').allowed()",
        "authorizer.requestResource.check('create').allowed()",
        "oldObject == null",
    ];
    let validations: Vec<Value> =
        true_of_a_config_map.iter().map(|text| json!({"expression": text})).collect();
    let spec = json!({
        "variables": [
            {"name": "a", "expression": "object.data.a"},
            {"name": "twice", "expression": "variables.a + variables.a"},
            // Never asked for, so never evaluated.
            {"name": "unused", "expression": "object.nothing.at.all"},
        ],
        "validations": validations,
    });
    site.policy("p", spec, json!({})).await;
    site.config_map("cm", json!({"data": {"a": "b"}})).await.done();
    let answer = site.config_map("other", json!({"data": {"a": "c"}})).await;
    let end = "denied request: failed expression: variables.twice == 'bb'";
    assert!(answer.message().ends_with(end), "{}", answer.message());
    // An expression that fails denies, unless failures are ignored.
    let answer = site.config_map("empty", json!({})).await;
    assert!(answer.message().contains("resulted in error"), "{}", answer.message());
    let ignore = json!({"spec": {"failurePolicy": "Ignore"}});
    site.call("PATCH", &format!("{GROUP}/{POLICIES}/p"), &ignore).await.done();
    site.config_map("empty", json!({})).await.done();
}

#[tokio::test]
async fn too_costly_policies_are_stopped() {
    let site = Site::start().await;
    let expression = "object.data.all(a, object.data.all(b, object.data.all(c, a + b + c != '')))";
    site.policy("p", json!({"validations": [{"expression": expression}]}), json!({})).await;
    let data: serde_json::Map<String, Value> =
        (0..100).map(|index| (format!("key-{index}"), json!("value"))).collect();
    let answer = site.config_map("cm", json!({"data": data})).await;
    assert_eq!(answer.code, 422);
    let end = "resulted in error: operation cancelled: actual cost limit exceeded";
    assert!(answer.message().ends_with(end), "{}", answer.message());
}
