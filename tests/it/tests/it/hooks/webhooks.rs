//! Webhooks over real TLS: whom they are asked about, what they are told, what comes of their
//! answers.

use std::sync::Arc;

use api::names::GroupResource;
use base64::Engine as _;
use futures::FutureExt as _;
use parking_lot::Mutex;
use serde_json::{Value, json};
use testkit::{Asked, HttpsServer};

use super::{Answer, GROUP, Site};

const VALIDATING: &str = "validatingwebhookconfigurations";
const MUTATING: &str = "mutatingwebhookconfigurations";

/// A webhook whose paths say what it does, and what it was asked.
struct Hook {
    server: HttpsServer,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Hook {
    async fn start() -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let seen = asked.clone();
        let server = HttpsServer::start(
            &["127.0.0.1"],
            Arc::new(move |asked: Asked| {
                seen.lock().push(asked.clone());
                async move {
                    if asked.path == "/silent" {
                        std::future::pending::<()>().await;
                    }
                    review(&asked).into()
                }
                .boxed()
            }),
        )
        .await;
        Self { server, asked }
    }

    /// What it was asked, and forgets it.
    fn take(&self) -> Vec<Value> {
        self.asked.lock().drain(..).map(|asked| asked.body["request"].clone()).collect()
    }

    /// The names of the objects that it was asked about.
    fn names(&self) -> Vec<String> {
        self.take().iter().map(|asked| asked["name"].as_str().unwrap_or("").to_owned()).collect()
    }

    /// A webhook that is asked at a path about writes of ConfigMaps.
    fn webhook(&self, path: &str, rest: Value) -> Value {
        let mut webhook = json!({
            "name": "hook.example.com",
            "clientConfig": {
                "url": format!("https://{}{path}", self.server.address),
                "caBundle": self.server.ca_bundle(),
            },
            "rules": [rule("", "configmaps", &["CREATE", "UPDATE"])],
            "sideEffects": "None",
            "admissionReviewVersions": ["v1"],
        });
        webhook.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
        webhook
    }
}

fn rule(group: &str, resource: &str, operations: &[&str]) -> Value {
    json!({
        "apiGroups": [group], "apiVersions": ["*"], "resources": [resource],
        "operations": operations,
    })
}

/// The answer to a review by the path that it came to.
fn review(asked: &Asked) -> Value {
    let request = &asked.body["request"];
    let encode = |patch: Value| base64::engine::general_purpose::STANDARD.encode(patch.to_string());
    let patch =
        |patch: Value| json!({"allowed": true, "patch": encode(patch), "patchType": "JSONPatch"});
    let data = &request["object"]["data"];
    let mut response = match asked.path.as_str() {
        "/deny" => json!({"allowed": false, "status": {"message": "not today"}}),
        "/teapot" => json!({"allowed": false,
            "status": {"message": "short and stout", "code": 418, "reason": "Teapot"}}),
        "/warn" => json!({"allowed": true, "warnings": ["mind the gap"]}),
        "/one" => patch(json!([{"op": "add", "path": "/data/one", "value": "yes"}])),
        // Adds what is only to be added after the first.
        "/two" if data["one"] == "yes" => {
            patch(json!([{"op": "add", "path": "/data/two", "value": "yes"}]))
        }
        // Counts how often it is asked.
        "/count" => {
            let count = data["count"].as_str().unwrap_or("").to_owned() + "x";
            patch(json!([{"op": "add", "path": "/data/count", "value": count}]))
        }
        "/init" => patch(json!([{"op": "add", "path": "/spec/initContainers",
            "value": [{"name": "added", "image": "i", "nonsense": true}]}])),
        "/annotate" => patch(json!([{"op": "add", "path": "/metadata/annotations",
            "value": {"seen": request["object"]["apiVersion"]}}])),
        "/nothing" => json!({"allowed": true, "patch": encode(json!([]))}),
        _ => json!({"allowed": true}),
    };
    response["uid"] = request["uid"].clone();
    json!({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response})
}

