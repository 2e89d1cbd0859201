//! LeaseCandidate: who stands for a lease, with the versions that it could serve.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
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
    Kind::of("coordination.k8s.io", "leasecandidates")
        .needs_resource_version()
        .creates_on_update()
        .selectable(&["spec.leaseName"])
        .rules(LeaseCandidate)
}

struct LeaseCandidate;

impl Rules for LeaseCandidate {
    fn validate(&self, candidate: Field<'_>, errors: &mut ErrorList) {
        let spec = candidate.get("spec");
        for field in ["leaseName", "binaryVersion", "strategy"] {
            required(Field::get(spec, field), errors);
        }
        rule(spec.get("strategy"), validate::qualified_name, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.at(&["spec", "leaseName"]), old.at(&["spec", "leaseName"]), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |field: &str| Value::from(str_at(object, &["spec", field]));
        vec![
            table::name(object),
            text("leaseName"),
            text("binaryVersion"),
            text("emulationVersion"),
            table::age(object, now),
        ]
    }
}
