//! PodDisruptionBudget: how many of a set of pods may be gone at once by choice.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::at;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{
    self, int_or_percent, label_selector, non_negatives, not_over_hundred_percent, one_of,
};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("policy", "poddisruptionbudgets")
        .named(api::validate::path_segment)
        .tracks_generation()
        .needs_resource_version()
        .rules(Budget)
}

struct Budget;

impl Rules for Budget {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let (min, max) = (spec.get("minAvailable"), spec.get("maxUnavailable"));
        if min.is_set() && max.is_set() {
            let value = spec.value().cloned().unwrap_or_default();
            let text = "minAvailable and maxUnavailable cannot be both set";
            errors.push(spec.invalid_as(value, text));
        }
        for one in [min, max] {
            int_or_percent(one, errors);
            not_over_hundred_percent(one, errors);
        }
        label_selector(spec.get("selector"), errors);
        one_of(spec.get("unhealthyPodEvictionPolicy"), &["AlwaysAllow", "IfHealthyBudget"], errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let status = new.get("status");
        let counts = ["disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"];
        non_negatives(status, &counts, errors);
        check::conditions(status.get("conditions"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |field| at(object, &["spec", field]).map_or("N/A".to_owned(), table::plain);
        vec![
            table::name(object),
            text("minAvailable").into(),
            text("maxUnavailable").into(),
            table::number(object, &["status", "disruptionsAllowed"]),
            table::age(object, now),
        ]
    }
}
