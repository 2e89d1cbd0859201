//! Removed versions over HTTP: the same objects under both names, for every verb.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use auth::UserInfo;
use axum::body::Body;
use http::Request;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

struct Answer {
    code: u16,
    warning: String,
    body: Value,
}

const JSON: &str = "application/json";
const OLD: &str = "/apis/extensions/v1beta1/namespaces/default/deployments";
const NEW: &str = "/apis/apps/v1/namespaces/default/deployments";

async fn send(f: &testkit::ApiServer, method: &str, uri: &str, kind: &str, body: Value) -> Answer {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(uri).header("content-type", kind);
    let service = f.server.client_service(UserInfo::named("t", &["system:masters"]));
    let response = service.oneshot(request.body(body).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let header = response.headers().get("warning").cloned();
    let warning = header.map(|text| text.to_str().unwrap().to_owned()).unwrap_or_default();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    Answer { code, warning, body: serde_json::from_slice(&bytes).unwrap_or_default() }
}

async fn get(f: &testkit::ApiServer, uri: &str) -> Answer {
    send(f, "GET", uri, JSON, Value::Null).await
}

async fn start() -> testkit::ApiServer {
    let f = testkit::full_api_server();
    let namespace = json!({"metadata": {"name": "default"}});
    assert_eq!(send(&f, "POST", "/api/v1/namespaces", JSON, namespace).await.code, 201);
    f
}

fn deployment(name: &str) -> Value {
    json!({"apiVersion": "extensions/v1beta1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}})
}

const WARNING: &str = "299 - \"extensions/v1beta1 Deployment is deprecated in v1.8+, unavailable \
    in v1.16+; use apps/v1 Deployment\"";

#[tokio::test]
async fn one_object_under_two_names() {
    let f = start().await;
    let made = send(&f, "POST", OLD, JSON, deployment("web")).await;
    assert_eq!((made.code, made.warning.as_str()), (201, WARNING), "{}", made.body);
    assert_eq!(made.body["apiVersion"], "extensions/v1beta1");
    let new = get(&f, &format!("{NEW}/web")).await;
    assert_eq!(new.warning, "");
    assert_eq!(new.body["apiVersion"], "apps/v1");
    assert_eq!(new.body["spec"]["selector"], json!({"matchLabels": {"app": "web"}}));
    assert_eq!(new.body["metadata"]["uid"], made.body["metadata"]["uid"]);
    let again = send(
        &f,
        "POST",
        NEW,
        JSON,
        json!({"metadata": {"name": "web"}, "spec":
        new.body["spec"]}),
    )
    .await;
    assert_eq!(again.code, 409, "{}", again.body);

    let old = get(&f, &format!("{OLD}/web")).await;
    assert_eq!(old.warning, WARNING);
    let list = get(&f, OLD).await.body;
    assert_eq!(
        (&list["apiVersion"], &list["kind"]),
        (&json!("extensions/v1beta1"), &json!("DeploymentList"))
    );
    assert_eq!(list["items"][0]["spec"], old.body["spec"]);

    let mut changed = old.body.clone();
    changed["spec"]["replicas"] = json!(3);
    assert_eq!(send(&f, "PUT", &format!("{OLD}/web"), JSON, changed).await.code, 200);
    for (kind, patch) in [
        ("application/merge-patch+json", json!({"spec": {"replicas": 4}})),
        (
            "application/strategic-merge-patch+json",
            json!({"spec": {"template": {"spec": {"containers": [{"name": "web", "image": "nginx:1"}]}}}}),
        ),
        (
            "application/json-patch+json",
            json!([{"op": "replace", "path": "/spec/paused", "value": true},
            {"op": "add", "path": "/spec/rollbackTo", "value": {"revision": 2}}]),
        ),
    ] {
        let target = format!("{OLD}/web");
        let patch = if kind.contains("json-patch") {
            json!([{"op": "add", "path": "/spec/paused", "value": true}, patch[1]])
        } else {
            patch
        };
        let answer = send(&f, "PATCH", &target, kind, patch).await;
        assert_eq!(answer.code, 200, "{kind}: {}", answer.body);
    }
    let new = get(&f, &format!("{NEW}/web")).await.body;
    assert_eq!(new["spec"]["replicas"], 4);
    assert_eq!(new["spec"]["paused"], true);
    assert_eq!(new["spec"]["template"]["spec"]["containers"][0]["image"], "nginx:1");
    assert_eq!(new["metadata"]["annotations"]["deprecated.deployment.rollback.revision"], "2");

    let scale = get(&f, &format!("{OLD}/web/scale")).await;
    assert_eq!((scale.code, &scale.body["spec"]["replicas"]), (200, &json!(4)));
    let status = json!({"status": {"observedGeneration": 1}});
    let merge = "application/merge-patch+json";
    let answer = send(&f, "PATCH", &format!("{OLD}/web/status"), merge, status).await;
    assert_eq!(answer.code, 200, "{}", answer.body);
    assert_eq!(get(&f, &format!("{NEW}/web")).await.body["status"]["observedGeneration"], 1);
    assert_eq!(send(&f, "DELETE", &format!("{OLD}/web"), JSON, Value::Null).await.code, 200);
    assert_eq!(get(&f, &format!("{NEW}/web")).await.code, 404);
}

#[tokio::test]
async fn an_apply_in_the_old_form_owns_fields_in_it() {
    let f = start().await;
    let uri = format!("{OLD}/web?fieldManager=me");
    let apply = "application/apply-patch+yaml";
    let made = send(&f, "PATCH", &uri, apply, deployment("web")).await;
    assert_eq!(made.code, 201, "{}", made.body);
    let managed = &get(&f, &format!("{NEW}/web")).await.body["metadata"]["managedFields"][0];
    assert_eq!(managed["apiVersion"], "extensions/v1beta1");
    let modern = json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 5}});
    let uri = format!("{NEW}/web?fieldManager=other");
    let refused = send(&f, "PATCH", &uri, apply, modern.clone()).await;
    assert_eq!(refused.code, 409, "{}", refused.body);
    let forced = send(&f, "PATCH", &format!("{uri}&force=true"), apply, modern).await;
    assert_eq!(forced.code, 200, "{}", forced.body);
}

