//! DaemonSet: one pod on every node, or on every node of a kind.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::deployment::never_decreases;
use super::{selector_and_template, wide_cells};
use crate::check::{
    immutable, int_or_percent, int_or_percent_value, non_negatives, not_over_hundred_percent,
    required_one_of,
};
use crate::core::pod::defaults;
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The annotation that counts changes of the template, for clients of old versions.
const TEMPLATE_GENERATION: &str = "deprecated.daemonset.template.generation";

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apps", "daemonsets").tracks_generation().rules(DaemonSet)
}

struct DaemonSet;

impl Rules for DaemonSet {
    fn default(&self, object: &mut Value) {
        defaults::template(object, &["spec", "template"]);
        let kind = ["spec", "updateStrategy", "type"];
        defaults::set_text(object, &kind, "RollingUpdate");
        if str_at(object, &kind) == "RollingUpdate" {
            let path = |field| ["spec", "updateStrategy", "rollingUpdate", field];
            set_default(object, &path("maxUnavailable"), 1);
            set_default(object, &path("maxSurge"), 0);
        }
        set_default(object, &["spec", "revisionHistoryLimit"], 10);
    }

    fn prepare_create(&self, _ctx: &WriteContext<'_>, object: &mut Value) {
        let given = api::object::annotation(object, TEMPLATE_GENERATION);
        if given.and_then(|text| text.parse().ok()).is_none_or(|count: i64| count < 1) {
            set(object, &["metadata", "annotations", TEMPLATE_GENERATION], "1");
        }
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        let template = |object| at(object, &["spec", "template"]);
        let changed = !same(template(object), template(old));
        let before: i64 = api::object::annotation(old, TEMPLATE_GENERATION)
            .and_then(|text| text.parse().ok())
            .unwrap_or_default();
        let count = (before + i64::from(changed)).to_string();
        set(object, &["metadata", "annotations", TEMPLATE_GENERATION], count);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        selector_and_template(spec, "daemonset", errors);
        non_negatives(spec, &["minReadySeconds", "revisionHistoryLimit"], errors);
        strategy(spec.get("updateStrategy"), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.at(&["spec", "selector"]), old.at(&["spec", "selector"]), errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let status = new.get("status");
        let counts = [
            "currentNumberScheduled",
            "numberMisscheduled",
            "desiredNumberScheduled",
            "numberReady",
            "observedGeneration",
            "updatedNumberScheduled",
            "numberAvailable",
            "numberUnavailable",
            "collisionCount",
        ];
        non_negatives(status, &counts, errors);
        never_decreases(
            status.get("collisionCount"),
            old.at(&["status", "collisionCount"]),
            errors,
        );
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::core::pod::warnings::of_workload(new, old, &["spec", "template"], false)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = |field| table::number(object, &["status", field]);
        let selector = at(object, &["spec", "template", "spec", "nodeSelector"]);
        let mut cells = vec![
            table::name(object),
            count("desiredNumberScheduled"),
            count("currentNumberScheduled"),
            count("numberReady"),
            count("updatedNumberScheduled"),
            count("numberAvailable"),
            table::labels(selector).into(),
            table::age(object, now),
        ];
        wide_cells(object, &mut cells, true);
        cells
    }
}

fn strategy(strategy: Field<'_>, errors: &mut ErrorList) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    required_one_of(kind, &["OnDelete", "RollingUpdate"], errors);
    if kind.str() != "RollingUpdate" {
        return;
    }
    if !rolling.is_set() {
        errors.push(rolling.required(""));
        return;
    }
    let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
    for one in [unavailable, surge] {
        int_or_percent(one, errors);
        not_over_hundred_percent(one, errors);
    }
    match (int_or_percent_value(unavailable) != 0, int_or_percent_value(surge) != 0) {
        (true, true) => {
            let value = surge.value().cloned().unwrap_or_default();
            let text = "may not be set when maxUnavailable is non-zero";
            errors.push(surge.invalid_as(value, text));
        }
        (false, false) => errors.push(unavailable.required("cannot be 0 when maxSurge is 0")),
        _ => {}
    }
}
