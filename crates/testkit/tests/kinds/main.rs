//! The built-in kinds on the API server: discovery as upstream's documents have it, and the kinds
//! that are served in two forms.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::collections::BTreeMap;
use std::path::Path;

use auth::UserInfo;
use axum::body::Body;
use http::{Method, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tower::ServiceExt;

async fn call(f: &testkit::ApiServer, method: Method, uri: &str, body: Value) -> (u16, Value) {
    call_as(f, method, uri, "application/json", body).await
}

async fn call_as(
    f: &testkit::ApiServer,
    method: Method,
    uri: &str,
    accept: &str,
    body: Value,
) -> (u16, Value) {
    let body = if body.is_null() { Body::empty() } else { Body::from(body.to_string()) };
    let request = Request::builder().method(method).uri(uri).header("accept", accept);
    let service = f.server.client_service(UserInfo::named("t", &["system:masters"]));
    let response = service.oneshot(request.body(body).unwrap()).await.unwrap();
    let code = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (code, serde_json::from_slice(&bytes).unwrap_or_default())
}

/// Upstream's documents by path.
fn documents() -> BTreeMap<String, Value> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kinds/discovery");
    let mut found = BTreeMap::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        found.insert(format!("/{}", name.replace("__", "/")), value);
    }
    found
}

fn by_name<'v>(list: &'v Value, field: &str, name: &str) -> BTreeMap<String, &'v Value> {
    let items = list[field].as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| (item[name].as_str().unwrap_or_default().to_owned(), item)).collect()
}

#[tokio::test]
async fn every_resource_is_discovered_as_upstreams() {
    let f = testkit::full_api_server();
    let mut wrong = Vec::new();
    for (path, golden) in documents() {
        if golden["kind"] != "APIResourceList" {
            continue;
        }
        let (code, ours) = call(&f, Method::GET, &path, Value::Null).await;
        if code == 404 {
            continue; // no kind of that group yet
        }
        let expected = by_name(&golden, "resources", "name");
        for (name, found) in by_name(&ours, "resources", "name") {
            match expected.get(&name) {
                None => wrong.push(format!("{path} {name}: upstream has none")),
                Some(expected) if *expected != found => {
                    wrong.push(format!("{path} {name}: {found} where upstream has {expected}"));
                }
                Some(_) => {}
            }
        }
        let names = |list: &Value| -> Vec<String> {
            let items = list["resources"].as_array().unwrap();
            items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
        };
        let served = names(&ours);
        let mut order = names(&golden);
        order.retain(|name| served.contains(name));
        if served != order {
            wrong.push(format!("{path}: {served:?} where upstream has {order:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn the_aggregated_document_is_upstreams() {
    let f = testkit::full_api_server();
    let accept = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    let (_, ours) = call_as(&f, Method::GET, "/apis", accept, Value::Null).await;
    let golden = &documents()["/aggregated_v2"];
    let groups = |list: &Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap();
        items.iter().map(|item| item["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let served = groups(&ours);
    let mut order = groups(golden);
    order.retain(|group| served.contains(group));
    assert_eq!(served, order);
    for group in ours["items"].as_array().unwrap() {
        let same = |one: &&Value| one["metadata"] == group["metadata"];
        let theirs = golden["items"].as_array().unwrap().iter().find(same).unwrap();
        let expected = by_name(theirs, "versions", "version");
        for (version, found) in by_name(group, "versions", "version") {
            let expected = by_name(expected[&version], "resources", "resource");
            for (name, found) in by_name(found, "resources", "resource") {
                let mut expected = expected[&name].clone();
                let mut found = found.clone();
                for value in [&mut expected, &mut found] {
                    sort_subresources(value);
                }
                assert_eq!(found, expected, "{version} {name}");
            }
        }
    }
}

fn sort_subresources(resource: &mut Value) {
    if let Some(list) = resource.get_mut("subresources").and_then(Value::as_array_mut) {
        list.sort_by_key(|one| one["subresource"].as_str().unwrap().to_owned());
    }
}

#[tokio::test]
async fn an_event_has_two_forms() {
    let f = testkit::full_api_server();
    let namespace =
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}});
    let (code, made) = call(&f, Method::POST, "/api/v1/namespaces", namespace).await;
    assert_eq!(code, 201, "{made}");
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "web"},
        "reason": "Started", "message": "it runs", "type": "Normal",
        "source": {"component": "kubelet"},
    });
    let (code, made) = call(&f, Method::POST, "/api/v1/namespaces/default/events", event).await;
    assert_eq!(code, 201, "{made}");
    let uri = "/apis/events.k8s.io/v1/namespaces/default/events";
    let (code, new) = call(&f, Method::GET, &format!("{uri}/e"), Value::Null).await;
    assert_eq!(code, 200, "{new}");
    assert_eq!(
        (&new["apiVersion"], &new["note"], &new["regarding"]["name"]),
        (&json!("events.k8s.io/v1"), &json!("it runs"), &json!("web"))
    );
    let selected = format!("{uri}?fieldSelector=regarding.name%3Dweb");
    let (_, list) = call(&f, Method::GET, &selected, Value::Null).await;
    assert_eq!(list["kind"], "EventList");
    assert_eq!(list["items"][0]["note"], "it runs");
    let selected = "/api/v1/events?fieldSelector=involvedObject.name%3Ddb";
    let (_, list) = call(&f, Method::GET, selected, Value::Null).await;
    assert_eq!(list["items"], json!([]));
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event", "metadata": {"name": "n"},
        "regarding": {"kind": "Pod", "namespace": "default", "name": "db"},
        "reason": "Done", "note": "over", "type": "Normal", "action": "Ran",
        "eventTime": "2026-01-01T00:00:00.000000Z",
        "reportingController": "example.com/x", "reportingInstance": "x-1",
    });
    let (code, made) = call(&f, Method::POST, uri, event).await;
    assert_eq!(code, 201, "{made}");
    assert_eq!(made["apiVersion"], "events.k8s.io/v1");
    let uri = "/api/v1/namespaces/default/events/n";
    let (_, old) = call(&f, Method::GET, uri, Value::Null).await;
    assert_eq!((&old["message"], &old["involvedObject"]["name"]), (&json!("over"), &json!("db")));
}