#[tokio::test]
async fn strict_validation_knows_the_old_fields() {
    let f = start().await;
    let mut good = deployment("good");
    good["spec"]["rollbackTo"] = json!({"revision": 1});
    let strict = format!("{OLD}?fieldValidation=Strict");
    assert_eq!(send(&f, "POST", &strict, JSON, good).await.code, 201);
    let mut bad = deployment("bad");
    bad["spec"]["nonsense"] = json!(1);
    let refused = send(&f, "POST", &strict, JSON, bad).await;
    assert_eq!(refused.code, 400);
    assert!(refused.body["message"].as_str().unwrap().contains("unknown field \"spec.nonsense\""));
}

#[tokio::test]
async fn watchers_see_their_own_form() {
    let f = start().await;
    assert_eq!(
        send(&f, "POST", NEW, JSON, {
            let mut modern = deployment("web");
            modern["apiVersion"] = json!("apps/v1");
            modern["spec"]["selector"] = json!({"matchLabels": {"app": "web"}});
            modern
        })
        .await
        .code,
        201
    );
    for (uri, version) in [(OLD, "extensions/v1beta1"), (NEW, "apps/v1")] {
        let request = Request::get(format!("{uri}?watch=true&timeoutSeconds=1&resourceVersion=0"));
        let service = f.server.client_service(UserInfo::named("t", &["system:masters"]));
        let mut answer = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let frame = answer.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
        let event: Value =
            serde_json::from_slice(frame.split(|b| *b == b'\n').next().unwrap()).unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["apiVersion"]),
            (&json!("ADDED"), &json!(version))
        );
    }
}

