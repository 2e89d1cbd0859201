//! What the numbers of a scale must be, when a version has one.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object;
use apiserver::resource::ScalePaths;

/// What is wrong with the numbers that a scale shows.
pub(super) fn validate(paths: &ScalePaths, object: &Value, errors: &mut ErrorList) {
    for at in [&paths.spec_replicas, &paths.status_replicas] {
        let parts: Vec<&str> = at.iter().map(|part| &**part).collect();
        let Some(count) = object::int_at(object, &parts) else { continue };
        let path = Path::new(&parts.join("."));
        if count < 0 {
            errors.push(FieldError::invalid(path, count, "should be a non-negative integer"));
        } else if count > i64::from(i32::MAX) {
            let why = format!("should be less than or equal to {}", i32::MAX);
            errors.push(FieldError::invalid(path, count, why));
        }
    }
}
