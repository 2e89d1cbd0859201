//! Merge patch, RFC 7386: `null` deletes, maps are merged, everything else replaces. Also how such
//! patches are made, for objects without a schema.

use serde_json::{Map, Value};

/// Applies a merge patch.
#[must_use]
pub fn merge_patch(object: &Value, patch: &Value) -> Value {
    let mut merged = object.clone();
    merge_into(&mut merged, patch);
    merged
}

fn merge_into(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Some(map) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge_into(map.entry(key.as_str()).or_insert(Value::Null), value);
        }
    }
}

/// The merge patch that turns `original` into `modified`.
#[must_use]
pub fn create_merge_patch(original: &Value, modified: &Value) -> Value {
    diff(original, modified, true, true).unwrap_or_else(|| Value::Object(Map::new()))
}

/// The merge patch by which `kubectl apply` changes an object without a schema: what `modified`
/// sets otherwise than `current`, and the deletion of what `original` had and `modified` has not.
#[must_use]
pub fn create_three_way_merge_patch(
    original: Option<&Value>,
    modified: &Value,
    current: &Value,
) -> Value {
    let empty = || Value::Object(Map::new());
    let mut patch = diff(current, modified, true, false).unwrap_or_else(empty);
    if let Some(original) = original
        && let Some(deletions) = diff(original, modified, false, true)
    {
        overlay(&mut patch, deletions);
    }
    patch
}

/// `None` when there is no difference of the kinds that are asked for.
fn diff(from: &Value, to: &Value, changes: bool, deletions: bool) -> Option<Value> {
    let (Value::Object(from), Value::Object(to)) = (from, to) else {
        return (changes && from != to).then(|| to.clone());
    };
    let mut patch = Map::new();
    for (key, value) in to {
        match from.get(key) {
            Some(old) if old.is_object() && value.is_object() => {
                if let Some(inner) = diff(old, value, changes, deletions) {
                    patch.insert(key.clone(), inner);
                }
            }
            Some(old) if old == value => {}
            _ if changes => {
                patch.insert(key.clone(), value.clone());
            }
            _ => {}
        }
    }
    if deletions {
        for key in from.keys().filter(|key| !to.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// Adds to a patch what is not in it yet, nulls included.
fn overlay(patch: &mut Value, more: Value) {
    if let (Value::Object(patch), Value::Object(more)) = (patch, more) {
        for (key, value) in more {
            match patch.get_mut(&key) {
                Some(known) if known.is_object() => overlay(known, value),
                Some(_) => {}
                None => {
                    patch.insert(key, value);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_examples_of_the_rfc() {
        for (object, patch, expected) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
            (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
            (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
        ] {
            assert_eq!(merge_patch(&object, &patch), expected);
        }
    }

    #[test]
    fn three_way_patches_delete_only_what_was_applied_before() {
        let original = json!({"spec": {"a": 1, "b": 2}});
        let modified = json!({"spec": {"a": 3, "c": {"d": 1}}});
        let current = json!({"spec": {"a": 1, "b": 2, "other": 5}});
        let patch = create_three_way_merge_patch(Some(&original), &modified, &current);
        assert_eq!(patch, json!({"spec": {"a": 3, "b": null, "c": {"d": 1}}}));
        assert_eq!(create_merge_patch(&original, &original), json!({}));
    }
}
