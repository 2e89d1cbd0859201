//! Changing objects by patches, and knowing who owns which field: JSON patch, merge patch,
//! strategic merge patch (with the three-way patch of `kubectl apply`), server-side apply.
//!
//! Invariants: pure; objects are JSON values in the form that `api::decode` leaves them in; errors
//! carry upstream's codes and texts. What comes out of a patch has to go through
//! `api::decode::value` again, which drops unknown fields and makes the form canonical.

mod json;
mod merge;
pub mod ssa;
pub mod strategic;

pub use json::json_patch;
pub use merge::{create_merge_patch, create_three_way_merge_patch, merge_patch};
pub use strategic::strategic_merge_patch;

use api::status::ApiError;

/// 422 as upstream says it of a patch that can be read and not be applied; the cause stays in the
/// server's log.
fn unprocessable() -> ApiError {
    ApiError::new(422, "Invalid", "the server rejected our request due to an error in our request")
        .about_nothing()
}
