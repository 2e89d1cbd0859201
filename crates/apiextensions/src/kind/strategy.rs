//! What a writer may decide of a custom resource, and what is wrong with what it wrote.
//! (apiextensions-apiserver `pkg/registry/customresource`)

use api::Value;
use api::field::{ErrorKind, ErrorList, FieldError, Path};
use api::object;

use super::scale;
use crate::definition::Version;

/// A creator sets no status, and starts at generation 1.
pub(super) fn prepare_create(version: &Version, object: &mut Value) {
    if version.has_status {
        object::remove(object, &["status"]);
    }
    object::set(object, &["metadata", "generation"], 1);
}

/// The object itself keeps its status; `status` keeps everything else, metadata too.
pub(super) fn prepare_update(
    version: &Version,
    subresource: Option<&str>,
    object: &mut Value,
    old: &Value,
) {
    if subresource == Some("status") {
        let status = object::remove(object, &["status"]);
        let managed = object::remove(object, &["metadata", "managedFields"]);
        *object = old.clone();
        for (path, value) in [(&["status"][..], status), (&["metadata", "managedFields"], managed)]
        {
            match value {
                Some(value) => object::set(object, path, value),
                None => drop(object::remove(object, path)),
            }
        }
        return;
    }
    if version.has_status {
        match old.get("status") {
            Some(status) => object["status"] = status.clone(),
            None => drop(object::remove(object, &["status"])),
        }
    }
    let changed = !same_but_metadata(object, old);
    let generation = object::generation(old) + i64::from(changed);
    object::set(object, &["metadata", "generation"], generation);
}

fn same_but_metadata(new: &Value, old: &Value) -> bool {
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else { return new == old };
    let body = |(name, _): &(&String, &Value)| name.as_str() != "metadata";
    new.iter().filter(body).eq(old.iter().filter(body))
}

/// What is wrong with an object, new or changed.
pub(super) fn validate(version: &Version, object: &Value, old: Option<&Value>) -> ErrorList {
    let mut errors = match old {
        Some(old) => structural::validate_change(&version.node, object, old),
        None => structural::validate(&version.node, object),
    };
    if let Some(paths) = &version.scale {
        scale::validate(paths, object, &mut errors);
    }
    if let Some(rules) = &version.rules {
        if errors.iter().any(|error| blocks_rules(error.kind)) {
            errors.push(FieldError::invalid(Path::root(), Value::Null, "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation"));
        } else {
            errors.extend(rules.check(object, old).errors);
        }
    }
    errors
}

/// Rules are written for objects of the right shape.
fn blocks_rules(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::NotSupported
            | ErrorKind::Required
            | ErrorKind::TooLong
            | ErrorKind::TooMany
            | ErrorKind::TypeInvalid
    )
}

/// Rules that were broken before and still are, and finalizers that two writers could mean by the
/// same word.
pub(super) fn warnings(version: &Version, object: &Value, old: Option<&Value>) -> Vec<String> {
    let rules = version.rules.as_ref().filter(|_| old.is_some());
    let mut warnings = rules.map(|rules| rules.check(object, old).warnings).unwrap_or_default();
    let before: Vec<&str> = old.into_iter().flat_map(object::finalizers).collect();
    let mut new: Vec<&str> =
        object::finalizers(object).filter(|name| !before.contains(name)).collect();
    new.sort_unstable();
    let doubtful = new
        .into_iter()
        .filter(|name| !name.contains('/') && !matches!(*name, "orphan" | "foregroundDeletion"))
        .map(|name| format!("metadata.finalizers: {name:?}: prefer a domain-qualified finalizer name including a path (/) to avoid accidental conflicts with other finalizer writers"));
    warnings.extend(doubtful);
    warnings
}
