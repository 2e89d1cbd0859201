//! Bindings of `rbac.authorization.k8s.io`: what they refer to is of the group when they do not say,
//! and in `v1alpha1` subjects have an `apiVersion` instead of a group.

use api::Value;
use api::object::{remove, set, set_default, str_at};

use super::items;

const GROUP: &str = "rbac.authorization.k8s.io";
const ALPHA: &str = "rbac.authorization.k8s.io/v1alpha1";

/// A role that is referred to without a group is one of this group.
pub(super) fn refer(binding: &mut Value) {
    if str_at(binding, &["roleRef", "apiGroup"]).is_empty() {
        set(binding, &["roleRef", "apiGroup"], GROUP);
    }
    for subject in items(binding, &["subjects"]) {
        if matches!(str_at(subject, &["kind"]), "User" | "Group") {
            set_default(subject, &["apiGroup"], GROUP);
        }
    }
}

pub(super) fn to_current(binding: &mut Value) {
    for subject in items(binding, &["subjects"]) {
        let version = remove(subject, &["apiVersion"]);
        let version = version.as_ref().and_then(Value::as_str).unwrap_or_default();
        let is_account = str_at(subject, &["kind"]) == "ServiceAccount";
        if version.starts_with(GROUP) || version.is_empty() && !is_account {
            set(subject, &["apiGroup"], GROUP);
        }
        // In `v1alpha1` all users had a name of their own.
        if str_at(subject, &["kind"]) == "User" && str_at(subject, &["name"]) == "*" {
            set(subject, &["kind"], "Group");
            set(subject, &["name"], "system:authenticated");
        }
    }
    refer(binding);
}

pub(super) fn from_current(binding: &mut Value) {
    for subject in items(binding, &["subjects"]) {
        let group = remove(subject, &["apiGroup"]);
        let is_own = group.as_ref().and_then(Value::as_str) == Some(GROUP);
        set(subject, &["apiVersion"], if is_own { ALPHA } else { "v1" });
    }
}
