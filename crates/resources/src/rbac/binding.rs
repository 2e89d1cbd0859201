//! RoleBinding and ClusterRoleBinding: who has a role.

use std::sync::Arc;

use api::Value;
use api::field::{ErrorList, FieldError};
use api::object::{list_at, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::name_rule;
use crate::check::required;
use crate::core::pod::defaults::{each, set_text};
use crate::cursor::{Field, rule, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

const GROUP: &str = "rbac.authorization.k8s.io";

/// RoleBinding.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "rolebindings")
        .named(name_rule)
        .creates_on_update()
        .rules(Binding { roles: &["ClusterRole", "Role"] })
}

/// ClusterRoleBinding.
#[must_use]
pub fn cluster_kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "clusterrolebindings")
        .named(name_rule)
        .creates_on_update()
        .rules(Binding { roles: &["ClusterRole"] })
}

struct Binding {
    /// The kinds of role that may be bound.
    roles: &'static [&'static str],
}

impl Rules for Binding {
    fn default(&self, object: &mut Value) {
        set_text(object, &["roleRef", "apiGroup"], GROUP);
        each(object, &["subjects"], |subject| {
            if matches!(str_at(subject, &["kind"]), "User" | "Group") {
                set_text(subject, &["apiGroup"], GROUP);
            }
        });
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let role = object.get("roleRef");
        if role.get("apiGroup").str() != GROUP {
            errors.push(role.get("apiGroup").not_supported(&[GROUP]));
        }
        if !self.roles.contains(&role.get("kind").str()) {
            let kind = role.get("kind");
            // A role of the namespace comes first where there is one.
            let known: Vec<&str> = self.roles.iter().rev().copied().collect();
            errors.push(FieldError::not_supported_in(kind.path(), kind.str(), &known));
        }
        if required(role.get("name"), errors) {
            rule(role.get("name"), |text| validate::path_segment(text, false), errors);
        }
        for subject in object.get("subjects").items() {
            // The accounts of a RoleBinding are those of its own namespace, unless it says otherwise.
            let namespaced = self.roles.len() > 1;
            self::subject(subject, namespaced, errors);
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let role = new.get("roleRef");
        if !same(role.value(), old.get("roleRef").value()) {
            let value = role.value().cloned().unwrap_or_default();
            errors.push(role.invalid_as(value, "cannot change roleRef"));
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let role = format!(
            "{}/{}",
            str_at(object, &["roleRef", "kind"]),
            str_at(object, &["roleRef", "name"])
        );
        let named = |kind: &str| -> Value {
            let all: Vec<String> = list_at(object, &["subjects"])
                .iter()
                .filter(|subject| subject["kind"] == kind)
                .map(|subject| {
                    let name = str_at(subject, &["name"]);
                    if kind == "ServiceAccount" {
                        format!("{}/{name}", str_at(subject, &["namespace"]))
                    } else {
                        name.to_owned()
                    }
                })
                .collect();
            all.join(", ").into()
        };
        vec![
            table::name(object),
            role.into(),
            table::age(object, now),
            named("User"),
            named("Group"),
            named("ServiceAccount"),
        ]
    }
}

fn subject(subject: Field<'_>, namespaced: bool, errors: &mut ErrorList) {
    required(subject.get("name"), errors);
    let (kind, group, namespace) =
        (subject.get("kind"), subject.get("apiGroup"), subject.get("namespace"));
    match kind.str() {
        "ServiceAccount" => {
            rule(subject.get("name"), validate::dns1123_subdomain, errors);
            if !group.is_empty() {
                errors.push(group.not_supported(&[""]));
            }
            if namespace.is_empty() && !namespaced {
                errors.push(namespace.required(""));
            }
        }
        "User" | "Group" => {
            if group.str() != GROUP {
                errors.push(group.not_supported(&[GROUP]));
            }
        }
        _ => {
            let kinds = ["ServiceAccount", "User", "Group"];
            errors.push(FieldError::not_supported_in(kind.path(), kind.str(), &kinds));
        }
    }
}
