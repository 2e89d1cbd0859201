//! Patches, apply, dry-run, field validation, subresources.

use api::object;
use serde_json::json;

use crate::common::{config_map, fixture};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const DEPLOYMENTS: &str = "/apis/apps/v1/namespaces/default/deployments";
const MERGE: &str = "application/merge-patch+json";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const JSON: &str = "application/json-patch+json";
const APPLY: &str = "application/apply-patch+yaml";

fn deployment(name: &str) -> serde_json::Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "a", "image": "x"}]},
            },
        },
    })
}

#[tokio::test]
async fn the_three_patches() {
    let f = fixture();
    f.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    let uri = format!("{DEPLOYMENTS}/web");
    let merged = f.patch(&uri, MERGE, json!({"spec": {"replicas": 5}})).await.expect(200);
    assert_eq!(merged["spec"]["replicas"], 5);
    assert_eq!(merged["metadata"]["generation"], 2);
    let patch =
        json!({"spec": {"template": {"spec": {"containers": [{"name": "b", "image": "y"}]}}}});
    let strategic = f.patch(&uri, STRATEGIC, patch).await.expect(200);
    let containers = strategic["spec"]["template"]["spec"]["containers"].as_array().unwrap();
    assert_eq!(containers.len(), 2);
    let patch = json!([{"op": "replace", "path": "/spec/replicas", "value": 7}]);
    assert_eq!(f.patch(&uri, JSON, patch).await.expect(200)["spec"]["replicas"], 7);
    let patch = json!([{"op": "test", "path": "/spec/replicas", "value": 1}]);
    f.patch(&uri, JSON, patch).await.expect(422);
    f.patch(&uri, "application/xml", json!({})).await.expect(415);
    f.patch("/apis/example.com/v1/namespaces/default/widgets/x", STRATEGIC, json!({}))
        .await
        .expect(415);
    let patch = json!({"metadata": {"resourceVersion": "1"}});
    f.patch(&uri, MERGE, patch).await.expect(409);
}