#[tokio::test]
async fn discovery_lists_them_last_and_leads_nobody_there() {
    let f = start().await;
    let groups = get(&f, "/apis").await.body;
    let names: Vec<_> = groups["groups"].as_array().unwrap().iter().map(|g| &g["name"]).collect();
    assert_eq!(names.last(), Some(&&json!("extensions")));
    let apps = get(&f, "/apis/apps").await.body;
    assert_eq!(apps["preferredVersion"]["version"], "v1");
    let versions: Vec<_> =
        apps["versions"].as_array().unwrap().iter().map(|v| &v["version"]).collect();
    assert_eq!(versions, ["v1", "v1beta2", "v1beta1"]);
    let policy = get(&f, "/apis/policy").await.body;
    assert_eq!(policy["versions"].as_array().unwrap().len(), 1, "charts look for policy/v1beta1");
    let old = get(&f, "/apis/extensions/v1beta1").await.body;
    let resources = old["resources"].as_array().unwrap();
    let names: Vec<_> = resources.iter().filter_map(|one| one["name"].as_str()).collect();
    assert_eq!(
        names,
        [
            "daemonsets",
            "daemonsets/status",
            "deployments",
            "deployments/scale",
            "deployments/status",
            "ingresses",
            "ingresses/status",
            "networkpolicies",
            "replicasets",
            "replicasets/scale",
            "replicasets/status"
        ]
    );
    assert!(
        resources
            .iter()
            .all(|one| one.get("shortNames").is_none() && one.get("categories").is_none())
    );
    // Listed or not, it is there.
    let budget = json!({"metadata": {"name": "b"}, "spec": {"minAvailable": 1, "selector": {}}});
    let uri = "/apis/policy/v1beta1/namespaces/default/poddisruptionbudgets";
    assert_eq!(send(&f, "POST", uri, JSON, budget).await.code, 201);
    let policy = json!({"metadata": {"name": "p"}, "spec": {"privileged": true}});
    let made = send(&f, "POST", "/apis/policy/v1beta1/podsecuritypolicies", JSON, policy).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert!(made.warning.contains("not enforced"), "{}", made.warning);
    assert_eq!(get(&f, "/apis/extensions/v1beta1/podsecuritypolicies/p").await.code, 200);
}

#[tokio::test]
async fn reviews_take_their_old_form() {
    let f = start().await;
    let review = json!({"spec": {"user": "u", "group": ["g"],
        "resourceAttributes": {"verb": "get", "resource": "pods"}}});
    let uri = "/apis/authorization.k8s.io/v1beta1/subjectaccessreviews?fieldValidation=Strict";
    let made = send(&f, "POST", uri, JSON, review).await;
    assert_eq!(made.code, 201, "{}", made.body);
    assert_eq!(made.body["apiVersion"], "authorization.k8s.io/v1beta1");
    assert_eq!(made.body["spec"]["group"], json!(["g"]));
    assert_eq!(made.body["status"]["allowed"], true);
}

#[tokio::test]
async fn what_has_no_store_takes_its_old_form_too() {
    let f = start().await;
    let token = json!({"spec": {"token": "nobody's"}});
    let uri = "/apis/authentication.k8s.io/v1beta1/tokenreviews";
    let made = send(&f, "POST", uri, JSON, token).await;
    assert_eq!(
        (made.code, &made.body["apiVersion"]),
        (201, &json!("authentication.k8s.io/v1beta1"))
    );
    let attributes =
        json!({"resourceAttributes": {"verb": "get", "resource": "pods", "namespace": "default"}});
    let uri = "/apis/authorization.k8s.io/v1beta1/selfsubjectaccessreviews";
    let made = send(&f, "POST", uri, JSON, json!({ "spec": attributes })).await;
    assert_eq!((made.code, &made.body["status"]["allowed"]), (201, &json!(true)));
    let mut local = json!({ "spec": attributes });
    local["spec"]["user"] = json!("u");
    let uri = "/apis/authorization.k8s.io/v1beta1/namespaces/default/localsubjectaccessreviews";
    assert_eq!(send(&f, "POST", uri, JSON, local).await.code, 201);
    let uri = "/apis/authorization.k8s.io/v1beta1/selfsubjectrulesreviews";
    let made = send(&f, "POST", uri, JSON, json!({"spec": {"namespace": "default"}})).await;
    assert_eq!(
        (made.code, &made.body["apiVersion"]),
        (201, &json!("authorization.k8s.io/v1beta1"))
    );
}

#[tokio::test]
async fn a_server_may_go_without_them() {
    let f = testkit::full_api_server_with(|options| options.old_versions = false);
    for uri in
        [OLD, "/apis/extensions", "/apis/apps/v1beta1", "/apis/policy/v1beta1/podsecuritypolicies"]
    {
        assert_eq!(get(&f, uri).await.code, 404, "{uri}");
    }
    let names = get(&f, "/apis").await.body.to_string();
    assert!(!names.contains("extensions\""), "{names}");
}
