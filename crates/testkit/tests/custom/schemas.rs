//! Instances: validation, pruning, strictness, defaults, status, scale, apply.

use serde_json::{Value, json};

use crate::*;

#[tokio::test]
async fn instances_are_validated_with_upstreams_words() {
    let cluster = Cluster::start().await;
    let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
    "required": ["size"], "properties": {
        "size": {"type": "integer", "maximum": 10},
        "feeling": {"type": "string", "enum": ["Great", "Down"]},
        "bars": {"type": "array", "items": {"type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}}}},
        "list": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
    }}}});
    cluster.define(definition(schema)).await;
    let refused = async |spec: Value| cluster.post(WIDGETS, widget("a", spec)).await.refused(422);
    assert_eq!(
        refused(json!({"size": "x"})).await,
        r#"Widget.example.com "a" is invalid: spec.size: Invalid value: "string": spec.size in body must be of type integer: "string""#
    );
    assert_eq!(
        refused(json!({})).await,
        r#"Widget.example.com "a" is invalid: spec.size: Required value"#
    );
    assert_eq!(
        refused(json!({"size": 1, "feeling": "NonExistentValue"})).await,
        r#"Widget.example.com "a" is invalid: spec.feeling: Unsupported value: "NonExistentValue": supported values: "Great", "Down""#
    );
    assert!(
        refused(json!({"size": 1, "bars": [{}]}))
            .await
            .contains("spec.bars[0].name: Required value")
    );
    assert!(refused(json!({"size": 11})).await.contains("should be less than or equal to 10"));
    assert!(
        refused(json!({"size": 1, "list": ["a", "a"]}))
            .await
            .contains("spec.list[1]: Duplicate value: \"a\"")
    );
    let made = cluster.post(WIDGETS, widget("a", json!({"size": 1}))).await.expect(201);
    // Updates carry the version that they change.
    let mut bare = made.clone();
    bare["metadata"].as_object_mut().unwrap().remove("resourceVersion");
    assert!(
        cluster
            .put(&format!("{WIDGETS}/a"), bare)
            .await
            .refused(422)
            .contains("must be specified for an update")
    );
    // Strategic merge is for built-in kinds.
    let kind = [("content-type", "application/strategic-merge-patch+json")];
    cluster.send("PATCH", &format!("{WIDGETS}/a"), &kind, "{}").await.expect(415);
}

#[tokio::test]
async fn what_was_wrong_before_the_schema_changed_may_stay() {
    let cluster = Cluster::start().await;
    cluster
        .define(definition(spec_of(json!({"a": {"type": "integer"}, "b": {"type": "integer"}}))))
        .await;
    cluster.post(WIDGETS, widget("a", json!({"a": 50, "b": 1}))).await.expect(201);
    let stricter =
        spec_of(json!({"a": {"type": "integer", "maximum": 10}, "b": {"type": "integer"}}));
    let patch = json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true,
        "schema": {"openAPIV3Schema": stricter}}]}});
    cluster.merge(&format!("{DEFINITIONS}/widgets.example.com"), patch).await.expect(200);
    // The new schema is in force once it refuses.
    while cluster.post(&format!("{WIDGETS}?dryRun=All"), widget("b", json!({"a": 50}))).await.code
        != 422
    {
        tokio::task::yield_now().await;
    }
    let uri = format!("{WIDGETS}/a");
    cluster.merge(&uri, json!({"spec": {"b": 2}})).await.expect(200);
    cluster.merge(&uri, json!({"spec": {"a": 51}})).await.expect(422);
    cluster.merge(&uri, json!({"spec": {"a": 9}})).await.expect(200);
}