#[tokio::test]
async fn apply_creates_owns_and_conflicts() {
    let f = fixture();
    let uri = format!("{MAPS}/a?fieldManager=one");
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}, "data": {"x": "1"}});
    f.patch(&format!("{MAPS}/a"), APPLY, body.clone()).await.expect(422);
    let mut other = body.clone();
    other["kind"] = "Pod".into();
    let refused = f.patch(&uri, APPLY, other).await.expect(400);
    assert_eq!(refused["message"], "invalid object type: /v1, Kind=Pod");
    let made = f.patch(&uri, APPLY, body.clone()).await.expect(201);
    let managed = &made["metadata"]["managedFields"][0];
    assert_eq!((&managed["manager"], &managed["operation"]), (&json!("one"), &json!("Apply")));
    let same = f.patch(&uri, APPLY, body.clone()).await.expect(200);
    assert_eq!(same["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    let mut other = body;
    other["data"]["x"] = "2".into();
    let uri = format!("{MAPS}/a?fieldManager=two");
    let conflict = f.patch(&uri, APPLY, other.clone()).await.expect(409);
    assert_eq!(conflict["details"]["causes"][0]["reason"], "FieldManagerConflict");
    let forced = f.patch(&format!("{uri}&force=true"), APPLY, other).await.expect(200);
    assert_eq!(forced["data"]["x"], "2");
}

#[tokio::test]
async fn a_write_is_noted_under_the_clients_name() {
    let f = fixture();
    let headers = [("content-type", "application/json"), ("user-agent", "kubectl/v1.36 (linux)")];
    let body = config_map("a").to_string();
    let made = f.call(http::Method::POST, MAPS, &headers, body).await.expect(201);
    let managed = &made["metadata"]["managedFields"][0];
    assert_eq!(managed["manager"], "kubectl");
    assert_eq!(managed["operation"], "Update");
    assert!(managed["fieldsV1"]["f:data"].is_object());
}

#[tokio::test]
async fn dry_run_stores_nothing() {
    let f = fixture();
    f.post(&format!("{MAPS}?dryRun=All"), config_map("a")).await.expect(201);
    f.get(&format!("{MAPS}/a")).await.expect(404);
    f.post(MAPS, config_map("a")).await.expect(201);
    let patch = json!({"data": {"a": "9"}});
    let shown = f.patch(&format!("{MAPS}/a?dryRun=All"), MERGE, patch).await.expect(200);
    assert_eq!(shown["data"]["a"], "9");
    f.delete(&format!("{MAPS}/a"), json!({"dryRun": ["All"]})).await.expect(200);
    f.call(http::Method::DELETE, &format!("{MAPS}/a?dryRun=All"), &[], "").await.expect(200);
    assert_eq!(f.get(&format!("{MAPS}/a")).await.expect(200)["data"]["a"], "1");
    f.post(&format!("{MAPS}?dryRun=Some"), config_map("b")).await.expect(422);
}

#[tokio::test]
async fn unknown_fields_are_refused_warned_of_or_dropped() {
    let f = fixture();
    let mut body = config_map("a");
    body["foo"] = 1.into();
    let strict = f.post(&format!("{MAPS}?fieldValidation=Strict"), body.clone()).await.expect(400);
    let message = strict["message"].as_str().unwrap();
    assert!(message.contains("strict decoding error: unknown field \"foo\""), "{message}");
    let warned = f.post(MAPS, body.clone()).await;
    assert_eq!(warned.code, 201);
    assert_eq!(warned.headers["warning"], "299 - \"unknown field \\\"foo\\\"\"");
    body["metadata"]["name"] = "b".into();
    let refused =
        f.post(MAPS, json!({"kind": "ConfigMap", "metadata": {"name": "-"}, "foo": 1})).await;
    assert_eq!(refused.code, 422);
    assert_eq!(refused.headers["warning"], "299 - \"unknown field \\\"foo\\\"\"");
    let ignored = f.post(&format!("{MAPS}?fieldValidation=Ignore"), body.clone()).await;
    assert!(ignored.headers.get("warning").is_none());
    assert!(ignored.json().get("foo").is_none());
    f.post(&format!("{MAPS}?fieldValidation=X"), body).await.expect(422);
    let uri = format!("{MAPS}/b?fieldValidation=Strict");
    for kind in [MERGE, STRATEGIC] {
        let refused = f.patch(&uri, kind, json!({"foo": 1})).await.expect(422);
        let message = refused["message"].as_str().unwrap();
        assert!(message.contains("strict decoding error: unknown field \"foo\""), "{message}");
    }
    let wrong = f.patch(&uri, MERGE, json!({"data": [1]})).await.expect(422);
    assert!(wrong["message"].as_str().unwrap().contains("patch: Invalid value: "));
}

#[tokio::test]
async fn status_and_scale_change_their_part_only() {
    let f = fixture();
    f.post(DEPLOYMENTS, deployment("web")).await.expect(201);
    let uri = format!("{DEPLOYMENTS}/web");
    let patch = json!({"spec": {"replicas": 9}, "status": {"replicas": 2}});
    let put = f.patch(&format!("{uri}/status"), MERGE, patch).await.expect(200);
    assert_eq!((&put["spec"]["replicas"], &put["status"]["replicas"]), (&json!(2), &json!(2)));
    let scale = f.get(&format!("{uri}/scale")).await.expect(200);
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["status"], json!({"replicas": 2, "selector": "app=web"}));
    let patch = json!({"spec": {"replicas": 4}});
    let scaled = f.patch(&format!("{uri}/scale"), MERGE, patch).await.expect(200);
    assert_eq!(scaled["spec"]["replicas"], 4);
    let got = f.get(&uri).await.expect(200);
    assert_eq!((&got["spec"]["replicas"], &got["metadata"]["generation"]), (&json!(4), &json!(2)));
    let mut scale = scaled;
    scale["spec"]["replicas"] = (-1).into();
    f.put(&format!("{uri}/scale"), scale).await.expect(422);
}

#[tokio::test]
async fn patches_without_a_version_never_conflict() {
    let f = std::sync::Arc::new(fixture());
    f.post(MAPS, config_map("a")).await.expect(201);
    let writers = (0..32).map(|at| {
        let f = f.clone();
        tokio::spawn(async move {
            let patch = json!({"data": {format!("k{at}"): "v"}});
            f.patch(&format!("{MAPS}/a"), MERGE, patch).await.code
        })
    });
    for writer in writers {
        assert_eq!(writer.await.unwrap(), 200);
    }
    let got = f.get(&format!("{MAPS}/a")).await.expect(200);
    assert_eq!(object::at(&got, &["data"]).unwrap().as_object().unwrap().len(), 33);
}
