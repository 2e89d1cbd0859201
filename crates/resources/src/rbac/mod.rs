//! `rbac.authorization.k8s.io`: who may do what.

pub mod binding;
pub mod role;

use api::validate;

/// The names of RBAC objects are segments of a path; colons are common in them.
pub(crate) fn name_rule(name: &str, prefix: bool) -> Vec<String> {
    validate::path_segment(name, prefix)
}