impl Site {
    async fn configure(&self, plural: &str, name: &str, webhooks: Vec<Value>) -> Value {
        let object = json!({"metadata": {"name": name}, "webhooks": webhooks});
        self.post(&format!("{GROUP}/{plural}"), object).await.done()
    }

    async fn unconfigure(&self, plural: &str, name: &str) {
        self.call("DELETE", &format!("{GROUP}/{plural}/{name}"), &json!(null)).await.done();
    }
}

#[track_caller]
fn refused(answer: &Answer, code: u16, message: &str) {
    assert_eq!((answer.code, answer.message()), (code, message), "{}", answer.body);
}

#[tokio::test]
async fn a_webhook_is_told_everything_about_a_request() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let rules = json!({"rules": [rule("", "configmaps", &["*"])]});
    site.configure(VALIDATING, "a", vec![hook.webhook("/", rules)]).await;
    let made = site.config_map("cm", json!({"data": {"a": "b"}})).await.done();
    let asked = hook.take().remove(0);
    let gvk = json!({"group": "", "version": "v1", "kind": "ConfigMap"});
    let gvr = json!({"group": "", "version": "v1", "resource": "configmaps"});
    let expected = json!({
        "uid": asked["uid"],
        "kind": gvk, "resource": gvr, "requestKind": gvk, "requestResource": gvr,
        "name": "cm", "namespace": "default", "operation": "CREATE",
        "userInfo": {"username": "testkit", "groups": ["system:masters", "system:authenticated"]},
        "object": asked["object"], "oldObject": null, "dryRun": false,
        "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
    });
    assert_eq!(asked, expected);
    assert_eq!(asked["uid"].as_str().unwrap().len(), 36);
    assert_eq!(asked["object"]["data"], made["data"]);
    assert_eq!(asked["object"]["metadata"]["uid"], made["metadata"]["uid"]);

    let path = "/api/v1/namespaces/default/configmaps/cm?dryRun=All&fieldManager=me";
    site.call("PATCH", path, &json!({"data": {"c": "d"}})).await.done();
    let asked = hook.take().remove(0);
    assert_eq!((&asked["operation"], &asked["dryRun"]), (&json!("UPDATE"), &json!(true)));
    assert_eq!(asked["object"]["data"], json!({"a": "b", "c": "d"}));
    assert_eq!(asked["oldObject"]["data"], json!({"a": "b"}));
    let options = json!({"kind": "UpdateOptions", "apiVersion": "meta.k8s.io/v1",
        "dryRun": ["All"], "fieldManager": "me"});
    assert_eq!(asked["options"], options);

    let path = "/api/v1/namespaces/default/configmaps/cm?propagationPolicy=Foreground";
    site.call("DELETE", path, &json!(null)).await.done();
    let asked = hook.take().remove(0);
    assert_eq!((&asked["operation"], &asked["object"]), (&json!("DELETE"), &json!(null)));
    assert_eq!(asked["oldObject"]["data"], json!({"a": "b"}));
    assert_eq!(asked["options"]["propagationPolicy"], "Foreground");
    assert_eq!(asked["options"]["kind"], "DeleteOptions");
}

