//! Server-side apply, case by case.

use super::*;
use api::schema::{by_kind, from_structural};
use serde_json::json;

fn deployment() -> Schema {
    by_kind("apps", "v1", "Deployment").unwrap()
}

fn options(manager: &str) -> ApplyOptions<'_> {
    ApplyOptions::new(manager, "apps/v1", "2026-01-01T00:00:00Z".parse().unwrap())
}

fn config(spec: Value) -> Value {
    json!({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "d", "namespace": "n"}, "spec": spec})
}

/// What the server stores: the result in canonical form.
fn stored(object: Value) -> Value {
    api::decode::value(object, &deployment()).unwrap().object
}

fn applied(live: Option<&Value>, manager: &str, spec: Value) -> ApiResult<Value> {
    apply(live, &config(spec), &deployment(), &options(manager)).map(stored)
}

fn entry<'a>(object: &'a Value, manager: &str, operation: &str) -> Option<&'a Value> {
    managed::field(object)
        .iter()
        .find(|entry| entry["manager"] == manager && entry["operation"] == operation)
}

fn web() -> Value {
    json!({"replicas": 1, "selector": {"matchLabels": {"a": "b"}}, "template": {
        "metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "1",
            "ports": [{"containerPort": 80}]}]}}})
}

#[test]
fn an_applier_owns_what_it_says() {
    let live = applied(None, "one", web()).unwrap();
    let entry = entry(&live, "one", "Apply").unwrap();
    assert_eq!(entry["time"], "2026-01-01T00:00:00Z");
    assert_eq!(
        entry["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}, "f:selector": {}, "f:template": {
            "f:metadata": {"f:labels": {"f:a": {}}},
            "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:name": {}, "f:image": {},
                "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:containerPort": {}}}}}}}}})
    );
}

#[test]
fn an_updater_owns_what_it_adds_as_upstream_writes_it() {
    let new = stored(config(
        json!({"replicas": 1, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "selector": {"matchLabels": {"a": "b"}},
        "template": {"metadata": {"labels": {"a": "b"}}, "spec": {"containers": [{"name": "c", "image": "1"}]}}}),
    ));
    let live = track_update(None, new, &deployment(), &options("kubectl-create"));
    assert_eq!(
        entry(&live, "kubectl-create", "Update").unwrap()["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}, "f:selector": {},
            "f:strategy": {"f:rollingUpdate": {".": {}, "f:maxSurge": {}}, "f:type": {}},
            "f:template": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}},
                "f:spec": {"f:containers": {"k:{\"name\":\"c\"}": {".": {}, "f:image": {}, "f:name": {}, "f:resources": {}}}}}}})
    );
}

#[test]
fn fields_of_others_are_conflicts_unless_forced() {
    let live = applied(None, "one", web()).unwrap();
    let mut other = web();
    other["replicas"] = 2.into();
    let error = applied(Some(&live), "two", other.clone()).unwrap_err();
    assert_eq!(error.code(), 409);
    assert_eq!(
        error.to_string(),
        "Apply failed with 1 conflict: conflict with \"one\": .spec.replicas"
    );
    let causes = error.status().details.clone().unwrap().causes.unwrap();
    assert_eq!(causes[0].reason.as_deref(), Some("FieldManagerConflict"));
    assert_eq!(causes[0].field.as_deref(), Some(".spec.replicas"));
    let forced = ApplyOptions { force: true, ..options("two") };
    let live = stored(apply(Some(&live), &config(other), &deployment(), &forced).unwrap());
    assert_eq!(live["spec"]["replicas"], 2);
    assert!(
        entry(&live, "one", "Apply").unwrap()["fieldsV1"]["f:spec"].get("f:replicas").is_none()
    );
    // Two appliers of the same value share it.
    let live = applied(None, "one", web()).unwrap();
    assert!(applied(Some(&live), "two", web()).is_ok());
}

#[test]
fn conflicts_with_updaters_name_their_version() {
    let created = track_update(None, stored(config(web())), &deployment(), &options("creator"));
    let mut other = web();
    other["template"]["spec"]["containers"][0]["image"] = "2".into();
    other["replicas"] = 5.into();
    let error = applied(Some(&created), "one", other).unwrap_err();
    assert_eq!(
        error.to_string(),
        "Apply failed with 2 conflicts: conflicts with \"creator\" using apps/v1:\n- .spec.replicas\n- .spec.template.spec.containers[name=\"c\"].image"
    );
}

