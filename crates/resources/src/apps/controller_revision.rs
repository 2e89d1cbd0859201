//! ControllerRevision: one state of a workload, kept so that one can go back to it.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::controller_text;
use crate::check::{immutable, non_negative};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apps", "controllerrevisions").rules(ControllerRevision)
}

struct ControllerRevision;

impl Rules for ControllerRevision {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let data = object.get("data");
        if !data.is_set() {
            errors.push(data.required("data is mandatory"));
        } else if !data.value().is_some_and(Value::is_object) {
            let text = "data must be a valid JSON object";
            errors.push(data.invalid_as("<value omitted>", text));
        }
        non_negative(object.get("revision"), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("data"), old.get("data"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let owner = controller_text(object).unwrap_or_else(|| NONE.to_owned());
        vec![
            table::name(object),
            owner.into(),
            table::number_text(object, &["revision"]),
            table::age(object, now),
        ]
    }
}
