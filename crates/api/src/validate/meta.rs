//! Object metadata: what must hold for every object, whatever its kind.

use serde_json::Value;

use super::{dns1123_label, label_value, qualified_name};
use crate::field::{ErrorList, FieldError, Path};
use crate::object::{at, int_at, is_deleting, list_at, str_at};

/// How much all annotations of an object may weigh together.
pub const ANNOTATIONS_MAX: usize = 256 * 1024;

const IMMUTABLE: &str = "field is immutable";

/// A kind's rule for names: the name, and whether it is only a prefix (`generateName`).
pub type NameRule<'a> = &'a dyn Fn(&str, bool) -> Vec<String>;

/// A name that is only a prefix may end with a hyphen, which the random suffix follows.
#[must_use]
pub fn mask_trailing_dash(name: &str, prefix: bool) -> String {
    match name.strip_suffix('-') {
        Some(stem) if prefix && !stem.is_empty() => format!("{stem}a"),
        _ => name.to_owned(),
    }
}

/// What is wrong with a new object's `metadata` (the object itself is passed). `path` is where
/// errors are shown, `metadata` for an object.
#[must_use]
pub fn object_meta(object: &Value, namespaced: bool, name_rule: NameRule<'_>) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors = ErrorList::new();
    let generate = str_at(object, &["metadata", "generateName"]);
    if !generate.is_empty() {
        for text in name_rule(generate, true) {
            errors.push(FieldError::invalid(path.child("generateName"), generate, text));
        }
    }
    let name = str_at(object, &["metadata", "name"]);
    if name.is_empty() {
        errors.push(FieldError::required(path.child("name"), "name or generateName is required"));
    } else {
        for text in name_rule(name, false) {
            errors.push(FieldError::invalid(path.child("name"), name, text));
        }
    }
    namespace(object, namespaced, &path, &mut errors);
    if int_at(object, &["metadata", "generation"]).is_some_and(|generation| generation < 0) {
        let value = int_at(object, &["metadata", "generation"]).unwrap_or_default();
        let text = "must be greater than or equal to 0";
        errors.push(FieldError::invalid(path.child("generation"), value, text));
    }
    common(object, &path, &mut errors);
    finalizers(object, &path.child("finalizers"), &mut errors);
    errors
}

fn namespace(object: &Value, namespaced: bool, path: &Path, errors: &mut ErrorList) {
    let path = path.child("namespace");
    let value = str_at(object, &["metadata", "namespace"]);
    match (namespaced, value.is_empty()) {
        (true, true) => errors.push(FieldError::required(path, "")),
        (true, false) => errors.extend(
            dns1123_label(value)
                .into_iter()
                .map(|text| FieldError::invalid(path.clone(), value, text)),
        ),
        (false, false) => errors.push(FieldError::forbidden(path, "not allowed on this type")),
        (false, true) => {}
    }
}

/// What is wrong with a change of an object's `metadata`. What an updater may leave out (uid,
/// creation and deletion time) has been restored from the stored object before.
#[must_use]
pub fn object_meta_update(new: &Value, old: &Value) -> ErrorList {
    let path = Path::new("metadata");
    let mut errors = ErrorList::new();
    if is_deleting(old) {
        no_new_finalizers(new, old, &path, &mut errors);
    }
    if str_at(new, &["metadata", "resourceVersion"]).is_empty() {
        let text = "must be specified for an update";
        errors.push(FieldError::invalid(path.child("resourceVersion"), "", text));
    }
    let generation = |object| int_at(object, &["metadata", "generation"]).unwrap_or_default();
    if generation(new) < generation(old) {
        let text = "must not be decremented";
        errors.push(FieldError::invalid(path.child("generation"), generation(new), text));
    }
    for field in [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        let (was, is) = (at(old, &["metadata", field]), at(new, &["metadata", field]));
        let blank = |value: Option<&Value>| value.is_none_or(|value| value == "");
        if was != is && !(blank(was) && blank(is)) {
            let value = is.cloned().unwrap_or(Value::Null);
            errors.push(FieldError::invalid(path.child(field), value, IMMUTABLE));
        }
    }
    common(new, &path, &mut errors);
    errors
}

fn common(object: &Value, path: &Path, errors: &mut ErrorList) {
    errors.extend(labels(at(object, &["metadata", "labels"]), &path.child("labels")));
    let found = at(object, &["metadata", "annotations"]);
    errors.extend(annotations(found, &path.child("annotations")));
    owner_references(object, &path.child("ownerReferences"), errors);
}

/// What is wrong with a map of labels.
#[must_use]
pub fn labels(labels: Option<&Value>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for text in qualified_name(key) {
            errors.push(FieldError::invalid(path.clone(), key.as_str(), text));
        }
        let value = value.as_str().unwrap_or_default();
        for text in label_value(value) {
            errors.push(FieldError::invalid(path.clone(), value, text));
        }
    }
    errors
}

/// What is wrong with a map of annotations.
#[must_use]
pub fn annotations(annotations: Option<&Value>, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    let mut total = 0;
    for (key, value) in annotations.and_then(Value::as_object).into_iter().flatten() {
        for text in qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path.clone(), key.as_str(), text));
        }
        total += key.len() + value.as_str().map_or(0, str::len);
    }
    if total > ANNOTATIONS_MAX {
        errors.push(FieldError::too_long(path.clone(), ANNOTATIONS_MAX));
    }
    errors
}

