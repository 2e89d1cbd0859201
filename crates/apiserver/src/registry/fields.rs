//! Whose fields are whose: `managedFields`, kept on every write.

use api::Value;
use api::object;
use api::status::ApiResult;

use super::Op;

impl Op<'_> {
    /// Notes in the new object's `managedFields` what this write changed.
    pub(super) fn track_fields(&self, old: Option<&Value>, new: &mut Value) -> ApiResult<()> {
        let kept = old.and_then(|old| object::at(old, &["metadata", "managedFields"])).cloned();
        if let (None, Some(kept)) = (object::at(new, &["metadata", "managedFields"]), kept) {
            object::set(new, &["metadata", "managedFields"], kept);
        }
        Ok(())
    }
}
