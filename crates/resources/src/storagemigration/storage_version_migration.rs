//! StorageVersionMigration: every object of a resource is to be written anew.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{self, immutable, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("storagemigration.k8s.io", "storageversionmigrations")
        .needs_resource_version()
        .rules(Migration)
}

struct Migration;

impl Rules for Migration {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let resource = object.at(&["spec", "resource"]);
        if required(resource.get("resource"), errors) {
            rule(resource.get("resource"), validate::dns1035_label, errors);
        }
        rule(resource.get("group"), validate::dns1123_subdomain, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("spec"), old.get("spec"), errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        check::conditions(new.at(&["status", "conditions"]), errors);
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let (group, resource) = (
            str_at(object, &["spec", "resource", "group"]),
            str_at(object, &["spec", "resource", "resource"]),
        );
        let text =
            if group.is_empty() { resource.to_owned() } else { format!("{resource}.{group}") };
        let state = ["Running", "Failed", "Succeeded"].into_iter().find(|kind| {
            table::condition(object, kind).is_some_and(|one| str_at(one, &["status"]) == "True")
        });
        vec![table::name(object), text.into(), state.unwrap_or("Unknown").into()]
    }
}