#[tokio::test]
async fn unknown_fields_are_pruned_or_refused() {
    let cluster = Cluster::start().await;
    let schema = spec_of(json!({"known": {"type": "string"},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        "template": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true}}));
    cluster.define(definition(schema)).await;
    let spec = json!({"known": "a", "unknown": 1, "free": {"x": 1},
        "template": {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p", "unknownSubMeta": 1}}});
    let mut object = widget("a", spec);
    object["metadata"]["unknownMeta"] = 1.into();
    let strict = format!("{WIDGETS}?fieldValidation=Strict");
    let message = cluster.post(&strict, object.clone()).await.refused(400);
    assert!(
        message.contains(r#"strict decoding error: unknown field "metadata.unknownMeta""#)
            && message.contains(r#"unknown field "spec.unknown""#)
            && message.contains(r#"unknown field "spec.template.metadata.unknownSubMeta""#),
        "{message}"
    );
    let kind = [("content-type", "application/json")];
    let doubled = r#"{"apiVersion":"example.com/v1","kind":"Widget","metadata":{"name":"d"},"spec":{"known":"a","known":"b"}}"#;
    let message = cluster.send("POST", &strict, &kind, doubled).await.refused(400);
    assert!(
        message.contains(r#"strict decoding error: duplicate field "spec.known""#),
        "{message}"
    );
    let warned = cluster.post(&format!("{WIDGETS}?fieldValidation=Warn"), object).await;
    assert!(
        warned.warnings.iter().any(|one| one.contains("unknown field \\\"spec.unknown\\\"")),
        "{warned:?}"
    );
    let made = warned.expect(201);
    assert_eq!(made["spec"]["known"], "a");
    assert_eq!(made["spec"]["free"], json!({"x": 1}));
    assert!(made["spec"].get("unknown").is_none());
    let patched = cluster
        .merge(&format!("{WIDGETS}/a?fieldValidation=Strict"), json!({"spec": {"other": 1}}))
        .await
        .refused(422);
    assert!(patched.contains(r#"unknown field "spec.other""#), "{patched}");
}

#[tokio::test]
async fn applying_tracks_owners_by_the_schema() {
    let cluster = Cluster::start().await;
    let schema = spec_of(json!({"size": {"type": "integer"},
        "ports": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"],
            "items": {"type": "object", "required": ["name"], "properties": {
                "name": {"type": "string"}, "port": {"type": "integer"}}}}}));
    cluster.define(definition(schema)).await;
    let uri = |manager: &str| format!("{WIDGETS}/a?fieldManager={manager}");
    let port =
        |name: &str, port: u32| widget("a", json!({"ports": [{"name": name, "port": port}]}));
    cluster.apply(&uri("one"), port("a", 1)).await.expect(201);
    let both = cluster.apply(&uri("two"), port("b", 2)).await.expect(200);
    assert_eq!(both["spec"]["ports"].as_array().unwrap().len(), 2);
    let conflict = cluster.apply(&uri("two"), port("a", 3)).await.refused(409);
    assert!(conflict.contains(".spec.ports[name=\"a\"].port"), "{conflict}");
    let unknown = widget("a", json!({"nothing": 1}));
    let message = cluster.apply(&uri("one"), unknown).await.refused(500);
    assert!(message.contains(".spec.nothing: field not declared in schema"), "{message}");
}

#[tokio::test]
async fn defaults_on_write_and_on_read() {
    let cluster = Cluster::start().await;
    let with = |default: Value| {
        let mut schema =
            spec_of(json!({"a": {"type": "string"}, "b": {"type": "string", "nullable": true}}));
        if !default.is_null() {
            schema["properties"]["spec"]["properties"]["a"]["default"] = default;
        }
        json!({"spec": {"versions": [{"name": "v1", "served": true, "storage": true,
            "schema": {"openAPIV3Schema": schema}}]}})
    };
    let mut defined = definition(json!({"type": "object"}));
    defined["spec"]["versions"] = with(Value::Null)["spec"]["versions"].clone();
    cluster.define(defined).await;
    cluster.post(WIDGETS, widget("old", json!({"b": null}))).await.expect(201);
    let uri = format!("{WIDGETS}/old");
    let a = |answer: &Answer| answer.body["spec"]["a"].clone();
    cluster
        .redefine("widgets.example.com", with(json!("A")), &uri, |answer| a(answer) == "A")
        .await;
    let list = cluster.get(WIDGETS).await.expect(200);
    assert_eq!(list["items"][0]["spec"], json!({"a": "A", "b": null}));
    let mut watch = cluster.watch(&format!("{WIDGETS}?watch=1")).await;
    assert_eq!(watch.next().await.unwrap().1["spec"]["a"], "A");
    let new = cluster.post(WIDGETS, widget("new", json!({"a": null}))).await.expect(201);
    assert_eq!(new["spec"], json!({"a": "A"}));
    // What was only read goes with its default, what was written stays.
    cluster
        .redefine("widgets.example.com", with(Value::Null), &uri, |answer| a(answer).is_null())
        .await;
    let new = cluster.get(&format!("{WIDGETS}/new")).await.expect(200);
    assert_eq!(new["spec"]["a"], "A");
    // The old watch ended with the old schema.
    while watch.next().await.is_some() {}
}

#[tokio::test]
async fn status_and_scale() {
    let cluster = Cluster::start().await;
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {"replicas": {"type": "integer"}}},
        "status": {"type": "object", "properties": {"replicas": {"type": "integer"},
            "selector": {"type": "string"}}}}});
    let mut defined = definition(schema);
    defined["spec"]["versions"][0]["subresources"] = json!({"status": {}, "scale": {
        "specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector"}});
    cluster.define(defined).await;
    let mut object = widget("a", json!({"replicas": 1}));
    object["status"] = json!({"replicas": 9});
    let made = cluster.post(WIDGETS, object).await.expect(201);
    assert!(made.get("status").is_none());
    let uri = format!("{WIDGETS}/a");
    let patch = json!({"metadata": {"labels": {"x": "y"}}, "spec": {"replicas": 7},
        "status": {"replicas": 1, "selector": "a=b"}});
    let set = cluster.merge(&format!("{uri}/status"), patch).await.expect(200);
    assert_eq!((&set["spec"]["replicas"], &set["status"]["replicas"]), (&json!(1), &json!(1)));
    assert_eq!(
        (&set["metadata"]["generation"], &set["metadata"]["labels"]),
        (&json!(1), &Value::Null)
    );
    let scale = cluster.get(&format!("{uri}/scale")).await.expect(200);
    assert_eq!(scale["kind"], "Scale");
    assert_eq!(scale["status"], json!({"replicas": 1, "selector": "a=b"}));
    cluster.merge(&format!("{uri}/scale"), json!({"spec": {"replicas": 3}})).await.expect(200);
    let scaled = cluster.get(&uri).await.expect(200);
    assert_eq!(
        (&scaled["spec"]["replicas"], &scaled["metadata"]["generation"]),
        (&json!(3), &json!(2))
    );
    assert_eq!(scaled["status"]["replicas"], 1);
    cluster
        .merge(&uri, json!({"metadata": {"labels": {"x": "y"}}, "status": null}))
        .await
        .expect(200);
    let labelled = cluster.get(&uri).await.expect(200);
    assert_eq!(
        (&labelled["metadata"]["generation"], &labelled["status"]["replicas"]),
        (&json!(2), &json!(1))
    );
}

#[tokio::test]
async fn rules_are_checked_on_writes() {
    let cluster = Cluster::start().await;
    let mut schema = spec_of(json!({"min": {"type": "integer"}, "max": {"type": "integer"},
        "fixed": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self == oldSelf", "message": "is fixed"}]}}));
    schema["properties"]["spec"]["x-kubernetes-validations"] =
        json!([{"rule": "self.min <= self.max", "message": "min is above max"}]);
    cluster.define(definition(schema)).await;
    let spec = |min: u32, fixed: &str| json!({"min": min, "max": 5, "fixed": fixed});
    let message = cluster.post(WIDGETS, widget("a", spec(6, "x"))).await.refused(422);
    assert!(message.contains("min is above max"), "{message}");
    cluster.post(WIDGETS, widget("a", spec(1, "x"))).await.expect(201);
    let uri = format!("{WIDGETS}/a");
    cluster.merge(&uri, json!({"spec": {"min": 2}})).await.expect(200);
    let message = cluster.merge(&uri, json!({"spec": {"fixed": "y"}})).await.refused(422);
    assert!(message.contains("spec.fixed") && message.contains("is fixed"), "{message}");
    let mut bad = definition(spec_of(json!({})));
    bad["metadata"]["name"] = "others.example.com".into();
    bad["spec"]["names"] = json!({"plural": "others", "kind": "Other"});
    bad["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["x-kubernetes-validations"] =
        json!([{"rule": "self.nothing == 1"}]);
    let message = cluster.post(DEFINITIONS, bad).await.refused(422);
    assert!(message.contains("undefined field 'nothing'"), "{message}");
}
