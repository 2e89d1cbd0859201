//! Definitions: names, conditions, discovery, tables, OpenAPI, deletion.

use serde_json::{Value, json};

use crate::*;

#[tokio::test]
async fn a_definition_is_served_until_it_is_deleted() {
    let cluster = Cluster::start().await;
    let made = cluster.define(definition(spec_of(json!({"size": {"type": "integer"}})))).await;
    assert_eq!(condition(&made, "NamesAccepted").unwrap()["reason"], "NoConflicts");
    assert_eq!(condition(&made, "Established").unwrap()["reason"], "InitialNamesAccepted");
    assert_eq!(made["status"]["acceptedNames"], made["spec"]["names"]);
    assert_eq!(made["status"]["storedVersions"], json!(["v1"]));
    assert_eq!(made["spec"]["names"]["listKind"], "WidgetList");
    assert_eq!(made["spec"]["conversion"]["strategy"], "None");

    let list = cluster.get("/apis/example.com/v1").await.expect(200);
    assert_eq!(list["resources"][0]["shortNames"], json!(["wd"]));
    assert_eq!(list["resources"][0]["categories"], json!(["all"]));
    let accept =
        [("accept", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList")];
    let all = cluster.send("GET", "/apis", &accept, "").await.expect(200);
    let has = |all: &Value| all.to_string().contains("\"widgets\"");
    assert!(has(&all));

    let widget = cluster.post(WIDGETS, widget("a", json!({"size": 1}))).await.expect(201);
    assert_eq!(widget["metadata"]["generation"], 1);
    let held = json!({"metadata": {"finalizers": ["example.com/hold"]}});
    cluster.merge(&format!("{WIDGETS}/a"), held).await.expect(200);
    let mut watch = cluster.watch(&format!("{WIDGETS}?watch=1")).await;
    assert_eq!(watch.next().await.unwrap().0, "ADDED");

    let deleting = cluster.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.expect(200);
    assert_eq!(
        deleting["metadata"]["finalizers"],
        json!(["customresourcecleanup.apiextensions.k8s.io"])
    );
    let terminating = cluster
        .until("widgets.example.com", |object| {
            condition(object, "Terminating")
                .is_some_and(|one| one["reason"] == "InstanceDeletionInProgress")
        })
        .await;
    assert_eq!(condition(&terminating, "Terminating").unwrap()["status"], "True");
    // What is held holds its definition; nothing new comes.
    let refused = cluster.post(WIDGETS, crate::widget("b", json!({}))).await;
    assert!(matches!(refused.code, 405), "{refused:?}");
    let free = json!({"metadata": {"finalizers": null}});
    cluster.merge(&format!("{WIDGETS}/a"), free).await.expect(200);
    cluster.until_gone("widgets.example.com").await;
    while cluster.get(WIDGETS).await.code != 404 {
        tokio::task::yield_now().await;
    }
    assert!(!has(&cluster.send("GET", "/apis", &accept, "").await.expect(200)));

    // The same name again starts empty.
    cluster.define(definition(spec_of(json!({})))).await;
    let list = cluster.get(WIDGETS).await.expect(200);
    assert_eq!(list["items"], json!([]));
}

#[tokio::test]
async fn names_belong_to_one_definition() {
    let cluster = Cluster::start().await;
    cluster.define(definition(spec_of(json!({})))).await;
    let mut other = definition(spec_of(json!({})));
    other["metadata"]["name"] = "gadgets.example.com".into();
    other["spec"]["names"] = json!({"plural": "gadgets", "kind": "Gadget", "shortNames": ["wd"]});
    cluster.post(DEFINITIONS, other).await.expect(201);
    let refused = cluster
        .until("gadgets.example.com", |object| condition(object, "NamesAccepted").is_some())
        .await;
    let accepted = condition(&refused, "NamesAccepted").unwrap();
    assert_eq!(
        (&accepted["status"], &accepted["reason"]),
        (&json!("False"), &json!("ShortNamesConflict"))
    );
    assert_eq!(accepted["message"], "\"wd\" is already in use");
    assert_eq!(condition(&refused, "Established").unwrap()["reason"], "NotAccepted");
    cluster.get("/apis/example.com/v1/gadgets").await.expect(404);
    // The name becomes free with its owner.
    cluster.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.expect(200);
    cluster.until("gadgets.example.com", is_established).await;
    cluster.get("/apis/example.com/v1/gadgets").await.expect(200);
}

#[tokio::test]
async fn status_can_be_read_written_and_patched() {
    let cluster = Cluster::start().await;
    let made = cluster.define(definition(spec_of(json!({})))).await;
    let uri = format!("{DEFINITIONS}/widgets.example.com/status");
    let mut status = cluster.get(&uri).await.expect(200);
    assert_eq!(status["spec"], made["spec"]);
    let added =
        json!({"type": "StatusUpdate", "status": "True", "reason": "E2E", "message": "set"});
    status["status"]["conditions"].as_array_mut().unwrap().push(added);
    let put = cluster.put(&uri, status).await.expect(200);
    assert!(condition(&put, "StatusUpdate").is_some());
    let patch =
        r#"[{"op": "replace", "path": "/status/conditions", "value": [{"message": "patched"}]}]"#;
    let kind = [("content-type", "application/json-patch+json")];
    let patched = cluster.send("PATCH", &uri, &kind, patch).await.expect(200);
    assert_eq!(patched["status"]["conditions"][0]["message"], "patched");
}

#[tokio::test]
async fn definitions_are_listed_and_deleted_by_label() {
    let cluster = Cluster::start().await;
    for at in 0..4 {
        let mut one = definition(spec_of(json!({})));
        let plural = format!("things{at}");
        one["metadata"] = json!({"name": format!("{plural}.example.com"), "labels": {"t": "x"}});
        one["spec"]["names"] = json!({"plural": plural, "kind": format!("Thing{at}")});
        cluster.define(one).await;
    }
    let by_label = format!("{DEFINITIONS}?labelSelector=t%3Dx");
    let list = cluster.get(&by_label).await.expect(200);
    assert_eq!(list["items"].as_array().unwrap().len(), 4);
    cluster.delete(&by_label).await.expect(200);
    for at in 0..4 {
        cluster.until_gone(&format!("things{at}.example.com")).await;
    }
}

#[tokio::test]
async fn tables_have_the_columns_of_the_version() {
    let cluster = Cluster::start().await;
    let mut defined = definition(spec_of(json!({"size": {"type": "integer"},
        "x": {"type": "array", "items": {"type": "object", "properties": {
            "n": {"type": "string"}, "v": {"type": "string"}}}}})));
    defined["spec"]["versions"][0]["additionalPrinterColumns"] = json!([
        {"name": "Size", "type": "integer", "jsonPath": ".spec.size"},
        {"name": "B", "type": "string", "jsonPath": ".spec.x[?(@.n==\"b\")].v", "priority": 1},
        {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]);
    cluster.define(defined).await;
    let spec = json!({"size": 3, "x": [{"n": "a", "v": "1"}, {"n": "b", "v": "2"}]});
    cluster.post(WIDGETS, widget("a", spec)).await.expect(201);
    let accept = [("accept", "application/json;as=Table;v=v1;g=meta.k8s.io")];
    let table = cluster.send("GET", WIDGETS, &accept, "").await.expect(200);
    let names: Vec<_> =
        table["columnDefinitions"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
    assert_eq!(names, ["Name", "Size", "B", "Age"]);
    assert_eq!(table["columnDefinitions"][2]["priority"], 1);
    let cells = &table["rows"][0]["cells"];
    assert_eq!((&cells[0], &cells[1], &cells[2]), (&json!("a"), &json!(3), &json!("2")));
    assert!(cells[3].as_str().unwrap().ends_with('s'), "{cells}");
}

#[tokio::test]
async fn openapi_comes_changes_and_goes() {
    let cluster = Cluster::start().await;
    let schema = json!({"type": "object", "description": "A widget.", "properties": {
        "spec": {"type": "object", "properties": {"size": {"type": "integer", "description": "How big."}}}}});
    cluster.define(definition(schema)).await;
    let v2 = cluster.get("/openapi/v2").await.expect(200);
    let published = &v2["definitions"]["com.example.v1.Widget"];
    assert_eq!(published["description"], "A widget.");
    assert_eq!(published["properties"]["spec"]["properties"]["size"]["description"], "How big.");
    assert_eq!(
        published["x-kubernetes-group-version-kind"],
        json!([{"group": "example.com", "version": "v1", "kind": "Widget"}])
    );
    let index = cluster.get("/openapi/v3").await.expect(200);
    let url =
        index["paths"]["apis/example.com/v1"]["serverRelativeURL"].as_str().unwrap().to_owned();
    let v3 = cluster.get(&url).await.expect(200);
    assert!(v3["components"]["schemas"]["com.example.v1.Widget"].is_object());

    let unserved = json!({"spec": {"versions": [
        {"name": "v1", "served": false, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}},
        {"name": "v2", "served": true, "storage": false, "schema": {"openAPIV3Schema": {"type": "object"}}}]}});
    let v2_list = "/apis/example.com/v2/widgets";
    cluster.redefine("widgets.example.com", unserved, v2_list, |answer| answer.code == 200).await;
    cluster.get(WIDGETS).await.expect(404);
    let v2 = cluster.get("/openapi/v2").await.expect(200);
    assert!(v2["definitions"]["com.example.v1.Widget"].is_null());
    assert!(v2["definitions"]["com.example.v2.Widget"].is_object());
    let index = cluster.get("/openapi/v3").await.expect(200);
    assert!(index["paths"]["apis/example.com/v1"].is_null());
}

#[tokio::test]
async fn bad_definitions_are_refused() {
    let cluster = Cluster::start().await;
    let check = async |schema: Value, expected: &str| {
        let message = cluster.post(DEFINITIONS, definition(schema)).await.refused(422);
        assert!(message.contains(expected), "{message}");
    };
    // Versions that are alike are judged where upstream keeps what they share.
    let at = "spec.validation.openAPIV3Schema";
    check(
        json!({"properties": {}}),
        &format!("{at}.type: Required value: must not be empty at the root"),
    )
    .await;
    check(
        spec_of(json!({"a": {"type": "integer", "default": "x"}})),
        &format!("{at}.properties[spec].properties[a].default: Invalid value: \"string\""),
    )
    .await;
    check(
        spec_of(json!({"a": {"type": "object", "default": {"b": 1}}})),
        "must not have unknown fields",
    )
    .await;
    check(
        json!({"type": "object", "anyOf": [{"required": ["a"], "properties": {"a": {"minimum": 1}}}]}),
        &format!("{at}.properties[a]: Required value: because it is defined in {at}.anyOf[0].properties[a]"),
    )
    .await;
    let mut preserving = definition(spec_of(json!({})));
    preserving["spec"]["preserveUnknownFields"] = true.into();
    let message = cluster.post(DEFINITIONS, preserving).await.refused(422);
    assert!(
        message.contains("spec.preserveUnknownFields: Invalid value: true: cannot set to true"),
        "{message}"
    );
}