#[test]
fn what_is_no_longer_applied_goes_unless_somebody_else_has_it() {
    let mut first = web();
    first["minReadySeconds"] = 5.into();
    first["template"]["spec"]["containers"]
        .as_array_mut()
        .unwrap()
        .push(json!({"name": "side", "image": "x"}));
    first["template"]["metadata"]["labels"]["x"] = "y".into();
    let live = applied(None, "one", first).unwrap();
    let both = applied(
        Some(&live),
        "two",
        json!({"minReadySeconds": 5, "template": {"metadata": {"labels": {"x": "y"}}}}),
    )
    .unwrap();
    let after = applied(Some(&both), "one", web()).unwrap();
    assert_eq!(after["spec"]["minReadySeconds"], 5);
    assert_eq!(after["spec"]["template"]["metadata"]["labels"], json!({"a": "b", "x": "y"}));
    assert_eq!(after["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 1);
    let after = applied(Some(&after), "two", json!({})).unwrap();
    assert!(after["spec"].get("minReadySeconds").is_none());
    assert_eq!(after["spec"]["template"]["metadata"]["labels"], json!({"a": "b"}));
    assert_eq!(entry(&after, "two", "Apply").unwrap()["fieldsV1"], json!({"f:spec": {}}));
}

#[test]
fn applying_the_same_again_changes_nothing_not_even_times() {
    let live = applied(None, "one", web()).unwrap();
    let later = ApplyOptions { now: "2026-02-02T00:00:00Z".parse().unwrap(), ..options("one") };
    let again = apply(Some(&live), &config(web()), &deployment(), &later).unwrap();
    assert_eq!(again, live);
    let same = track_update(Some(&live), live.clone(), &deployment(), &later);
    assert_eq!(same, live);
}

#[test]
fn updates_take_fields_over_and_deletions_give_them_up() {
    let live = applied(None, "one", web()).unwrap();
    let mut new = live.clone();
    new["spec"]["replicas"] = 7.into();
    new["spec"]["template"]["metadata"]["labels"] = json!({});
    let new = stored(new);
    let updated = track_update(Some(&live), new, &deployment(), &options("scaler"));
    assert_eq!(
        entry(&updated, "scaler", "Update").unwrap()["fieldsV1"],
        json!({"f:spec": {"f:replicas": {}}})
    );
    let one = &entry(&updated, "one", "Apply").unwrap()["fieldsV1"];
    assert!(one["f:spec"].get("f:replicas").is_none());
    assert!(one["f:spec"]["f:template"].get("f:metadata").is_none());
}

#[test]
fn subresources_have_their_own_entry_and_reset_fields_are_nobodys() {
    let live = track_update(None, stored(config(web())), &deployment(), &options("creator"));
    let mut new = live.clone();
    new["status"] = json!({"replicas": 1});
    let status =
        ApplyOptions { subresource: "status", reset_fields: &["spec"], ..options("controller") };
    let updated = track_update(Some(&live), new, &deployment(), &status);
    let entry = entry(&updated, "controller", "Update").unwrap();
    assert_eq!(entry["subresource"], "status");
    assert_eq!(entry["fieldsV1"], json!({"f:status": {"f:replicas": {}}}));
    let main = ApplyOptions { reset_fields: &["status"], ..options("one") };
    let mut configuration = config(json!({"paused": true}));
    configuration["status"] = json!({"replicas": 9});
    let applied =
        apply(Some(&updated), &configuration, &deployment(), &ApplyOptions { force: true, ..main })
            .unwrap();
    let fields = managed::field(&applied).iter().find(|entry| entry["manager"] == "one").unwrap();
    assert_eq!(fields["fieldsV1"], json!({"f:spec": {"f:paused": {}}}));
}

#[test]
fn configurations_that_do_not_fit_are_refused() {
    let error = applied(None, "one", json!({"unknownField": 1, "replicas": "x"})).unwrap_err();
    assert_eq!(error.code(), 500);
    assert_eq!(
        error.to_string(),
        "failed to create typed patch object (n/d; apps/v1, Kind=Deployment): errors:\n  .spec.replicas: expected numeric (int or float), got string\n  .spec.unknownField: field not declared in schema"
    );
    let twice = json!({"template": {"spec": {"containers": [{"name": "c"}, {"name": "c"}]}}});
    let error = applied(None, "one", twice).unwrap_err();
    assert!(
        error
            .to_string()
            .ends_with(".spec.template.spec.containers: duplicate entries for key [name=\"c\"]"),
        "{error}"
    );
    let mut wrong = config(web());
    wrong["apiVersion"] = "apps/v2".into();
    assert_eq!(apply(None, &wrong, &deployment(), &options("one")).unwrap_err().code(), 400);
    let mut wrong = config(web());
    wrong["metadata"]["managedFields"] = json!([{}]);
    assert_eq!(apply(None, &wrong, &deployment(), &options("one")).unwrap_err().code(), 400);
}

#[test]
fn objects_without_managed_fields_get_a_first_owner() {
    let live = stored(config(web()));
    let untracked = track_update(Some(&live), live.clone(), &deployment(), &options("x"));
    assert!(managed::field(&untracked).is_empty());
    let mut other = web();
    other["replicas"] = 3.into();
    let error = applied(Some(&live), "one", other).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("conflict with \"before-first-apply\" using apps/v1: .spec.replicas"),
        "{error}"
    );
}

#[test]
fn client_side_apply_is_taken_over() {
    let mut object = config(web());
    let last = object.to_string();
    object["metadata"]["annotations"] =
        json!({"kubectl.kubernetes.io/last-applied-configuration": last});
    let live =
        track_update(None, stored(object), &deployment(), &options("kubectl-client-side-apply"));
    let mut other = web();
    other["replicas"] = 4.into();
    other["template"]["spec"]["containers"][0]["image"] = "2".into();
    // kubectl's own conflicts with its client-side past do not count, others' do.
    let after = applied(Some(&live), "kubectl", other.clone()).unwrap();
    assert_eq!(after["spec"]["replicas"], 4);
    assert!(
        api::object::annotation(&after, "kubectl.kubernetes.io/last-applied-configuration")
            .unwrap()
            .contains("\"replicas\":4")
    );
    assert!(applied(Some(&live), "other", other.clone()).is_err());
    // Nor does it count what was changed since.
    let mut scaled = live.clone();
    scaled["spec"]["replicas"] = 3.into();
    let scaled =
        track_update(Some(&live), scaled, &deployment(), &options("kubectl-client-side-apply"));
    let conflict = applied(Some(&scaled), "kubectl", other).unwrap_err();
    assert!(conflict.to_string().contains("with 1 conflict: "), "{conflict}");
    let mut upgraded = live;
    assert!(upgrade_managed_fields(&mut upgraded, &["kubectl-client-side-apply"], "kubectl"));
    let fields = &entry(&upgraded, "kubectl", "Apply").unwrap()["fieldsV1"];
    assert!(fields["f:spec"].get("f:replicas").is_some());
    assert!(!fields.to_string().contains("last-applied"));
    assert!(entry(&upgraded, "kubectl-client-side-apply", "Update").is_none());
}

#[test]
fn lists_keep_the_order_of_both() {
    let names = |object: &Value| -> Vec<String> {
        object["spec"]["template"]["spec"]["containers"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    let with = |list: &[&str]| {
        let items: Vec<_> = list.iter().map(|name| json!({"name": name})).collect();
        json!({"template": {"spec": {"containers": items}}})
    };
    let live = applied(None, "one", with(&["a", "b", "c"])).unwrap();
    let live = applied(Some(&live), "two", with(&["x", "b"])).unwrap();
    assert_eq!(names(&live), ["a", "x", "b", "c"]);
    let live = applied(Some(&live), "two", with(&["b", "x"])).unwrap();
    assert_eq!(names(&live), ["a", "b", "x", "c"]);
}

#[test]
fn custom_resources_are_tracked_by_their_schema() {
    let schema = from_structural(
        &json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
        "size": {"type": "integer"},
        "tags": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
        "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}}}}}),
    )
    .unwrap();
    let options = ApplyOptions::new("one", "g/v1", "2026-01-01T00:00:00Z".parse().unwrap());
    let object = |spec: Value| json!({"apiVersion": "g/v1", "kind": "K", "metadata": {"name": "x"}, "spec": spec});
    let live = apply(
        None,
        &object(json!({"size": 1, "tags": ["a"], "free": {"x": {"y": [1]}}})),
        &schema,
        &options,
    )
    .unwrap();
    assert_eq!(
        managed::field(&live)[0]["fieldsV1"],
        json!({"f:spec": {"f:size": {}, "f:tags": {"v:\"a\"": {}}, "f:free": {"f:x": {".": {}, "f:y": {}}}}})
    );
    let after = apply(Some(&live), &object(json!({"tags": ["b"]})), &schema, &options).unwrap();
    assert_eq!(after["spec"], json!({"tags": ["b"]}));
    let created = track_update(None, object(json!({"size": 1})), &schema, &options);
    assert_eq!(managed::field(&created)[0]["fieldsV1"], json!({"f:spec": {".": {}, "f:size": {}}}));
    let error = apply(None, &object(json!({"nope": 1})), &schema, &options).unwrap_err();
    assert!(error.to_string().ends_with(".spec.nope: field not declared in schema"), "{error}");
}

#[test]
fn too_many_updaters_become_ancient() {
    let mut live = track_update(None, stored(config(web())), &deployment(), &options("m0"));
    for number in 1..15 {
        let mut new = live.clone();
        new["metadata"]["labels"][format!("l{number}")] = "x".into();
        let name = format!("m{number}");
        let now = options("x").now + jiff::SignedDuration::from_secs(number);
        live =
            track_update(Some(&live), new, &deployment(), &ApplyOptions { now, ..options(&name) });
    }
    let entries = managed::field(&live);
    assert_eq!(entries.len(), 10);
    assert!(entries.iter().any(|entry| entry["manager"] == "ancient-changes"));
    assert!(entries.iter().any(|entry| entry["manager"] == "m14"));
}

#[test]
fn other_versions_are_compared_in_their_own() {
    let live = track_update(
        None,
        stored(config(web())),
        &deployment(),
        &ApplyOptions { api_version: "apps/v1beta2", ..options("old") },
    );
    let mut new = live.clone();
    new["spec"]["replicas"] = 2.into();
    let gone = |_: &Value, _: &str| None;
    let same = |object: &Value, _: &str| Some((object.clone(), Cow::Owned(deployment())));
    let kept = track_update(
        Some(&live),
        new.clone(),
        &deployment(),
        &ApplyOptions { convert: Some(&same), ..options("x") },
    );
    assert!(
        entry(&kept, "old", "Update").unwrap()["fieldsV1"]["f:spec"].get("f:replicas").is_none()
    );
    let lost = track_update(
        Some(&live),
        new,
        &deployment(),
        &ApplyOptions { convert: Some(&gone), ..options("x") },
    );
    assert!(entry(&lost, "old", "Update").is_none());
}

#[test]
fn metadata_of_the_server_survives_an_applier_that_drops_its_labels() {
    let mut first = config(web());
    first["metadata"]["labels"] = json!({"x": "y"});
    let mut live = stored(apply(None, &first, &deployment(), &options("one")).unwrap());
    for (field, value) in
        [("uid", "u"), ("resourceVersion", "5"), ("creationTimestamp", "2026-01-01T00:00:00Z")]
    {
        live["metadata"][field] = value.into();
    }
    live["metadata"]["generation"] = 1.into();
    let after = applied(Some(&live), "one", web()).unwrap();
    let mut expected = live["metadata"].clone();
    expected.as_object_mut().unwrap().remove("labels");
    expected["managedFields"] = after["metadata"]["managedFields"].clone();
    assert_eq!(after["metadata"], expected);
}

#[test]
fn a_policys_configuration_is_merged_without_owners() {
    let schema = api::schema::by_kind("apps", "v1", "Deployment").unwrap();
    let live = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {"replicas": 1,
        "template": {"spec": {"containers": [{"name": "a", "image": "i"}]}}}});
    let configuration = json!({"apiVersion": "apps/v1", "kind": "Deployment", "spec": {
        "replicas": 7, "template": {"spec": {"containers": [{"name": "b", "image": "j"}]}}}});
    let merged = merge_configuration(&live, &configuration, &schema).unwrap();
    assert_eq!(merged["spec"]["replicas"], 7);
    assert_eq!(merged["spec"]["template"]["spec"]["containers"].as_array().unwrap().len(), 2);

    let selector = json!({"spec": {"selector": {"matchLabels": {"a": "b"}}}});
    assert_eq!(
        merge_configuration(&live, &selector, &schema).unwrap_err(),
        "invalid ApplyConfiguration: may not mutate atomic arrays, maps or structs: .spec.selector"
    );
}
