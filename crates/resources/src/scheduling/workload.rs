//! Workload (alpha): groups of pods that make up one application, for the scheduler.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{immutable, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("scheduling.k8s.io", "workloads").rules(Workload)
}

struct Workload;

impl Rules for Workload {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let templates = object.at(&["spec", "podGroupTemplates"]);
        if templates.is_empty() {
            errors.push(templates.required("must have at least one item"));
        }
        if templates.len() > 8 {
            errors.push(templates.too_many(8));
        }
        let mut seen: Vec<&str> = Vec::new();
        for template in templates.items() {
            let name = template.get("name");
            if required(name, errors) {
                rule(name, validate::dns1123_label, errors);
            }
            if seen.contains(&name.str()) {
                errors.push(template.duplicate());
            }
            seen.push(name.str());
            super::pod_group::policy(template.get("schedulingPolicy"), errors);
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(
            new.at(&["spec", "podGroupTemplates"]),
            old.at(&["spec", "podGroupTemplates"]),
            errors,
        );
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::age(object, now)]
    }
}
