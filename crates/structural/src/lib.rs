//! Structural schemas (`openAPIV3Schema`): what a custom resource may be, what of it is kept, what
//! is filled in.
//!
//! Invariants: pure and synchronous; a schema is compiled once, and nothing here panics or recurses
//! without bound, whatever the schema or the object. Messages are those of kube-openapi's validator
//! as apiextensions-apiserver reports them. What is *wrong with a schema* is judged by the
//! CustomResourceDefinition's own validation, which asks here about defaults.

mod check;
mod defaults;
mod embedded;
mod fill;
mod format;
mod junctors;
mod lists;
mod node;
mod report;

pub use defaults::check_defaults;
pub use format::is_known_format;
pub use node::{ListKind, Node, Type};

use api::Value;
use api::field::{ErrorList, Path};

/// What is wrong with a new object.
#[must_use]
pub fn validate(node: &Node, object: &Value) -> ErrorList {
    let mut errors = report::errors(check::check(node, object, None, "").problems, &Path::root());
    embedded::validate(node, object, &Path::root(), &mut errors);
    lists::validate(node, object, &Path::root(), &mut errors);
    errors
}

/// What is wrong with a change: what was wrong before and is as it was is tolerated. (KEP-4008)
#[must_use]
pub fn validate_change(node: &Node, object: &Value, old: &Value) -> ErrorList {
    let found = check::check(node, object, Some(old), "");
    let mut errors = report::errors(found.problems, &Path::root());
    embedded::validate(node, object, &Path::root(), &mut errors);
    let mut before = ErrorList::new();
    lists::validate(node, old, &Path::root(), &mut before);
    if before.is_empty() {
        lists::validate(node, object, &Path::root(), &mut errors);
    }
    errors
}
