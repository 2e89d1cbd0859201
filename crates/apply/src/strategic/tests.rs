//! Strategic merge, case by case.

use super::*;
use api::schema::by_kind;
use serde_json::json;

fn pod() -> Schema {
    by_kind("", "v1", "Pod").unwrap()
}

fn deployment() -> Schema {
    by_kind("apps", "v1", "Deployment").unwrap()
}

fn check(object: &Value, patch: &Value, expected: &Value) {
    let patched = strategic_merge_patch(object, patch, &pod()).unwrap();
    assert_eq!(&patched, expected, "{patch}");
}

#[test]
fn lists_of_maps_are_merged_by_their_key() {
    let object =
        json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "1"}]}});
    check(
        &object,
        &json!({"spec": {"containers": [{"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}}),
        &json!({"spec": {"containers": [{"name": "a", "image": "1"}, {"name": "b", "image": "2"}, {"name": "c", "image": "3"}]}}),
    );
    check(
        &object,
        &json!({"spec": {"containers": [{"name": "a", "$patch": "delete"}]}}),
        &json!({"spec": {"containers": [{"name": "b", "image": "1"}]}}),
    );
    check(
        &object,
        &json!({"spec": {"containers": [{"$patch": "replace"}, {"name": "z"}]}}),
        &json!({"spec": {"containers": [{"name": "z"}]}}),
    );
    check(
        &object,
        &json!({"spec": {"$setElementOrder/containers": [{"name": "c"}, {"name": "b"}, {"name": "a"}],
            "containers": [{"name": "c", "image": "3"}]}}),
        &json!({"spec": {"containers": [{"name": "c", "image": "3"}, {"name": "b", "image": "1"}, {"name": "a", "image": "1"}]}}),
    );
}

#[test]
fn maps_are_merged_replaced_and_deleted() {
    let object =
        json!({"metadata": {"labels": {"a": "1", "b": "2"}}, "spec": {"nodeSelector": {"x": "y"}}});
    check(
        &object,
        &json!({"metadata": {"labels": {"a": null, "c": "3", "gone": null}}}),
        &json!({"metadata": {"labels": {"b": "2", "c": "3"}}, "spec": {"nodeSelector": {"x": "y"}}}),
    );
    check(
        &object,
        &json!({"metadata": {"labels": {"$patch": "replace", "z": "1"}}, "spec": {"$patch": "delete"}}),
        &json!({"metadata": {"labels": {"z": "1"}}, "spec": {}}),
    );
}

#[test]
fn lists_of_scalars_and_atomic_lists() {
    let object = json!({"metadata": {"finalizers": ["a", "b"]}, "spec": {"containers": [{"name": "c", "args": ["1", "2"]}]}});
    check(
        &object,
        &json!({"metadata": {"finalizers": ["c", "a"]}}),
        &json!({"metadata": {"finalizers": ["c", "a", "b"]}, "spec": {"containers": [{"name": "c", "args": ["1", "2"]}]}}),
    );
    check(
        &object,
        &json!({"metadata": {"$deleteFromPrimitiveList/finalizers": ["a"]}, "spec": {"containers": [{"name": "c", "args": ["3"]}]}}),
        &json!({"metadata": {"finalizers": ["b"]}, "spec": {"containers": [{"name": "c", "args": ["3"]}]}}),
    );
}

#[test]
fn retain_keys_clears_the_rest() {
    let object =
        json!({"spec": {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}}}});
    let patch = json!({"spec": {"strategy": {"$retainKeys": ["type"], "type": "Recreate"}}});
    let patched = strategic_merge_patch(&object, &patch, &deployment()).unwrap();
    assert_eq!(patched, json!({"spec": {"strategy": {"type": "Recreate"}}}));
    let volumes = json!({"spec": {"volumes": [{"name": "v", "emptyDir": {}}]}});
    check(
        &volumes,
        &json!({"spec": {"volumes": [{"name": "v", "$retainKeys": ["name", "hostPath"], "hostPath": {"path": "/x"}}]}}),
        &json!({"spec": {"volumes": [{"name": "v", "hostPath": {"path": "/x"}}]}}),
    );
}

#[test]
fn bad_patches_have_upstreams_codes() {
    for (patch, code) in [
        (json!([]), 400),
        (json!({"$patch": "nonsense"}), 422),
        (json!({"spec": {"$retainKeys": 1}}), 400),
        (json!({"spec": {"$retainKeys": ["a"], "b": 1}}), 400),
        (
            json!({"spec": {"$setElementOrder/containers": [{"name": "a"}], "containers": [{"name": "b"}]}}),
            500,
        ),
        (json!({"spec": {"containers": [{"image": "x"}]}}), 500),
    ] {
        let object = json!({"spec": {"containers": [{"name": "a"}]}});
        let error = strategic_merge_patch(&object, &patch, &pod()).unwrap_err();
        assert_eq!(error.code(), code, "{patch}");
    }
}

#[test]
fn three_way_patches_are_kubectls() {
    let original = json!({"metadata": {"labels": {"old": "1"}}, "spec": {"template": {"spec": {
        "containers": [{"name": "a", "image": "1", "env": [{"name": "X", "value": "1"}]}, {"name": "gone"}]}}}});
    let modified = json!({"metadata": {"labels": {"new": "1"}}, "spec": {"strategy": {"type": "Recreate"},
        "template": {"spec": {"containers": [{"name": "a", "image": "2"}]}}}});
    let current = json!({"metadata": {"labels": {"old": "1", "other": "1"}}, "spec": {
        "replicas": 3, "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1}},
        "template": {"spec": {"containers": [
            {"name": "a", "image": "1", "imagePullPolicy": "Always", "env": [{"name": "X", "value": "1"}]},
            {"name": "gone"}]}}}});
    let patch =
        create_three_way_merge_patch(Some(&original), &modified, &current, &deployment(), true)
            .unwrap();
    let patched = strategic_merge_patch(&current, &patch, &deployment()).unwrap();
    assert_eq!(
        patched,
        json!({"metadata": {"labels": {"new": "1", "other": "1"}}, "spec": {"replicas": 3,
            "strategy": {"type": "Recreate"}, "template": {"spec": {"containers": [
                {"name": "a", "image": "2", "imagePullPolicy": "Always"}]}}}})
    );
    assert_eq!(patch["spec"]["strategy"]["$retainKeys"], json!(["type"]));
    // Applying the same again needs no patch.
    let again =
        create_three_way_merge_patch(Some(&modified), &modified, &patched, &deployment(), true)
            .unwrap();
    assert_eq!(again, json!({}));
}

#[test]
fn without_overwrite_foreign_changes_are_conflicts() {
    let object = |replicas: i32| json!({"spec": {"replicas": replicas}});
    let patch = |modified: i32, current: i32| {
        create_three_way_merge_patch(
            Some(&object(1)),
            &object(modified),
            &object(current),
            &deployment(),
            false,
        )
    };
    assert!(patch(2, 1).is_ok());
    assert_eq!(patch(2, 3).unwrap_err().code(), 409);
}