fn owner_references(object: &Value, path: &Path, errors: &mut ErrorList) {
    let owners = list_at(object, &["metadata", "ownerReferences"]);
    let mut controller: Option<String> = None;
    for owner in owners {
        let api_version = str_at(owner, &["apiVersion"]);
        let (group, version) = crate::names::split_api_version(api_version);
        if version.is_empty() {
            let text = "version must not be empty";
            errors.push(FieldError::invalid(path.child("apiVersion"), api_version, text));
        }
        for field in ["kind", "name", "uid"] {
            if str_at(owner, &[field]).is_empty() {
                errors.push(FieldError::invalid(path.child(field), "", "must not be empty"));
            }
        }
        if (group, version, str_at(owner, &["kind"])) == ("", "v1", "Event") {
            let text = "/v1, Kind=Event is disallowed from being an owner";
            errors.push(FieldError::invalid(path.clone(), owner.clone(), text));
        }
        if owner.get("controller").and_then(Value::as_bool).unwrap_or_default() {
            let this = format!("{}/{}", str_at(owner, &["kind"]), str_at(owner, &["name"]));
            match &controller {
                None => controller = Some(this),
                Some(first) => errors.push(FieldError::invalid(
                    path.clone(),
                    Value::Array(owners.to_vec()),
                    format!(
                        "Only one reference can have Controller set to true. Found \"true\" in references for {first} and {this}"
                    ),
                )),
            }
        }
    }
}

fn finalizers(object: &Value, path: &Path, errors: &mut ErrorList) {
    let all = list_at(object, &["metadata", "finalizers"]);
    for finalizer in all.iter().filter_map(Value::as_str) {
        for text in qualified_name(finalizer) {
            errors.push(FieldError::invalid(path.clone(), finalizer, text));
        }
    }
    let has = |name: &str| all.iter().any(|finalizer| finalizer == name);
    if has("orphan") && has("foregroundDeletion") {
        let text = "finalizer orphan and foregroundDeletion cannot be both set";
        errors.push(FieldError::invalid(path.clone(), Value::Array(all.to_vec()), text));
    }
}

fn no_new_finalizers(new: &Value, old: &Value, path: &Path, errors: &mut ErrorList) {
    let had = list_at(old, &["metadata", "finalizers"]);
    let mut extra: Vec<_> = list_at(new, &["metadata", "finalizers"])
        .iter()
        .filter(|finalizer| !had.contains(finalizer))
        .map(|finalizer| format!("{:?}", finalizer.as_str().unwrap_or_default()))
        .collect();
    extra.sort();
    if !extra.is_empty() {
        let text = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            extra.join(", ")
        );
        errors.push(FieldError::forbidden(path.child("finalizers"), text));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(object: &Value, namespaced: bool, expected: &[&str]) {
        let rule =
            |name: &str, prefix| super::super::dns1123_subdomain(&mask_trailing_dash(name, prefix));
        let found: Vec<_> =
            object_meta(object, namespaced, &rule).iter().map(ToString::to_string).collect();
        assert_eq!(found.len(), expected.len(), "{found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{found} is not {expected}");
        }
    }

    #[test]
    fn new_metadata() {
        check(&json!({"metadata": {"name": "a", "namespace": "b"}}), true, &[]);
        check(
            &json!({"metadata": {}}),
            true,
            &[
                "metadata.name: Required value: name or generateName is required",
                "metadata.namespace: Required value",
            ],
        );
        check(
            &json!({"metadata": {"name": "a", "generateName": "a-", "namespace": "b"}}),
            false,
            &["metadata.namespace: Forbidden: not allowed on this type"],
        );
        check(
            &json!({"metadata": {"name": "a", "labels": {"-x": "y z"}}}),
            false,
            &["metadata.labels: Invalid value: \"-x\"", "metadata.labels: Invalid value: \"y z\""],
        );
        check(
            &json!({"metadata": {"name": "a", "annotations": {"x": "y".repeat(ANNOTATIONS_MAX)}}}),
            false,
            &["metadata.annotations: Too long: may not be more than 262144 bytes"],
        );
        let owner = json!({"apiVersion": "v1", "kind": "X", "name": "x", "uid": "1",
            "controller": true});
        check(
            &json!({"metadata": {"name": "a", "ownerReferences": [owner, owner]}}),
            false,
            &["metadata.ownerReferences: Invalid value: [{"],
        );
        check(
            &json!({"metadata": {"name": "a", "finalizers": ["orphan", "foregroundDeletion"]}}),
            false,
            &["metadata.finalizers: Invalid value: "],
        );
    }

    #[test]
    fn changed_metadata() {
        let old = json!({"metadata": {"name": "a", "uid": "1", "resourceVersion": "5",
            "generation": 2, "deletionTimestamp": "2026-01-01T00:00:00Z"}});
        assert!(object_meta_update(&old, &old).is_empty());
        let mut new = old.clone();
        new["metadata"]["uid"] = "2".into();
        new["metadata"]["generation"] = 1.into();
        new["metadata"]["finalizers"] = json!(["x.io/y"]);
        new["metadata"].as_object_mut().unwrap().remove("resourceVersion");
        let texts: Vec<_> =
            object_meta_update(&new, &old).iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted, found new finalizers []string{\"x.io/y\"}",
                "metadata.resourceVersion: Invalid value: \"\": must be specified for an update",
                "metadata.generation: Invalid value: 1: must not be decremented",
                "metadata.uid: Invalid value: \"2\": field is immutable",
            ]
        );
    }
}
