//! Watchers of one change in different forms and with different selectors: frames are made once
//! and shared, and each watcher gets what is its own.

use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::common::{Fixture, Watch, config_map, fixture};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PARTIAL: &str = "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io";

fn labelled(app: &str, data: &str) -> Value {
    let mut map = config_map("a");
    map["metadata"]["labels"] = json!({ "app": app });
    map["data"]["a"] = data.into();
    map
}

/// A change as a watcher sees it: its kind, `data.a`, and whether the version is this one.
async fn seen(watch: &mut Watch, rv: &str) -> (String, String) {
    let event = watch.next().await.unwrap();
    let object = &event["object"];
    assert_eq!(object["metadata"]["resourceVersion"], rv);
    (event["type"].as_str().unwrap().into(), object["data"]["a"].as_str().unwrap().into())
}

async fn protobuf_watch(f: &Fixture, uri: &str) -> axum::body::Body {
    let request = http::Request::get(uri)
        .header("accept", "application/vnd.kubernetes.protobuf;stream=watch")
        .body(axum::body::Body::empty())
        .unwrap();
    f.send(request).await.into_body()
}

async fn protobuf_event(body: &mut axum::body::Body) -> (String, Value) {
    let bytes = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    assert_eq!(bytes.len(), 4 + length, "one frame a change");
    let (kind, object) = api::proto::read_watch_event(&bytes[4..]).unwrap();
    (kind, api::proto::decode(object).unwrap())
}

#[tokio::test]
async fn each_selector_sees_its_own_kind_of_one_change() {
    let f = fixture();
    let mut all = [f.watch(&uri("")).await, f.watch(&uri("")).await];
    let mut old = [f.watch(&uri("old")).await, f.watch(&uri("old")).await];
    let mut new = f.watch(&uri("new")).await;
    let rv = |value: Value| value["metadata"]["resourceVersion"].as_str().unwrap().to_owned();
    let first = rv(f.post(MAPS, labelled("old", "1")).await.expect(201));
    let second = rv(f.put(&format!("{MAPS}/a"), labelled("new", "2")).await.expect(200));
    for watch in &mut all {
        assert_eq!(seen(watch, &first).await, ("ADDED".into(), "1".into()));
        assert_eq!(seen(watch, &second).await, ("MODIFIED".into(), "2".into()));
    }
    for watch in &mut old {
        assert_eq!(seen(watch, &first).await, ("ADDED".into(), "1".into()));
        // It leaves the selection: the last that was seen of it, at the version of the change.
        assert_eq!(seen(watch, &second).await, ("DELETED".into(), "1".into()));
    }
    assert_eq!(seen(&mut new, &second).await, ("ADDED".into(), "2".into()));
}

#[tokio::test]
async fn each_form_gets_its_own_frames() {
    let f = fixture();
    let mut json = [f.watch(&uri("")).await, f.watch(&uri("")).await];
    let mut proto = [protobuf_watch(&f, &uri("")).await, protobuf_watch(&f, &uri("")).await];
    let mut tables = [f.watch_as(&uri(""), TABLE).await, f.watch_as(&uri(""), TABLE).await];
    let mut partial = f.watch_as(&uri(""), PARTIAL).await;
    for (number, kind) in [(1, "ADDED"), (2, "MODIFIED")] {
        let map = labelled("x", &number.to_string());
        let made = match number {
            1 => f.post(MAPS, map).await.expect(201),
            _ => f.put(&format!("{MAPS}/a"), map).await.expect(200),
        };
        for watch in &mut json {
            assert_eq!(watch.next().await.unwrap(), json!({ "type": kind, "object": made }));
        }
        for watch in &mut proto {
            assert_eq!(protobuf_event(watch).await, (kind.to_owned(), made.clone()));
        }
        for watch in &mut tables {
            let event = watch.next().await.unwrap();
            let (columns, rows) = (&event["object"]["columnDefinitions"], &event["object"]["rows"]);
            assert_eq!(columns.is_null(), number > 1, "the first table has columns: {event}");
            assert_eq!(rows[0]["object"]["metadata"], made["metadata"]);
        }
        let event = partial.next().await.unwrap();
        assert_eq!(
            (&event["type"], &event["object"]["metadata"]),
            (&json!(kind), &made["metadata"])
        );
        assert!(event["object"].get("data").is_none());
    }
    // One that comes late gets the columns with its first table, though others had theirs.
    let rv = f.get(MAPS).await.expect(200)["metadata"]["resourceVersion"].clone();
    let mut late = f
        .watch_as(&format!("{MAPS}?watch=1&resourceVersion={}", rv.as_str().unwrap()), TABLE)
        .await;
    f.put(&format!("{MAPS}/a"), labelled("x", "3")).await.expect(200);
    let event = late.next().await.unwrap();
    assert!(event["object"]["columnDefinitions"].is_array());
    let event = tables[0].next().await.unwrap();
    assert!(event["object"]["columnDefinitions"].is_null());
}

/// A watch of those with this label, or of all.
fn uri(app: &str) -> String {
    match app {
        "" => format!("{MAPS}?watch=1"),
        app => format!("{MAPS}?watch=1&labelSelector=app%3D{app}"),
    }
}
