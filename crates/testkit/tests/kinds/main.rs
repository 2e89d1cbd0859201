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
    let f = testkit::full_api_server_with(|options| options.old_versions = false);
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
    let f = testkit::full_api_server_with(|options| options.old_versions = false);
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

#[tokio::test]
async fn the_groups_are_upstreams_in_their_order() {
    let f = testkit::full_api_server_with(|options| options.old_versions = false);
    let golden = documents();
    for slash in ["", "/"] {
        for (path, expected) in &golden {
            let is_it = matches!(expected["kind"].as_str(), Some("APIGroup" | "APIGroupList"));
            if !is_it {
                continue;
            }
            let (code, ours) = call(&f, Method::GET, &format!("{path}{slash}"), Value::Null).await;
            assert_eq!((code, &ours), (200, expected), "{path}{slash}");
        }
        let (_, ours) = call(&f, Method::GET, &format!("/api{slash}"), Value::Null).await;
        assert_eq!(ours["versions"], json!(["v1"]));
        for path in ["/api/v1", "/apis/apps/v1", "/apis/autoscaling/v2"] {
            let (code, _) = call(&f, Method::GET, &format!("{path}{slash}"), Value::Null).await;
            assert_eq!(code, 200, "{path}{slash}");
        }
    }
}

/// What comes back: code, headers, body.
async fn ask(
    f: &testkit::ApiServer,
    method: Method,
    uri: &str,
    headers: &[(&str, &str)],
) -> (u16, http::HeaderMap, Vec<u8>) {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let service = f.server.client_service(UserInfo::named("t", &["system:masters"]));
    let response = service.oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (parts.status.as_u16(), parts.headers, bytes.to_vec())
}

#[tokio::test]
async fn discovery_comes_in_the_form_that_is_wanted_most() {
    let f = testkit::full_api_server();
    let form = |version: &str| {
        format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList")
    };
    let plain = "application/json";
    let check = async |path: &str, accept: &str, expected: &str| {
        let (code, headers, _) = ask(&f, Method::GET, path, &[("accept", accept)]).await;
        let got = headers["content-type"].to_str().unwrap();
        assert_eq!((code, got), (200, expected), "{path} {accept}");
    };
    let (v2, beta) = (form("v2"), form("v2beta1"));
    for path in ["/api", "/apis", "/apis/"] {
        check(path, &format!("{v2},{beta},{plain}"), &v2).await;
        check(path, &format!("{beta},{plain}"), &beta).await;
        check(path, &format!("{},{plain}", form("v3")), plain).await;
        check(path, &format!("{plain},{v2}"), plain).await;
        check(path, &format!("{plain};q=0.5,{v2}"), &v2).await;
        check(path, "text/html,application/xhtml+xml,*/*;q=0.8", plain).await;
        check(path, "", plain).await;
    }
    check("/apis/apps", &format!("{v2},{plain}"), plain).await;
    check("/apis/apps/v1", "application/yaml", "application/yaml").await;
    let protobuf = "application/vnd.kubernetes.protobuf";
    check("/apis/apps/v1", protobuf, protobuf).await;
    // Nothing that can be had.
    for (path, accept) in [
        ("/apis", "text/html"),
        ("/apis", "application/json;as=Table;v=v1;g=meta.k8s.io"),
        ("/apis/apps/v1", &v2),
    ] {
        let (code, _, body) = ask(&f, Method::GET, path, &[("accept", accept)]).await;
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((code, &status["reason"]), (406, &json!("NotAcceptable")), "{path} {accept}");
    }
    for path in ["/api", "/api/v1", "/version"] {
        let (code, _, body) = ask(&f, Method::POST, path, &[]).await;
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((code, &status["reason"]), (405, &json!("MethodNotAllowed")), "{path}");
    }
    // Upstream's routes below built-in groups say so in a `Status`.
    for path in ["/apis/apps/v9", "/api/v2"] {
        let (code, _, body) = ask(&f, Method::GET, path, &[]).await;
        let status: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((code, &status["reason"]), (404, &json!("NotFound")), "{path}");
    }
    for path in ["/apis/none", "/none"] {
        let (code, headers, body) = ask(&f, Method::GET, path, &[]).await;
        assert_eq!((code, &*body), (404, b"404 page not found\n".as_slice()), "{path}");
        assert_eq!(headers["content-type"], "text/plain; charset=utf-8");
    }
}

#[tokio::test]
async fn a_client_that_knows_a_document_is_told_so() {
    let f = testkit::full_api_server();
    let v2 = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
    for (path, accept) in [
        ("/apis", v2),
        ("/api", v2),
        ("/openapi/v2", "application/json"),
        ("/openapi/v2", "application/com.github.proto-openapi.spec.v2@v1.0+protobuf"),
        ("/openapi/v3", "application/json"),
        ("/openapi/v3/apis/apps/v1", "application/json"),
    ] {
        let (code, headers, body) = ask(&f, Method::GET, path, &[("accept", accept)]).await;
        let tag = headers["etag"].to_str().unwrap().to_owned();
        assert!(code == 200 && !body.is_empty() && tag.starts_with('"'), "{path}");
        assert!(headers.get_all("vary").iter().any(|vary| vary == "Accept"), "{path}");
        // kubectl reads the answer's type as a media type, which an `@` has no place in.
        assert!(!headers["content-type"].to_str().unwrap().contains('@'), "{path}");
        let known = [("accept", accept), ("if-none-match", tag.as_str())];
        let (code, headers, body) = ask(&f, Method::GET, path, &known).await;
        assert_eq!(
            (code, body.len(), headers["etag"].to_str().unwrap()),
            (304, 0, &*tag),
            "{path}"
        );
        let other = [("accept", accept), ("if-none-match", "\"x\"")];
        assert_eq!(ask(&f, Method::GET, path, &other).await.0, 200, "{path}");
        let gzip = [("accept", accept), ("accept-encoding", "gzip")];
        let (_, headers, packed) = ask(&f, Method::GET, path, &gzip).await;
        if headers.contains_key("content-encoding") {
            assert_eq!(packed[..2], [0x1f, 0x8b], "{path}");
        }
    }
}

#[tokio::test]
async fn the_version_is_in_numbers() {
    let f = testkit::full_api_server();
    let (code, version) = call(&f, Method::GET, "/version", Value::Null).await;
    assert_eq!((code, &version["major"], &version["minor"]), (200, &json!("1"), &json!("36")));
    assert!(version["gitVersion"].as_str().unwrap().starts_with("v1.36."), "{version}");
    assert_eq!(call(&f, Method::GET, "/version/", Value::Null).await.0, 200);
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
