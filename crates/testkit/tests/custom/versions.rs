//! Several versions: conversion by name and by webhook, selectable fields, deprecation.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures::FutureExt as _;
use serde_json::{Value, json};
use testkit::{Handler, HttpsServer};

use crate::*;

const V2: &str = "/apis/example.com/v2/namespaces/default/widgets";

/// v1 has `hostPort`, v2 has `host` and `port`.
fn split(mut object: Value, wanted: &str) -> Value {
    if wanted.ends_with("/v2") {
        let host_port = object["hostPort"].take();
        let (host, port) = host_port.as_str().unwrap().split_once(':').unwrap();
        (object["host"], object["port"]) = (host.into(), port.into());
        object.as_object_mut().unwrap().remove("hostPort");
    } else {
        let joined =
            format!("{}:{}", object["host"].as_str().unwrap(), object["port"].as_str().unwrap());
        object["hostPort"] = joined.into();
        object.as_object_mut().unwrap().retain(|name, _| name != "host" && name != "port");
    }
    object["apiVersion"] = wanted.into();
    object
}

#[derive(Default)]
struct Calls {
    count: AtomicUsize,
    fails: AtomicBool,
}

fn handler(calls: Arc<Calls>) -> Handler {
    Arc::new(move |asked| {
        let calls = calls.clone();
        async move {
            calls.count.fetch_add(1, Ordering::SeqCst);
            let request = &asked.body["request"];
            let result = if calls.fails.load(Ordering::SeqCst) {
                json!({"status": "Failure", "message": "out of order"})
            } else {
                json!({"status": "Success"})
            };
            let wanted = request["desiredAPIVersion"].as_str().unwrap();
            let objects: Vec<Value> = request["objects"]
                .as_array()
                .unwrap()
                .iter()
                .map(|object| split(object.clone(), wanted))
                .collect();
            json!({"apiVersion": asked.body["apiVersion"], "kind": "ConversionReview",
                "response": {"uid": request["uid"], "result": result, "convertedObjects": objects}})
            .into()
        }
        .boxed()
    })
}

async fn converting(hook: &HttpsServer) -> Value {
    let text = json!({"type": "string"});
    let version = |name: &str, storage: bool, fields: &[&str]| {
        let properties: serde_json::Map<String, Value> =
            fields.iter().map(|field| ((*field).to_owned(), text.clone())).collect();
        let selectable: Vec<Value> =
            fields.iter().map(|field| json!({"jsonPath": format!(".{field}")})).collect();
        json!({"name": name, "served": true, "storage": storage, "selectableFields": selectable,
            "schema": {"openAPIV3Schema": {"type": "object", "properties": properties}}})
    };
    let mut defined = definition_of(json!([
        version("v1", true, &["hostPort"]),
        version("v2", false, &["host", "port"])
    ]));
    defined["spec"]["conversion"] = json!({"strategy": "Webhook", "webhook": {
        "conversionReviewVersions": ["v1"],
        "clientConfig": {"url": format!("https://{}/crdconvert", hook.address),
            "caBundle": hook.ca_bundle()}}});
    defined
}

fn v1(name: &str, host_port: &str) -> Value {
    json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": name},
        "hostPort": host_port})
}

