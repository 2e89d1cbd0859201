//! Patches onto values, by media type. The one place that calls the `apply` crate for them.

use api::Value;
use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use bytes::Bytes;

use crate::registry::Entry;

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
        let supported = &[JSON_PATCH, MERGE_PATCH, APPLY_PATCH];
        let media = content_type.split(';').next().unwrap_or_default().trim();
        match media {
            JSON_PATCH => Ok(Self::Json),
            MERGE_PATCH => Ok(Self::Merge),
            STRATEGIC_PATCH if !entry.resource.is_custom() => Ok(Self::Strategic),
            APPLY_PATCH => Ok(Self::Apply),
            _ if entry.resource.is_custom() => Err(ApiError::unsupported_media_type(supported)),
            _ => {
                let text = "415: Unsupported Media Type";
                Err(ApiError::new(415, "UnsupportedMediaType", text).about_nothing())
            }
        }
    }
}

/// A patch that is not an apply, ready to be applied again and again.
#[derive(Debug)]
pub(crate) enum Patch {
    /// Kept as it came: it is read for each object.
    Json(Bytes),
    /// A merge patch.
    Merge(Value),
    /// A strategic merge patch.
    Strategic(Value),
}

impl Patch {
    /// The patch applied to an object that is in the form of the schema.
    ///
    /// # Errors
    /// 400 or 422 when the patch does not fit.
    pub(crate) fn apply(&self, object: &Value, schema: &Schema) -> ApiResult<Value> {
        match self {
            Self::Json(patch) => apply::json_patch(object, patch),
            Self::Merge(patch) => Ok(apply::merge_patch(object, patch)),
            Self::Strategic(patch) => apply::strategic_merge_patch(object, patch, schema),
        }
    }
}