#[tokio::test]
async fn a_refusal_reads_as_the_webhook_says() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    site.configure(VALIDATING, "a", vec![hook.webhook("/deny", json!({}))]).await;
    let denied = "admission webhook \"hook.example.com\" denied the request: not today";
    refused(&site.config_map("cm", json!({})).await, 400, denied);
    site.unconfigure(VALIDATING, "a").await;
    site.config_map("cm", json!({})).await.done();

    site.configure(VALIDATING, "b", vec![hook.webhook("/teapot", json!({}))]).await;
    let path = "/api/v1/namespaces/default/configmaps/cm";
    let answer = site.call("PATCH", path, &json!({"data": {"a": "b"}})).await;
    let denied = "admission webhook \"hook.example.com\" denied the request: short and stout";
    refused(&answer, 418, denied);
    assert_eq!(answer.body["reason"], "Teapot");
    // Only what the rules name is asked about.
    site.call("DELETE", path, &json!(null)).await.done();

    let deletes = json!({"rules": [rule("", "configmaps", &["DELETE"])]});
    site.unconfigure(VALIDATING, "b").await;
    site.configure(VALIDATING, "c", vec![hook.webhook("/deny", deletes)]).await;
    site.config_map("cm", json!({})).await.done();
    assert_eq!(site.call("DELETE", path, &json!(null)).await.code, 400);
    let all = "/api/v1/namespaces/default/configmaps";
    assert_eq!(site.call("DELETE", all, &json!(null)).await.code, 400);
}

#[tokio::test]
async fn changes_of_a_configuration_count_at_once() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let made = site.configure(VALIDATING, "a", vec![hook.webhook("/deny", json!({}))]).await;
    assert_eq!(site.config_map("a", json!({})).await.code, 400);
    let path = format!("{GROUP}/{VALIDATING}/a");
    let mut updated = made;
    updated["webhooks"][0]["rules"][0]["operations"] = json!(["UPDATE"]);
    site.call("PUT", &path, &updated).await.done();
    site.config_map("a", json!({})).await.done();
    let patch = json!([{"op": "replace", "path": "/webhooks/0/rules/0/operations",
        "value": ["CREATE"]}]);
    site.call("PATCH", &path, &patch).await.done();
    assert_eq!(site.config_map("b", json!({})).await.code, 400);
    let all = format!("{GROUP}/{VALIDATING}");
    site.call("DELETE", &all, &json!(null)).await.done();
    site.config_map("b", json!({})).await.done();
}

#[tokio::test]
async fn a_webhook_that_cannot_be_asked_fails_the_request_or_is_ignored() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let nobody = json!({"url": "https://127.0.0.1:1/x", "caBundle": hook.server.ca_bundle()});
    for (policy, config, expected) in [
        ("Fail", nobody.clone(), Some(
            "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://127.0.0.1:1/x?timeout=1s\": dial tcp 127.0.0.1:1: connect: connection refused".to_owned(),
        )),
        ("Ignore", nobody, None),
        ("Fail", json!({"service": {"namespace": "n", "name": "s", "port": 8443}}), Some(
            "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://s.n.svc:8443/?timeout=1s\": service \"s\" not found".to_owned(),
        )),
        ("Fail", hook.webhook("/silent", json!({}))["clientConfig"].clone(), Some(format!(
            "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: Post \"https://{}/silent?timeout=1s\": context deadline exceeded",
            hook.server.address
        ))),
    ] {
        let rest = json!({"failurePolicy": policy, "clientConfig": config, "timeoutSeconds": 1});
        let webhook = hook.webhook("/", rest);
        for plural in [VALIDATING, MUTATING] {
            site.configure(plural, "a", vec![webhook.clone()]).await;
            let answer = site.config_map("cm", json!({})).await;
            match &expected {
                Some(message) => {
                    refused(&answer, 500, message);
                    assert_eq!(answer.body["reason"], "InternalError");
                }
                None => {
                    answer.done();
                    let path = "/api/v1/namespaces/default/configmaps/cm";
                    site.call("DELETE", path, &json!(null)).await.done();
                }
            }
            site.unconfigure(plural, "a").await;
        }
    }
    // An answer that makes no sense is a failed call too.
    site.configure(MUTATING, "a", vec![hook.webhook("/nothing", json!({}))]).await;
    refused(
        &site.config_map("cm", json!({})).await,
        500,
        "Internal error occurred: failed calling webhook \"hook.example.com\": received invalid webhook response: webhook returned response.patch but not response.patchType",
    );
}

