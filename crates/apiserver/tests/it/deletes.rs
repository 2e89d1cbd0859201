//! Grace, finalizers, propagation, preconditions, collections, generated names.

use api::object;
use serde_json::{Value, json};

use crate::common::{config_map, fixture};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const PODS: &str = "/api/v1/namespaces/default/pods";

fn pod(name: &str, node: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": {"name": name},
        "spec": {"nodeName": node, "containers": [{"name": "a", "image": "x"}]},
    })
}

#[tokio::test]
async fn a_pod_on_a_node_goes_gracefully() {
    let f = fixture();
    f.post(PODS, pod("a", "n1")).await.expect(201);
    let uri = format!("{PODS}/a");
    let marked = f.delete(&uri, json!({})).await.expect(200);
    assert_eq!(marked["kind"], "Pod");
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 30);
    assert_eq!(marked["metadata"]["generation"], 2);
    // Again, and no sooner: nothing changes. Sooner: it does.
    let again = f.delete(&uri, json!({})).await.expect(200);
    assert_eq!(again["metadata"]["resourceVersion"], marked["metadata"]["resourceVersion"]);
    let sooner = f.delete(&uri, json!({"gracePeriodSeconds": 5})).await.expect(200);
    assert_eq!(sooner["metadata"]["deletionGracePeriodSeconds"], 5);
    let gone =
        f.delete(&format!("{uri}?gracePeriodSeconds=0"), json!({"gracePeriodSeconds": 0})).await;
    assert_eq!(gone.expect(200)["kind"], "Status");
    f.get(&uri).await.expect(404);
    f.post(PODS, pod("b", "")).await.expect(201);
    assert_eq!(f.delete(&format!("{PODS}/b"), json!({})).await.expect(200)["kind"], "Status");
}

#[tokio::test]
async fn finalizers_keep_an_object_until_the_last_has_gone() {
    let f = fixture();
    let mut body = config_map("a");
    body["metadata"]["finalizers"] = json!(["example.com/x"]);
    f.post(MAPS, body).await.expect(201);
    let uri = format!("{MAPS}/a");
    let mut watch = f.watch(&format!("{MAPS}?watch=1")).await;
    watch.brief().await;
    let marked = f.delete(&uri, json!({})).await.expect(200);
    assert!(object::is_deleting(&marked));
    assert_eq!(marked["metadata"]["deletionGracePeriodSeconds"], 0);
    assert_eq!(watch.brief().await.0, "MODIFIED");
    let mut more = marked.clone();
    more["metadata"]["finalizers"] = json!(["example.com/x", "example.com/y"]);
    let refused = f.put(&uri, more).await.expect(422);
    assert_eq!(refused["reason"], "Invalid");
    let mut last = marked;
    last["metadata"].as_object_mut().unwrap().remove("finalizers");
    f.put(&uri, last).await.expect(200);
    assert_eq!(watch.brief().await.0, "DELETED");
    f.get(&uri).await.expect(404);
}

#[tokio::test]
async fn propagation_leaves_its_finalizer() {
    let f = fixture();
    for (name, policy, finalizer, code) in
        [("a", "Foreground", "foregroundDeletion", 202), ("b", "Orphan", "orphan", 200)]
    {
        f.post(MAPS, config_map(name)).await.expect(201);
        let body =
            json!({"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy});
        let marked = f.delete(&format!("{MAPS}/{name}"), body).await.expect(code);
        assert_eq!(marked["metadata"]["finalizers"], json!([finalizer]));
    }
    f.post(MAPS, config_map("c")).await.expect(201);
    let body = json!({"propagationPolicy": "Sideways"});
    f.delete(&format!("{MAPS}/c"), body).await.expect(422);
}

#[tokio::test]
async fn preconditions_hold() {
    let f = fixture();
    let made = f.post(MAPS, config_map("a")).await.expect(201);
    let uri = format!("{MAPS}/a");
    let conflict = f.delete(&uri, json!({"preconditions": {"uid": "x"}})).await.expect(409);
    assert!(conflict["message"].as_str().unwrap().contains("UID in the precondition (x)"));
    f.delete(&uri, json!({"preconditions": {"resourceVersion": "1000000"}})).await.expect(409);
    let uid = made["metadata"]["uid"].clone();
    f.delete(&uri, json!({"preconditions": {"uid": uid}})).await.expect(200);
}

#[tokio::test]
async fn a_collection_is_deleted_by_selector() {
    let f = fixture();
    for at in 0..10 {
        let mut body = config_map(&format!("m{at}"));
        body["metadata"]["labels"] = json!({"odd": (at % 2).to_string()});
        f.post(MAPS, body).await.expect(201);
    }
    let deleted = f.delete(&format!("{MAPS}?labelSelector=odd%3D1"), json!({})).await.expect(200);
    assert_eq!(deleted["items"].as_array().unwrap().len(), 5);
    assert_eq!(f.get(MAPS).await.expect(200)["items"].as_array().unwrap().len(), 5);
}

#[tokio::test]
async fn generated_names_are_tried_anew() {
    let f = fixture();
    let body = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"generateName": "x-"}});
    let made = f.post(MAPS, body).await.expect(201);
    let name = object::name(&made);
    assert!(name.starts_with("x-") && name.len() == 7, "{name}");
    let none = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {}});
    let refused = f.post(MAPS, none).await.expect(422);
    assert!(refused["message"].as_str().unwrap().contains("name or generateName is required"));
}
