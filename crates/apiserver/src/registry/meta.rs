//! The metadata that the server sets and keeps.

use api::Value;
use api::object;
use api::status::{ApiError, ApiResult};
use serde_json::json;

use super::Op;

/// The longest name that gets a random suffix; apiserver's `names.maxGeneratedNameLength`.
const GENERATED_BASE_MAX: usize = 58;
const SUFFIX_LEN: usize = 5;

/// Checks that body and URL speak of the same namespace, and fills it in.
pub(super) fn match_namespace(op: &Op<'_>, new: &mut Value) -> ApiResult<()> {
    if !op.entry.is_namespaced() {
        // A kind without namespaces takes none: what is given there is forgotten.
        object::remove(new, &["metadata", "namespace"]);
        return Ok(());
    }
    let given = object::namespace(new);
    if given.is_empty() {
        object::set(new, &["metadata", "namespace"], op.namespace);
    } else if given != op.namespace {
        return Err(ApiError::bad_request(
            "the namespace of the provided object does not match the namespace sent on the request",
        ));
    }
    Ok(())
}

/// Takes from an object that is to be created the traces of another life.
pub(super) fn forget_old_life(new: &mut Value) {
    for field in [
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "resourceVersion",
        "selfLink",
        "uid",
    ] {
        object::remove(new, &["metadata", field]);
    }
    drop_empty(new);
}

/// Gives a new object what only the server decides: name, uid, time, no traces of another life.
pub(super) fn fill_new(op: &Op<'_>, new: &mut Value) {
    let prefix = object::str_at(new, &["metadata", "generateName"]).to_owned();
    if object::name(new).is_empty() && !prefix.is_empty() {
        let mut end = prefix.len().min(GENERATED_BASE_MAX);
        while !prefix.is_char_boundary(end) {
            end -= 1;
        }
        let suffix = op.core.rng.name_suffix(SUFFIX_LEN);
        object::set(new, &["metadata", "name"], format!("{}{suffix}", &prefix[..end]));
    }
    forget_old_life(new);
    let uid = uuid::Builder::from_random_bytes(op.core.rng.bytes16()).into_uuid();
    object::set(new, &["metadata", "uid"], uid.to_string());
    let now = base::clock::rfc3339_seconds(op.core.clock.now());
    object::set(new, &["metadata", "creationTimestamp"], now);
}

/// Restores what an update may not change. (apiserver `rest.BeforeUpdate`)
pub(super) fn keep_old(new: &mut Value, old: &Value) {
    for field in ["creationTimestamp", "generation", "deletionTimestamp"] {
        restore(new, old, field);
    }
    if object::uid(new).is_empty() {
        restore(new, old, "uid");
    }
    if object::at(new, &["metadata", "deletionGracePeriodSeconds"]).is_none() {
        restore(new, old, "deletionGracePeriodSeconds");
    }
    object::remove(new, &["metadata", "selfLink"]);
    drop_empty(new);
}

fn restore(new: &mut Value, old: &Value, field: &str) {
    match object::at(old, &["metadata", field]) {
        Some(value) => object::set(new, &["metadata", field], value.clone()),
        // A deletion is never begun by an update; validation says so.
        None if field == "deletionTimestamp" => {}
        None => drop(object::remove(new, &["metadata", field])),
    }
}

/// Empty maps, lists and strings in metadata are not there.
fn drop_empty(new: &mut Value) {
    let Some(metadata) = new.get_mut("metadata").and_then(Value::as_object_mut) else { return };
    metadata.retain(|_, value| match value {
        Value::Null => false,
        Value::Object(map) => !map.is_empty(),
        Value::Array(list) => !list.is_empty(),
        Value::String(text) => !text.is_empty(),
        _ => true,
    });
}

/// Removes owner references that are there twice; the warning that upstream gives for it.
pub(super) fn dedup_owners(new: &mut Value) -> Option<String> {
    let owners = object::owner_references(new);
    let mut kept: Vec<Value> = Vec::with_capacity(owners.len());
    let mut doubled = None;
    for owner in owners {
        if kept.contains(owner) {
            doubled.get_or_insert_with(|| object::str_at(owner, &["uid"]).to_owned());
        } else {
            kept.push(owner.clone());
        }
    }
    let doubled = doubled?;
    object::set(new, &["metadata", "ownerReferences"], kept);
    Some(format!(
        ".metadata.ownerReferences contains duplicate entries; API server dedups owner references in 1.20+, and may reject such requests as early as 1.24; please fix your requests; duplicate UID(s) observed: {doubled}"
    ))
}

/// A finalizer list as a value; empty lists go.
pub(super) fn set_finalizers(target: &mut Value, finalizers: &[String]) {
    if finalizers.is_empty() {
        object::remove(target, &["metadata", "finalizers"]);
    } else {
        object::set(target, &["metadata", "finalizers"], json!(finalizers));
    }
}
