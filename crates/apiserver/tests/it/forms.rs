//! The forms of answers and bodies: tables, metadata, YAML, sizes, refusals.

use http::Method;
use serde_json::json;

use crate::common::{config_map, fixture};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
const PARTIAL: &str = "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io";

#[tokio::test]
async fn tables_of_lists_objects_and_watches() {
    let f = fixture();
    f.post(MAPS, config_map("a")).await.expect(201);
    let accept = [("accept", TABLE)];
    let table = f.call(Method::GET, MAPS, &accept, "").await.expect(200);
    assert_eq!(table["kind"], "Table");
    assert_eq!(table["columnDefinitions"][0]["format"], "name");
    assert_eq!(table["rows"][0]["cells"][0], "a");
    assert_eq!(table["rows"][0]["object"]["kind"], "PartialObjectMetadata");
    let uri = format!("{MAPS}/a?includeObject=Object");
    let table = f.call(Method::GET, &uri, &accept, "").await.expect(200);
    assert_eq!(table["rows"][0]["object"]["kind"], "ConfigMap");
    let mut watch = f.watch_as(&format!("{MAPS}?watch=1"), TABLE).await;
    let first = watch.next().await.unwrap();
    assert_eq!(first["object"]["columnDefinitions"].as_array().unwrap().len(), 2);
    f.post(MAPS, config_map("b")).await.expect(201);
    let second = watch.next().await.unwrap();
    assert_eq!(second["object"]["columnDefinitions"], json!(null));
    assert_eq!(second["object"]["rows"][0]["cells"][0], "b");
}

#[tokio::test]
async fn metadata_alone() {
    let f = fixture();
    let made = f.post(MAPS, config_map("a")).await.expect(201);
    let list = f.call(Method::GET, MAPS, &[("accept", PARTIAL)], "").await.expect(200);
    assert_eq!(list["kind"], "PartialObjectMetadataList");
    assert_eq!(list["items"][0]["metadata"], made["metadata"]);
    assert!(list["items"][0].get("data").is_none());
    let mut watch = f.watch_as(&format!("{MAPS}?watch=1"), PARTIAL).await;
    assert_eq!(watch.next().await.unwrap()["object"]["kind"], "PartialObjectMetadata");
}

#[tokio::test]
async fn yaml_in_and_out_and_what_is_refused() {
    let f = fixture();
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: y\ndata:\n  a: b\n";
    let headers = [("content-type", "application/yaml"), ("accept", "application/yaml")];
    let made = f.call(Method::POST, MAPS, &headers, yaml).await;
    assert_eq!(
        (made.code, made.headers["content-type"].to_str().unwrap()),
        (201, "application/yaml")
    );
    assert!(std::str::from_utf8(&made.bytes).unwrap().contains("name: \"y\""));

    let cbor = [("content-type", "application/cbor")];
    f.call(Method::POST, MAPS, &cbor, "x").await.expect(415);
    f.call(Method::GET, MAPS, &[("accept", "text/html")], "").await.expect(406);
    let json = [("content-type", "application/json")];
    f.call(Method::POST, MAPS, &json, "{").await.expect(400);
    f.call(Method::POST, MAPS, &json, vec![b' '; 4 << 20]).await.expect(413);
    let wrong = json!({"apiVersion": "apps/v1", "kind": "ConfigMap", "metadata": {"name": "x"}});
    f.post(MAPS, wrong).await.expect(400);
    let wrong = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "x"}});
    f.post(MAPS, wrong).await.expect(400);
    let mut elsewhere = config_map("x");
    elsewhere["metadata"]["namespace"] = "other".into();
    let refused = f.post(MAPS, elsewhere).await.expect(400);
    assert_eq!(
        refused["message"],
        "the namespace of the provided object does not match the namespace sent on the request"
    );
    f.post(&format!("{MAPS}/x"), config_map("x")).await.expect(405);
    f.get(&format!("{MAPS}?fieldSelector=spec.x%3D1")).await.expect(400);
}

#[tokio::test]
async fn long_answers_are_compressed() {
    let f = fixture();
    for at in 0..20 {
        let mut body = config_map(&format!("m{at}"));
        body["data"]["a"] = "x".repeat(10_000).into();
        f.post(MAPS, body).await.expect(201);
    }
    let answer = f.call(Method::GET, MAPS, &[("accept-encoding", "gzip")], "").await;
    assert_eq!(answer.headers["content-encoding"], "gzip");
    assert!(answer.bytes.len() < 20_000);
    assert!(f.get(MAPS).await.bytes.len() > 200_000);
}

#[tokio::test]
async fn pretty_when_asked_for() {
    let f = fixture();
    let text = f.get("/api/v1?pretty=true").await;
    assert!(text.bytes.starts_with(b"{\n"));
}

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

#[tokio::test]
async fn protobuf_in_and_out() {
    let f = fixture();
    let headers = [("content-type", PROTOBUF), ("accept", PROTOBUF)];
    let body = api::proto::encode(&config_map("a")).unwrap();
    let made = f.call(Method::POST, MAPS, &headers, body).await;
    assert_eq!((made.code, made.headers["content-type"].to_str().unwrap()), (201, PROTOBUF));
    let made = api::proto::decode(&made.bytes).unwrap();
    assert_eq!(made, f.get(&format!("{MAPS}/a")).await.expect(200));
    let list = f.call(Method::GET, MAPS, &headers[1..], "").await;
    let list = api::proto::decode(&list.bytes).unwrap();
    assert_eq!(list["items"][0]["metadata"], made["metadata"]);
    let missing = f.call(Method::GET, &format!("{MAPS}/x"), &headers[1..], "").await;
    let missing = api::proto::decode(&missing.bytes).unwrap();
    assert_eq!((&missing["kind"], &missing["code"]), (&json!("Status"), &json!(404)));
    let options = api::proto::encode(&json!({
        "apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Orphan",
    }));
    let uri = format!("{MAPS}/a");
    let kept = f.call(Method::DELETE, &uri, &headers[..1], options.unwrap()).await.expect(200);
    assert_eq!(kept["metadata"]["finalizers"], json!(["orphan"]));
    // Custom resources have no protobuf.
    let widgets = "/apis/example.com/v1/widgets";
    assert_eq!(f.call(Method::GET, widgets, &headers[1..], "").await.code, 406);
    let accept = [("accept", "application/vnd.kubernetes.protobuf,application/json")];
    f.call(Method::GET, widgets, &accept, "").await.expect(200);
    for path in ["/api", "/apis", "/api/v1", "/apis/apps"] {
        let answer = f.call(Method::GET, path, &headers[1..], "").await;
        assert_eq!(answer.code, 200);
        api::proto::decode(&answer.bytes).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_protobuf_watch() {
    let f = fixture();
    f.post(MAPS, config_map("a")).await.expect(201);
    let request = http::Request::get(format!("{MAPS}?watch=1&timeoutSeconds=1"))
        .header("accept", "application/vnd.kubernetes.protobuf;stream=watch")
        .body(axum::body::Body::empty())
        .unwrap();
    let response = f.send(request).await;
    assert_eq!(
        response.headers()["content-type"],
        "application/vnd.kubernetes.protobuf;stream=watch"
    );
    let bytes = http_body_util::BodyExt::collect(response.into_body()).await.unwrap().to_bytes();
    let length = u32::from_be_bytes(bytes[..4].try_into().unwrap()) as usize;
    let (kind, object) = api::proto::read_watch_event(&bytes[4..4 + length]).unwrap();
    assert_eq!(kind, "ADDED");
    assert_eq!(api::object::name(&api::proto::decode(object).unwrap()), "a");
}
