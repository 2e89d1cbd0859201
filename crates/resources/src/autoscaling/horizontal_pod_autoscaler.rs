//! HorizontalPodAutoscaler: sets a workload's replicas by what its pods use. Stored as `v2`.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set, set_default, str_at};
use api::status::ApiResult;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;
use serde_json::json;

use super::{convert, metrics};
use crate::check::{non_negatives, one_of, quantity_non_negative, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("autoscaling", "horizontalpodautoscalers").rules(Autoscaler)
}

struct Autoscaler;

impl Rules for Autoscaler {
    fn default(&self, object: &mut Value) {
        set_default(object, &["spec", "minReplicas"], 1);
        if list_at(object, &["spec", "metrics"]).is_empty() {
            let cpu = json!([{"type": "Resource", "resource": {"name": "cpu",
                "target": {"type": "Utilization", "averageUtilization": 80}}}]);
            set(object, &["spec", "metrics"], cpu);
        }
        if at(object, &["spec", "behavior"]).is_some() {
            behavior(&mut object["spec"]["behavior"]);
        }
    }

    fn convert(&self, object: Value, _from: &str, to: &str) -> ApiResult<Value> {
        Ok(if to == "v1" { convert::to_v1(object) } else { convert::to_v2(object) })
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let (min, max) = (spec.get("minReplicas"), spec.get("maxReplicas"));
        if min.int().is_some_and(|value| value < 1) {
            errors.push(min.invalid("must be greater than or equal to 1"));
        }
        let most = max.int().unwrap_or_default();
        if most < 1 {
            errors.push(max.invalid_as(most, "must be greater than 0"));
        }
        if min.int().is_some_and(|least| most < least) {
            errors.push(max.invalid_as(most, "must be greater than or equal to `minReplicas`"));
        }
        let target = spec.get("scaleTargetRef");
        for field in ["kind", "name"] {
            let field = Field::get(target, field);
            if required(field, errors) {
                rule(field, |text| validate::path_segment(text, false), errors);
            }
        }
        metrics::validate(spec.get("metrics"), errors);
        for direction in ["scaleUp", "scaleDown"] {
            rules(spec.get("behavior").get(direction), errors);
        }
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        target_group(new.at(&["spec", "scaleTargetRef"]), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let (target, before) =
            (new.at(&["spec", "scaleTargetRef"]), old.at(&["spec", "scaleTargetRef"]));
        // What was stored before may stay.
        if ["apiVersion", "kind"]
            .iter()
            .any(|name| target.get(name).str() != before.get(name).str())
        {
            target_group(target, errors);
        }
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        non_negatives(new.get("status"), &["currentReplicas", "desiredReplicas"], errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        // Rows are made of either version; the old one is brought into the new form.
        let new;
        let object = if object["apiVersion"] == "autoscaling/v1" {
            new = convert::to_v2(object.clone());
            &new
        } else {
            object
        };
        let target = at(object, &["spec", "scaleTargetRef"]);
        let part = |field| target.map_or("", |target| str_at(target, &[field]));
        let min = match at(object, &["spec", "minReplicas"]) {
            Some(min) => min.to_string(),
            None => table::UNSET.to_owned(),
        };
        vec![
            table::name(object),
            format!("{}/{}", part("kind"), part("name")).into(),
            metrics::text(object).into(),
            min.into(),
            table::number_text(object, &["spec", "maxReplicas"]),
            table::number_text(object, &["status", "currentReplicas"]),
            table::age(object, now),
        ]
    }
}

/// What is scaled is of a group; only ReplicationControllers have none.
fn target_group(target: Field<'_>, errors: &mut ErrorList) {
    let api_version = target.get("apiVersion");
    let (group, _) = api::names::split_api_version(api_version.str());
    if group.is_empty() && target.get("kind").str() != "ReplicationController" {
        let text = "apiVersion must specify API group";
        errors.push(api_version.invalid_as(api_version.str(), text));
    }
}

fn behavior(behavior: &mut Value) {
    let up = json!([{"type": "Pods", "value": 4, "periodSeconds": 15},
        {"type": "Percent", "value": 100, "periodSeconds": 15}]);
    let down = json!([{"type": "Percent", "value": 100, "periodSeconds": 15}]);
    set_default(behavior, &["scaleUp", "stabilizationWindowSeconds"], 0);
    for (direction, policies) in [("scaleUp", up), ("scaleDown", down)] {
        set_default(behavior, &[direction, "selectPolicy"], "Max");
        if list_at(behavior, &[direction, "policies"]).is_empty() {
            set(behavior, &[direction, "policies"], policies);
        }
    }
}

fn rules(rules: Field<'_>, errors: &mut ErrorList) {
    if !rules.is_set() {
        return;
    }
    let window = rules.get("stabilizationWindowSeconds");
    match window.int() {
        Some(seconds) if seconds < 0 => {
            errors.push(window.invalid("must be greater than or equal to zero"))
        }
        Some(seconds) if seconds > 3600 => {
            errors.push(window.invalid("must be less than or equal to 3600"))
        }
        _ => {}
    }
    one_of(rules.get("selectPolicy"), &["Disabled", "Max", "Min"], errors);
    quantity_non_negative(rules.get("tolerance"), errors);
    let policies = rules.get("policies");
    if policies.is_empty() {
        errors.push(policies.required("must specify at least one Policy"));
    }
    for policy in policies.items() {
        let kind = policy.get("type");
        if !matches!(kind.str(), "Pods" | "Percent") {
            errors.push(kind.not_supported(&["Percent", "Pods"]));
        }
        let value = policy.get("value");
        if value.int().unwrap_or_default() <= 0 {
            errors.push(
                value.invalid_as(value.int().unwrap_or_default(), "must be greater than zero"),
            );
        }
        let period = policy.get("periodSeconds");
        match period.int().unwrap_or_default() {
            seconds if seconds <= 0 => {
                errors.push(period.invalid_as(seconds, "must be greater than zero"));
            }
            seconds if seconds > 1800 => {
                errors.push(period.invalid("must be less than or equal to 1800"));
            }
            _ => {}
        }
    }
}
