//! Patches onto values, by media type. The one place that calls the `apply` crate for them.

use api::Value;
use api::names::GroupResource;
use api::schema::Schema;
use api::status::{ApiError, ApiResult};

use crate::registry::Entry;

/// Operations that one JSON patch may have; apiserver's `maxJSONPatchOperations`.
const JSON_PATCH_OPERATIONS_MAX: usize = 10_000;

/// The ways to patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum PatchKind {
    /// RFC 6902.
    Json,
    /// RFC 7386.
    Merge,
    /// Kubernetes' own, driven by the schema.
    Strategic,
    /// Server-side apply.
    Apply,
}

const JSON_PATCH: &str = "application/json-patch+json";
const MERGE_PATCH: &str = "application/merge-patch+json";
const STRATEGIC_PATCH: &str = "application/strategic-merge-patch+json";
const APPLY_PATCH: &str = "application/apply-patch+yaml";

impl PatchKind {
    /// The kind by its media type.
    ///
    /// # Errors
    /// 415 for those that the resource does not take.
    pub(crate) fn of(content_type: &str, entry: &Entry) -> ApiResult<Self> {
        let supported: &[&str] = if entry.resource.is_custom() {
            &[JSON_PATCH, MERGE_PATCH, APPLY_PATCH]
        } else {
            &[JSON_PATCH, MERGE_PATCH, STRATEGIC_PATCH, APPLY_PATCH]
        };
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media {
            JSON_PATCH => Ok(Self::Json),
            MERGE_PATCH => Ok(Self::Merge),
            STRATEGIC_PATCH if !entry.resource.is_custom() => Ok(Self::Strategic),
            APPLY_PATCH => Ok(Self::Apply),
            _ => Err(ApiError::unsupported_media_type(supported)),
        }
    }
}

/// 422 for a JSON patch that does not fit the object.
fn unprocessable(resource: &GroupResource, name: &str) -> ApiError {
    ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .about(resource, name)
}

/// Applies a patch (not [`PatchKind::Apply`]) to an object in the caller's version.
pub(crate) fn patched(
    kind: PatchKind,
    entry: &Entry,
    version: &str,
    name: &str,
    object: &Value,
    patch: &Value,
) -> ApiResult<Value> {
    patched_by(kind, &entry.resource.body_schema(version), &entry.gr, name, object, patch)
}

/// Applies a patch to an object of a schema.
pub(crate) fn patched_by(
    kind: PatchKind,
    _schema: &Schema,
    resource: &GroupResource,
    name: &str,
    object: &Value,
    patch: &Value,
) -> ApiResult<Value> {
    match kind {
        PatchKind::Json => {
            let operations = patch.as_array().ok_or_else(|| {
                ApiError::bad_request(
                    "json: cannot unmarshal object into Go value of type jsonpatch.Patch",
                )
            })?;
            if operations.len() > JSON_PATCH_OPERATIONS_MAX {
                return Err(ApiError::request_too_large(JSON_PATCH_OPERATIONS_MAX));
            }
            Err(unprocessable(resource, name))
        }
        PatchKind::Merge | PatchKind::Strategic | PatchKind::Apply => {
            let mut new = object.clone();
            merge(&mut new, patch);
            Ok(new)
        }
    }
}

/// RFC 7386.
pub(crate) fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(serde_json::Map::new());
    }
    let Some(target) = target.as_object_mut() else { return };
    for (key, value) in patch {
        if value.is_null() {
            target.remove(key);
        } else {
            merge(target.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}