#[tokio::test]
async fn mutations_follow_each_other_by_name() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    site.configure(MUTATING, "b", vec![hook.webhook("/two", json!({}))]).await;
    site.configure(MUTATING, "a", vec![hook.webhook("/one", json!({}))]).await;
    site.configure(VALIDATING, "a", vec![hook.webhook("/", json!({}))]).await;
    let made = site.config_map("cm", json!({"data": {"zero": "yes"}})).await.done();
    assert_eq!(made["data"], json!({"zero": "yes", "one": "yes", "two": "yes"}));
    // The validating webhook sees the final form.
    assert_eq!(hook.take().pop().unwrap()["object"]["data"], made["data"]);
}

#[tokio::test]
async fn a_changed_object_is_defaulted_pruned_and_validated_again() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let rules = json!({"rules": [rule("", "pods", &["CREATE"])]});
    site.configure(MUTATING, "a", vec![hook.webhook("/init", rules)]).await;
    let pods = "/api/v1/namespaces/default/pods";
    let pod = json!({"metadata": {"generateName": "pod-"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    let made = site.post(pods, pod.clone()).await.done();
    let added = &made["spec"]["initContainers"][0];
    assert_eq!(added["terminationMessagePolicy"], "File");
    assert!(added.get("nonsense").is_none(), "{added}");
    // The second round lets the server's own plugins see what came in.
    assert_eq!(
        added["volumeMounts"][0]["mountPath"],
        "/var/run/secrets/kubernetes.io/serviceaccount"
    );
    // No name yet, as upstream: it is generated after everybody has changed the object.
    assert_eq!(hook.names(), [""]);
    assert!(made["metadata"]["name"].as_str().unwrap().starts_with("pod-"));

    let mut clash = pod;
    clash["spec"]["containers"][0]["name"] = "added".into();
    let answer = site.post(pods, clash).await;
    assert_eq!(answer.code, 422);
    assert!(answer.message().contains("Duplicate value: \"added\""), "{}", answer.message());
}

#[tokio::test]
async fn those_who_want_are_asked_again_after_a_change() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    for (policy, expected) in [("Never", "x"), ("IfNeeded", "xx")] {
        let counting = hook.webhook("/count", json!({"reinvocationPolicy": policy}));
        site.configure(MUTATING, "a", vec![counting]).await;
        site.configure(MUTATING, "b", vec![hook.webhook("/one", json!({}))]).await;
        let name = policy.to_lowercase();
        let made = site.config_map(&name, json!({"data": {"a": "b"}})).await.done();
        assert_eq!(made["data"]["count"], expected, "{policy}");
        // Without a change after it, nobody is asked twice.
        site.unconfigure(MUTATING, "b").await;
        let made = site.config_map(&(name + "-alone"), json!({"data": {"a": "b"}})).await.done();
        assert_eq!(made["data"]["count"], "x", "{policy}");
        site.unconfigure(MUTATING, "a").await;
    }
}

#[tokio::test]
async fn nobody_locks_himself_out() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let all = json!({"rules": [rule("*", "*/*", &["*"])]});
    site.configure(VALIDATING, "a", vec![hook.webhook("/deny", all.clone())]).await;
    site.configure(MUTATING, "a", vec![hook.webhook("/deny", all)]).await;
    assert_eq!(site.config_map("cm", json!({})).await.code, 400);
    site.configure(VALIDATING, "b", vec![hook.webhook("/deny", json!({}))]).await;
    for (plural, name) in [(VALIDATING, "b"), (VALIDATING, "a"), (MUTATING, "a")] {
        site.unconfigure(plural, name).await;
    }
    site.config_map("cm", json!({})).await.done();
}

