//! RuntimeClass: by which handler of the container runtime pods are run.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{self, immutable, required};
use crate::core::pod::validation::resources::container_resource_name;
use crate::core::pod::validation::scheduling::tolerations;
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("node.k8s.io", "runtimeclasses")
        .needs_resource_version()
        .creates_on_update()
        .rules(RuntimeClass)
}

struct RuntimeClass;

impl Rules for RuntimeClass {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let handler = object.get("handler");
        if required(handler, errors) {
            rule(handler, validate::dns1123_label, errors);
        }
        // Checked as the limits of a container, and shown as them.
        for (name, value) in object.at(&["overhead", "podFixed"]).entries() {
            let shown = object.at(&["overhead", "limits"]).key(name).with(value.value());
            container_resource_name(name, shown, errors);
            check::resource_quantity(name, shown, errors);
        }
        let scheduling = object.get("scheduling");
        check::labels(scheduling.get("nodeSelector"), errors);
        tolerations(scheduling.get("tolerations"), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("handler"), old.get("handler"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let handler = str_at(object, &["handler"]);
        vec![table::name(object), handler.into(), table::age(object, now)]
    }
}
