//! Reading and writing the fields that every object has, on a JSON value.
//!
//! A missing field and an empty one read the same. Setters make the parents that they need and
//! leave no empty map or list behind, as Kubernetes' `omitempty` does.

use serde_json::{Map, Value};

/// A string at a path of map keys; empty when it is absent or no string.
#[must_use]
pub fn str_at<'a>(object: &'a Value, path: &[&str]) -> &'a str {
    at(object, path).and_then(Value::as_str).unwrap_or_default()
}

/// An integer at a path of map keys.
#[must_use]
pub fn int_at(object: &Value, path: &[&str]) -> Option<i64> {
    at(object, path).and_then(Value::as_i64)
}

/// The value at a path of map keys, `null` counting as absent.
#[must_use]
pub fn at<'a>(object: &'a Value, path: &[&str]) -> Option<&'a Value> {
    path.iter().try_fold(object, |value, key| value.get(key)).filter(|value| !value.is_null())
}

/// The list at a path of map keys; empty when absent.
#[must_use]
pub fn list_at<'a>(object: &'a Value, path: &[&str]) -> &'a [Value] {
    at(object, path).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// The value at a path for writing, with every map on the way made when it is absent.
///
/// A value on the way that is no map is replaced by one: callers have decoded the object by its
/// schema before.
pub fn entry<'a>(object: &'a mut Value, path: &[&str]) -> &'a mut Value {
    let mut value = object;
    for key in path {
        if !value.is_object() {
            *value = Value::Object(Map::new());
        }
        value = value
            .as_object_mut()
            .expect("made an object above")
            .entry((*key).to_owned())
            .or_insert(Value::Null);
    }
    value
}

/// Sets the value at a path, making the maps on the way.
pub fn set(object: &mut Value, path: &[&str], to: impl Into<Value>) {
    *entry(object, path) = to.into();
}

/// Sets the value at a path when nothing is there (absent or `null`).
pub fn set_default(object: &mut Value, path: &[&str], to: impl Into<Value>) {
    let slot = entry(object, path);
    if slot.is_null() {
        *slot = to.into();
    }
}

/// Takes the value at a path away and gives it back; parents stay.
pub fn remove(object: &mut Value, path: &[&str]) -> Option<Value> {
    let (last, parents) = path.split_last()?;
    let mut value = object;
    for key in parents {
        value = value.get_mut(key)?;
    }
    value.as_object_mut()?.remove(*last)
}

/// `metadata.name`.
#[must_use]
pub fn name(object: &Value) -> &str {
    str_at(object, &["metadata", "name"])
}

/// `metadata.namespace`; empty for cluster-scoped objects.
#[must_use]
pub fn namespace(object: &Value) -> &str {
    str_at(object, &["metadata", "namespace"])
}

/// `metadata.uid`.
#[must_use]
pub fn uid(object: &Value) -> &str {
    str_at(object, &["metadata", "uid"])
}

/// `apiVersion`.
#[must_use]
pub fn api_version(object: &Value) -> &str {
    str_at(object, &["apiVersion"])
}

/// `kind`.
#[must_use]
pub fn kind(object: &Value) -> &str {
    str_at(object, &["kind"])
}

/// `metadata.resourceVersion` as the number it is, `None` when absent, empty or not a number.
#[must_use]
pub fn resource_version(object: &Value) -> Option<u64> {
    str_at(object, &["metadata", "resourceVersion"]).parse().ok()
}

/// `metadata.generation`, 0 when absent.
#[must_use]
pub fn generation(object: &Value) -> i64 {
    int_at(object, &["metadata", "generation"]).unwrap_or_default()
}

/// Whether `metadata.deletionTimestamp` is set.
#[must_use]
pub fn is_deleting(object: &Value) -> bool {
    at(object, &["metadata", "deletionTimestamp"]).is_some()
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> impl Iterator<Item = &str> {
    list_at(object, &["metadata", "finalizers"]).iter().filter_map(Value::as_str)
}

/// `metadata.ownerReferences`.
#[must_use]
pub fn owner_references(object: &Value) -> &[Value] {
    list_at(object, &["metadata", "ownerReferences"])
}

/// One label's value.
#[must_use]
pub fn label<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "labels", key]).and_then(Value::as_str)
}

/// One annotation's value.
#[must_use]
pub fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    at(object, &["metadata", "annotations", key]).and_then(Value::as_str)
}

/// All labels, in key order.
pub fn labels(object: &Value) -> impl Iterator<Item = (&str, &str)> {
    at(object, &["metadata", "labels"])
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| Some((key.as_str(), value.as_str()?)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn absent_null_and_empty_read_the_same() {
        for object in [json!({}), json!({"metadata": null}), json!({"metadata": {"name": null}})] {
            assert_eq!(name(&object), "");
            assert_eq!(finalizers(&object).count(), 0);
        }
    }

    #[test]
    fn setting_makes_the_parents_and_defaults_keep_what_is_there() {
        let mut object = json!({});
        set(&mut object, &["spec", "replicas"], 3);
        set_default(&mut object, &["spec", "replicas"], 1);
        set_default(&mut object, &["spec", "paused"], true);
        assert_eq!(object, json!({"spec": {"replicas": 3, "paused": true}}));
        assert_eq!(remove(&mut object, &["spec", "paused"]), Some(json!(true)));
        assert_eq!(remove(&mut object, &["status", "x"]), None);
    }
}