#[tokio::test]
async fn selectors_say_who_is_meant() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let team = json!({"metadata": {"name": "team", "labels": {"hooked": "yes"}}});
    site.post("/api/v1/namespaces", team).await.done();
    let selector = json!({"namespaceSelector": {"matchLabels": {"hooked": "yes"}},
        "rules": [rule("", "*", &["*"])]});
    site.configure(VALIDATING, "a", vec![hook.webhook("/deny", selector)]).await;
    site.config_map("cm", json!({})).await.done();
    let maps = "/api/v1/namespaces/team/configmaps";
    assert_eq!(site.post(maps, json!({"metadata": {"name": "cm"}})).await.code, 400);
    // Namespaces are chosen by their own labels, the new ones when they change; objects in no
    // namespace always.
    let node = json!({"metadata": {"name": "node"}});
    assert_eq!(site.post("/api/v1/nodes", node).await.code, 400);
    let other = json!({"metadata": {"name": "other"}});
    site.post("/api/v1/namespaces", other).await.done();
    let label = json!({"metadata": {"labels": {"hooked": "yes"}}});
    assert_eq!(site.call("PATCH", "/api/v1/namespaces/other", &label).await.code, 400);
    site.unconfigure(VALIDATING, "a").await;

    let selector = json!({"objectSelector": {"matchLabels": {"app": "a"}}});
    site.configure(VALIDATING, "b", vec![hook.webhook("/deny", selector)]).await;
    site.config_map("free", json!({})).await.done();
    assert_eq!(site.config_map("held", json!({"labels": {"app": "a"}})).await.code, 400);
    let path = "/api/v1/namespaces/default/configmaps/free";
    assert_eq!(
        site.call("PATCH", path, &json!({"metadata": {"labels": {"app": "a"}}})).await.code,
        400
    );
}

#[tokio::test]
async fn warnings_reach_the_caller() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    site.configure(VALIDATING, "a", vec![hook.webhook("/warn", json!({}))]).await;
    let answer = site.config_map("cm", json!({})).await;
    assert_eq!(answer.warnings, ["299 - \"mind the gap\""]);
}

#[tokio::test]
async fn another_version_is_asked_about_when_only_that_is_meant() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let mut rules = rule("autoscaling", "horizontalpodautoscalers", &["CREATE"]);
    rules["apiVersions"] = json!(["v1"]);
    let hpas = "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers";
    let hpa = |name: &str| {
        json!({"metadata": {"name": name}, "spec": {"maxReplicas": 3,
            "scaleTargetRef": {"kind": "Deployment", "name": "d", "apiVersion": "apps/v1"}}})
    };
    for (policy, expected) in [("Exact", None), ("Equivalent", Some("autoscaling/v1"))] {
        let webhook =
            hook.webhook("/annotate", json!({"rules": [rules.clone()], "matchPolicy": policy}));
        site.configure(MUTATING, "a", vec![webhook]).await;
        let made = site.post(hpas, hpa(&policy.to_lowercase())).await.done();
        assert_eq!(made["apiVersion"], "autoscaling/v2");
        assert_eq!(made["metadata"]["annotations"]["seen"].as_str(), expected);
        let asked = hook.take();
        assert_eq!(asked.len(), usize::from(expected.is_some()));
        if let Some(asked) = asked.first() {
            assert_eq!(asked["kind"]["version"], "v1");
            assert_eq!(asked["requestKind"]["version"], "v2");
            assert_eq!(asked["requestResource"]["version"], "v2");
        }
        site.unconfigure(MUTATING, "a").await;
    }
}

