//! Deployment: replicas of a pod, replaced step by step when its template changes.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, remove, set, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{not_more, ready_cell, selector_and_template, wide_cells};
use crate::check::{
    immutable, int_or_percent, int_or_percent_value, non_negatives, not_over_hundred_percent,
    required_one_of,
};
use crate::core::pod::defaults;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apps", "deployments")
        .tracks_generation_with_annotations()
        .scaled_by(&["spec", "selector"])
        .rules(Deployment)
}

struct Deployment;

impl Rules for Deployment {
    fn default(&self, object: &mut Value) {
        defaults::template(object, &["spec", "template"]);
        set_default(object, &["spec", "replicas"], 1);
        let kind = ["spec", "strategy", "type"];
        defaults::set_text(object, &kind, "RollingUpdate");
        if str_at(object, &kind) == "RollingUpdate" {
            for field in ["maxUnavailable", "maxSurge"] {
                set_default(object, &["spec", "strategy", "rollingUpdate", field], "25%");
            }
        }
        set_default(object, &["spec", "revisionHistoryLimit"], 10);
        set_default(object, &["spec", "progressDeadlineSeconds"], 600);
    }

    fn prepare_status(&self, _ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        match at(old, &["metadata", "labels"]).cloned() {
            Some(labels) => set(object, &["metadata", "labels"], labels),
            None => {
                remove(object, &["metadata", "labels"]);
            }
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        non_negatives(spec, &["replicas"], errors);
        selector_and_template(spec, "deployment", errors);
        strategy(spec.get("strategy"), errors);
        non_negatives(
            spec,
            &["minReadySeconds", "revisionHistoryLimit", "progressDeadlineSeconds"],
            errors,
        );
        let deadline = spec.get("progressDeadlineSeconds");
        let ready = spec.get("minReadySeconds").int().unwrap_or_default();
        if deadline.int().is_some_and(|seconds| seconds <= ready) {
            errors.push(deadline.invalid("must be greater than minReadySeconds"));
        }
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
            "observedGeneration",
            "replicas",
            "updatedReplicas",
            "readyReplicas",
            "availableReplicas",
            "unavailableReplicas",
            "terminatingReplicas",
            "collisionCount",
        ];
        non_negatives(status, &counts, errors);
        for field in ["updatedReplicas", "readyReplicas", "availableReplicas"] {
            not_more(status, field, "replicas", errors);
        }
        // Upstream lets a status without ready replicas through, whatever it says of available ones,
        // and its conformance test of a Deployment's life writes such a one.
        if status.get("readyReplicas").int().is_some_and(|ready| ready > 0) {
            not_more(status, "availableReplicas", "readyReplicas", errors);
        }
        never_decreases(
            status.get("collisionCount"),
            old.at(&["status", "collisionCount"]),
            errors,
        );
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::core::pod::warnings::of_workload(new, old, &["spec", "template"], true)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![
            table::name(object),
            ready_cell(object),
            table::number_text(object, &["status", "updatedReplicas"]),
            table::number_text(object, &["status", "availableReplicas"]),
            table::age(object, now),
        ];
        wide_cells(object, &mut cells, true);
        cells
    }
}

/// A collision count only grows: names are made from it.
pub(crate) fn never_decreases(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let Some(before) = old.int() else { return };
    match new.int() {
        None => errors.push(new.invalid_as(Value::Null, "cannot be unset")),
        Some(now) if now < before => errors.push(new.invalid("cannot be decremented")),
        Some(_) => {}
    }
}

fn strategy(strategy: Field<'_>, errors: &mut ErrorList) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    required_one_of(kind, &["Recreate", "RollingUpdate"], errors);
    match kind.str() {
        "Recreate" if rolling.is_set() => {
            let text = "may not be specified when strategy `type` is 'Recreate'";
            errors.push(rolling.forbidden(text));
        }
        "RollingUpdate" if !rolling.is_set() => {
            errors.push(rolling.required("this should be defaulted and never be nil"));
        }
        "RollingUpdate" => {
            let (unavailable, surge) = (rolling.get("maxUnavailable"), rolling.get("maxSurge"));
            int_or_percent(unavailable, errors);
            int_or_percent(surge, errors);
            if int_or_percent_value(unavailable) == 0 && int_or_percent_value(surge) == 0 {
                let value = unavailable.value().cloned().unwrap_or_default();
                let text = "may not be 0 when `maxSurge` is 0";
                errors.push(unavailable.invalid_as(value, text));
            }
            not_over_hundred_percent(unavailable, errors);
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn good() -> Value {
        let mut object = json!({"metadata": {"name": "a"}, "spec": {
            "selector": {"matchLabels": {"a": "b"}},
            "template": {"metadata": {"labels": {"a": "b"}},
                "spec": {"containers": [{"name": "c", "image": "i"}]}}}});
        Deployment.default(&mut object);
        object
    }

    fn check(change: impl Fn(&mut Value), expected: &str) {
        let mut object = good();
        change(&mut object);
        let mut errors = ErrorList::new();
        Deployment.validate(Field::root(&object), &mut errors);
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert!(
            found.iter().any(|text| text == expected) || (expected.is_empty() && found.is_empty()),
            "{found:?} has no {expected}"
        );
    }

    #[test]
    fn defaults() {
        let object = good();
        assert_eq!(object["spec"]["replicas"], 1);
        assert_eq!(
            object["spec"]["strategy"],
            json!({"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}})
        );
        assert_eq!(object["spec"]["revisionHistoryLimit"], 10);
        assert_eq!(object["spec"]["progressDeadlineSeconds"], 600);
    }

    #[test]
    fn rows_of_the_validation() {
        check(|_| {}, "");
        check(
            |o| o["spec"]["replicas"] = (-1).into(),
            "spec.replicas: Invalid value: -1: must be greater than or equal to 0",
        );
        check(|o| o["spec"]["selector"] = Value::Null, "spec.selector: Required value");
        check(
            |o| o["spec"]["selector"] = json!({}),
            "spec.selector: Invalid value: {}: empty selector is invalid for deployment",
        );
        check(
            |o| o["spec"]["template"]["metadata"]["labels"] = json!({"a": "c"}),
            "spec.template.metadata.labels: Invalid value: {\"a\":\"c\"}: `selector` does not match template `labels`",
        );
        check(
            |o| o["spec"]["minReadySeconds"] = 600.into(),
            "spec.progressDeadlineSeconds: Invalid value: 600: must be greater than minReadySeconds",
        );
        check(
            |o| o["spec"]["strategy"]["type"] = "Recreate".into(),
            "spec.strategy.rollingUpdate: Forbidden: may not be specified when strategy `type` is 'Recreate'",
        );
        check(
            |o| {
                o["spec"]["strategy"]["rollingUpdate"] = json!({"maxSurge": 0, "maxUnavailable": 0})
            },
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: 0: may not be 0 when `maxSurge` is 0",
        );
        check(
            |o| o["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] = "101%".into(),
            "spec.strategy.rollingUpdate.maxUnavailable: Invalid value: \"101%\": must not be greater than 100%",
        );
        check(
            |o| o["spec"]["template"]["spec"]["restartPolicy"] = "Never".into(),
            "spec.template.spec.restartPolicy: Unsupported value: \"Never\": supported values: \"Always\"",
        );
        check(
            |o| o["spec"]["template"]["spec"]["containers"] = json!([]),
            "spec.template.spec.containers: Required value",
        );
    }
}