#[tokio::test]
async fn a_webhook_converts_objects_lists_and_watches() {
    let calls = Arc::new(Calls::default());
    let hook = HttpsServer::start(&["127.0.0.1"], handler(calls.clone())).await;
    let cluster = Cluster::start().await;
    cluster.define(converting(&hook).await).await;
    let made = cluster.post(WIDGETS, v1("a", "a.io:80")).await.expect(201);
    assert_eq!(calls.count.load(Ordering::SeqCst), 0);
    let shown = cluster.get(&format!("{V2}/a")).await.expect(200);
    assert_eq!(
        (&shown["host"], &shown["port"], &shown["hostPort"]),
        (&json!("a.io"), &json!("80"), &Value::Null)
    );
    assert_eq!(shown["metadata"]["resourceVersion"], made["metadata"]["resourceVersion"]);
    // Each revision is converted once.
    cluster.get(&format!("{V2}/a")).await.expect(200);
    let converted = calls.count.load(Ordering::SeqCst);
    cluster.get(V2).await.expect(200);
    assert_eq!(calls.count.load(Ordering::SeqCst), converted);

    let v2 = json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "b"},
        "host": "b.io", "port": "81"});
    let made = cluster.post(V2, v2).await.expect(201);
    assert_eq!((&made["host"], &made["port"]), (&json!("b.io"), &json!("81")));
    assert_eq!(cluster.get(&format!("{WIDGETS}/b")).await.expect(200)["hostPort"], "b.io:81");
    let patched = cluster.merge(&format!("{V2}/a"), json!({"port": "90"})).await.expect(200);
    assert_eq!(patched["port"], "90");
    assert_eq!(cluster.get(&format!("{WIDGETS}/a")).await.expect(200)["hostPort"], "a.io:90");
    let applied = json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "a"}, "host": "z.io"});
    cluster.apply(&format!("{V2}/a?fieldManager=m&force=true"), applied).await.expect(200);
    let back = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "a"}, "hostPort": "y.io:1"});
    let conflict = cluster.apply(&format!("{WIDGETS}/a?fieldManager=n"), back).await;
    assert_eq!(conflict.code, 409, "{conflict:?}");
}

#[tokio::test]
async fn selectors_see_the_version_that_is_asked_for() {
    let hook = HttpsServer::start(&["127.0.0.1"], handler(Arc::default())).await;
    let cluster = Cluster::start().await;
    cluster.define(converting(&hook).await).await;
    for (name, host_port) in [("a", "x.io:80"), ("b", "y.io:80"), ("c", "x.io:81")] {
        cluster.post(WIDGETS, v1(name, host_port)).await.expect(201);
    }
    let names = |list: Value| -> Vec<String> {
        let items = list["items"].as_array().unwrap().clone();
        items.iter().map(|one| one["metadata"]["name"].as_str().unwrap().to_owned()).collect()
    };
    let by_host = format!("{V2}?fieldSelector=host%3Dx.io");
    assert_eq!(names(cluster.get(&by_host).await.expect(200)), ["a", "c"]);
    let both = format!("{V2}?fieldSelector=host%3Dx.io,port%3D80");
    assert_eq!(names(cluster.get(&both).await.expect(200)), ["a"]);
    let by_pair = format!("{WIDGETS}?fieldSelector=hostPort%3Dy.io:80");
    assert_eq!(names(cluster.get(&by_pair).await.expect(200)), ["b"]);
    let message = cluster.get(&format!("{WIDGETS}?fieldSelector=host%3Dx")).await.refused(400);
    assert!(message.contains("field label not supported: host"), "{message}");

    let mut watch = cluster.watch(&format!("{V2}?watch=1&fieldSelector=host%3Dx.io")).await;
    for name in ["a", "c"] {
        let (kind, object) = watch.next().await.unwrap();
        assert_eq!((kind.as_str(), &object["metadata"]["name"]), ("ADDED", &json!(name)));
    }
    cluster.merge(&format!("{WIDGETS}/a"), json!({"hostPort": "x.io:99"})).await.expect(200);
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &object["port"]), ("MODIFIED", &json!("99")));
    cluster.merge(&format!("{WIDGETS}/a"), json!({"hostPort": "z.io:99"})).await.expect(200);
    assert_eq!(watch.next().await.unwrap().0, "DELETED");
    cluster.delete(&format!("{WIDGETS}/c")).await.expect(200);
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &object["metadata"]["name"]), ("DELETED", &json!("c")));
}

