//! PodGroup (alpha): pods that are scheduled together or not at all.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{self, immutable};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("scheduling.k8s.io", "podgroups").rules(PodGroup)
}

struct PodGroup;

/// Exactly one policy, `basic` or `gang` with at least one pod.
pub(crate) fn policy(policy: Field<'_>, errors: &mut ErrorList) {
    let (basic, gang) = (policy.get("basic"), policy.get("gang"));
    match (basic.is_set(), gang.is_set()) {
        (false, false) => {
            let value = policy.value().cloned().unwrap_or_else(|| serde_json::json!({}));
            errors.push(policy.invalid_as(value, "must specify one of: `basic`, `gang`"));
        }
        (true, true) => {
            let value = policy.value().cloned().unwrap_or_default();
            let text = "must specify exactly one of: `basic`, `gang`";
            errors.push(policy.invalid_as(value, text));
        }
        _ => {}
    }
    let count = gang.get("minCount");
    if gang.is_set() && count.int().unwrap_or_default() < 1 {
        let value = count.int().unwrap_or_default();
        errors.push(count.invalid_as(value, "must be greater than or equal to 1"));
    }
}

impl Rules for PodGroup {
    fn default(&self, object: &mut Value) {
        set_default(object, &["spec", "disruptionMode"], "Pod");
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        policy(object.at(&["spec", "schedulingPolicy"]), errors);
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

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let gang = at(object, &["spec", "schedulingPolicy", "gang"]).is_some();
        let workload = str_at(object, &["spec", "podGroupTemplateRef", "workload", "workloadName"]);
        vec![
            table::name(object),
            if gang { "Gang" } else { "Basic" }.into(),
            if workload.is_empty() { NONE } else { workload }.into(),
            state(object).into(),
            table::age(object, now),
        ]
    }
}

fn state(object: &Value) -> String {
    let found = |kind| table::condition(object, kind);
    let status = |condition: &Value| str_at(condition, &["status"]).to_owned();
    if let Some(target) = found("DisruptionTarget").filter(|target| status(target) == "True") {
        return str_at(target, &["reason"]).to_owned();
    }
    match found("PodGroupScheduled").map(status).as_deref() {
        Some("True") => "Scheduled",
        Some("False") => "Unschedulable",
        _ => "Pending",
    }
    .to_owned()
}