#[tokio::test]
async fn attaching_is_asked_about_with_its_options() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let rules = json!({"rules": [rule("", "pods/*", &["CONNECT"])]});
    site.configure(VALIDATING, "a", vec![hook.webhook("/deny", rules)]).await;
    let pods = GroupResource::new("", "pods");
    let pod = json!({"apiVersion": "v1", "kind": "Pod",
        "metadata": {"name": "p", "namespace": "default"},
        "spec": {"containers": [{"name": "c", "image": "i"}]}});
    site.server.server.object_api().create(&pods, pod, false).await.unwrap();
    let path = "/api/v1/namespaces/default/pods/p/attach?container=c&stdin=true";
    let answer = site.call("GET", path, &json!(null)).await;
    refused(&answer, 400, "admission webhook \"hook.example.com\" denied the request: not today");
    let asked = hook.take().remove(0);
    assert_eq!(asked["operation"], "CONNECT");
    assert_eq!((&asked["name"], &asked["subResource"]), (&json!("p"), &json!("attach")));
    let options = json!({"kind": "PodAttachOptions", "apiVersion": "v1", "container": "c",
        "stdin": true, "stdout": true, "stderr": true});
    assert_eq!(asked["object"], options);
    // A log is read, not connected to.
    site.call("GET", "/api/v1/namespaces/default/pods/p/log", &json!(null)).await;
    assert!(hook.take().is_empty());
}

#[tokio::test]
async fn scaling_is_asked_about_with_the_scale() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let deployment = json!({"metadata": {"name": "d"}, "spec": {
        "replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
            "metadata": {"labels": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
    let path = "/apis/apps/v1/namespaces/default/deployments";
    site.post(path, deployment).await.done();
    let rules = json!({"rules": [rule("apps", "deployments/scale", &["UPDATE"])]});
    site.configure(VALIDATING, "a", vec![hook.webhook("/", rules)]).await;
    let scale = json!({"spec": {"replicas": 4}});
    site.call("PATCH", &format!("{path}/d/scale"), &scale).await.done();
    let asked = hook.take().remove(0);
    assert_eq!(asked["kind"], json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
    assert_eq!(
        (&asked["object"]["spec"], &asked["oldObject"]["spec"]),
        (&json!({"replicas": 4}), &json!({"replicas": 1}))
    );
}

#[tokio::test]
async fn conditions_say_which_requests_are_meant() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let conditions = json!([
        {"name": "skip", "expression": "object.metadata.name != 'skip-me'"},
        {"name": "kind", "expression": "request.kind.kind == 'ConfigMap' && oldObject == null"},
        {"name": "may", "expression": "authorizer.requestResource.check('create').allowed()"},
    ]);
    let webhook = hook.webhook("/deny", json!({"matchConditions": conditions}));
    site.configure(VALIDATING, "a", vec![webhook]).await;
    site.config_map("skip-me", json!({})).await.done();
    assert_eq!(site.config_map("take-me", json!({})).await.code, 400);
    assert_eq!(hook.names(), ["take-me"]);
    site.unconfigure(VALIDATING, "a").await;

    let broken = json!([{"name": "broken", "expression": "object.data.nothing == 'a'"}]);
    for (policy, code) in [("Fail", 403), ("Ignore", 201)] {
        let rest = json!({"matchConditions": broken, "failurePolicy": policy});
        site.configure(VALIDATING, "b", vec![hook.webhook("/deny", rest)]).await;
        let answer = site.config_map("cm", json!({"data": {"a": "b"}})).await;
        assert_eq!(answer.code, code, "{}", answer.body);
        if code == 403 {
            let text = "configmaps \"cm\" is forbidden: expression 'object.data.nothing == 'a'' resulted in error: no such key: nothing";
            assert_eq!(answer.message(), text);
        }
        site.unconfigure(VALIDATING, "b").await;
    }
}

#[tokio::test]
async fn everything_is_changed_but_what_a_condition_leaves_out() {
    let (site, hook) = (Site::start().await, Hook::start().await);
    let conditions = json!([{"name": "skip", "expression": "object.metadata.name != 'skip-me'"}]);
    let rest = json!({"matchConditions": conditions});
    site.configure(MUTATING, "a", vec![hook.webhook("/one", rest)]).await;
    let data = || json!({"data": {"zero": "yes"}});
    let left_out = site.config_map("skip-me", data()).await.done();
    assert_eq!(left_out["data"], json!({"zero": "yes"}));
    let changed = site.config_map("take-me", data()).await.done();
    assert_eq!(changed["data"], json!({"zero": "yes", "one": "yes"}));
}