#[tokio::test]
async fn lists_of_objects_stored_in_several_versions() {
    let hook = HttpsServer::start(&["127.0.0.1"], handler(Arc::default())).await;
    let cluster = Cluster::start().await;
    let defined = cluster.define(converting(&hook).await).await;
    cluster.post(WIDGETS, v1("a", "a.io:80")).await.expect(201);
    let mut versions = defined["spec"]["versions"].clone();
    (versions[0]["storage"], versions[1]["storage"]) = (false.into(), true.into());
    let patch = json!({"spec": {"versions": versions}});
    let changed =
        cluster.merge(&format!("{DEFINITIONS}/widgets.example.com"), patch).await.expect(200);
    assert_eq!(changed["status"]["storedVersions"], json!(["v1", "v2"]));
    // Written in whichever version the server stores by now.
    cluster.post(WIDGETS, v1("b", "b.io:81")).await.expect(201);
    let list = cluster.get(WIDGETS).await.expect(200);
    assert_eq!(
        (&list["items"][0]["hostPort"], &list["items"][1]["hostPort"]),
        (&json!("a.io:80"), &json!("b.io:81"))
    );
    let list = cluster.get(V2).await.expect(200);
    assert_eq!(
        (&list["items"][0]["host"], &list["items"][1]["host"]),
        (&json!("a.io"), &json!("b.io"))
    );
}

#[tokio::test]
async fn failures_say_whose_webhook_failed() {
    let calls = Arc::new(Calls::default());
    let hook = HttpsServer::start(&["127.0.0.1"], handler(calls.clone())).await;
    let cluster = Cluster::start().await;
    cluster.define(converting(&hook).await).await;
    cluster.post(WIDGETS, v1("a", "a.io:80")).await.expect(201);
    calls.fails.store(true, Ordering::SeqCst);
    let failed = cluster.get(&format!("{V2}/a")).await.refused(500);
    assert_eq!(failed, "conversion webhook for example.com/v1, Kind=Widget failed: out of order");
    cluster.get(V2).await.expect(500);
    cluster.get(&format!("{WIDGETS}/a")).await.expect(200);
}

#[tokio::test]
async fn versions_without_a_webhook_share_their_fields() {
    let cluster = Cluster::start().await;
    let schema = json!({"openAPIV3Schema": spec_of(json!({"a": {"type": "string"}}))});
    let wider = json!({"openAPIV3Schema": spec_of(json!({"a": {"type": "string"}, "b": {"type": "string"}}))});
    cluster
        .define(definition_of(json!([
            {"name": "v1", "served": true, "storage": true, "schema": schema},
            {"name": "v2", "served": true, "storage": false, "schema": wider,
                "deprecated": true, "deprecationWarning": "v2 is old"}])))
        .await;
    let made = cluster
        .post(
            V2,
            json!({"apiVersion": "example.com/v2", "kind": "Widget", "metadata": {"name": "a"},
            "spec": {"a": "1", "b": "2"}}),
        )
        .await;
    assert!(made.warnings.iter().any(|one| one.contains("v2 is old")), "{made:?}");
    // What the stored version cannot say is lost.
    assert_eq!(made.expect(201)["spec"], json!({"a": "1"}));
    let shown = cluster.get(&format!("{WIDGETS}/a")).await.expect(200);
    assert_eq!(
        (&shown["apiVersion"], &shown["spec"]),
        (&json!("example.com/v1"), &json!({"a": "1"}))
    );
    let mut watch = cluster.watch(&format!("{V2}?watch=1")).await;
    assert_eq!(watch.next().await.unwrap().1["apiVersion"], "example.com/v2");
    cluster.merge(&format!("{WIDGETS}/a"), json!({"spec": {"a": "3"}})).await.expect(200);
    let (kind, object) = watch.next().await.unwrap();
    assert_eq!((kind.as_str(), &object["apiVersion"]), ("MODIFIED", &json!("example.com/v2")));
    cluster.delete(&format!("{V2}/a")).await.expect(200);
    assert_eq!(watch.next().await.unwrap().0, "DELETED");
}
