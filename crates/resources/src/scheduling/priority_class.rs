//! PriorityClass: how important pods are.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{immutable, required_one_of};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("scheduling.k8s.io", "priorityclasses").tracks_generation().rules(PriorityClass)
}

struct PriorityClass;

/// What users may ask for; above it are the system's own.
const USER_MAX: i64 = 1_000_000_000;
const SYSTEM: [(&str, i64); 2] =
    [("system-cluster-critical", 2_000_000_000), ("system-node-critical", 2_000_001_000)];

impl Rules for PriorityClass {
    fn default(&self, object: &mut Value) {
        set_default(object, &["preemptionPolicy"], "PreemptLowerPriority");
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        let (name, value) = (new.at(&["metadata", "name"]), new.get("value"));
        let number = value.int().unwrap_or_default();
        if let Some((_, fixed)) = SYSTEM.iter().find(|(known, _)| *known == name.str()) {
            if number != *fixed {
                let text = format!(
                    "priority class names with 'system-' prefix are reserved for system use only. error: value of {} PriorityClass must be {fixed}",
                    name.str()
                );
                errors.push(name.forbidden(text));
            }
        } else if name.str().starts_with("system-") {
            let text = format!(
                "priority class names with 'system-' prefix are reserved for system use only. error: {} is not a known system priority class",
                name.str()
            );
            errors.push(name.forbidden(text));
        } else if number > USER_MAX {
            let text = format!("maximum allowed value of a user defined priority is {USER_MAX}");
            errors.push(value.forbidden(text));
        }
        required_one_of(new.get("preemptionPolicy"), &["Never", "PreemptLowerPriority"], errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        if new.get("value").int().unwrap_or_default() != old.get("value").int().unwrap_or_default()
        {
            errors.push(new.get("value").forbidden("may not be changed in an update."));
        }
        immutable(new.get("preemptionPolicy"), old.get("preemptionPolicy"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let global = at(object, &["globalDefault"]).and_then(Value::as_bool);
        vec![
            table::name(object),
            table::number(object, &["value"]),
            global.unwrap_or_default().into(),
            table::age(object, now),
            str_at(object, &["preemptionPolicy"]).into(),
        ]
    }
}
