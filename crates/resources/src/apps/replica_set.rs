//! ReplicaSet: a number of equal pods; and the rules that it shares with its elder, the
//! ReplicationController.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set_default};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{not_more, selector_and_template};
use crate::check::{immutable, non_negatives};
use crate::core::pod::defaults;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apps", "replicasets").tracks_generation().scaled_by(&["spec", "selector"]).rules(
        Replicas {
            default: |object| defaults::template(object, &["spec", "template"]),
            validate: |spec, errors| selector_and_template(spec, "replicaset", errors),
            keeps_selector: true,
            selector_text: table::selector,
        },
    )
}

/// The rules of a kind that keeps a number of equal pods. What differs is the form of the selector.
pub(crate) struct Replicas {
    /// Fills in the template, and what comes from it.
    pub(crate) default: fn(&mut Value),
    /// What is wrong with selector and template.
    pub(crate) validate: fn(Field<'_>, &mut ErrorList),
    /// Whether the selector may not change.
    pub(crate) keeps_selector: bool,
    /// The selector's cell.
    pub(crate) selector_text: fn(Option<&Value>) -> String,
}

impl Rules for Replicas {
    fn default(&self, object: &mut Value) {
        (self.default)(object);
        set_default(object, &["spec", "replicas"], 1);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        non_negatives(spec, &["replicas", "minReadySeconds"], errors);
        (self.validate)(spec, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        if self.keeps_selector {
            immutable(new.at(&["spec", "selector"]), old.at(&["spec", "selector"]), errors);
        }
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let status = new.get("status");
        let counts = [
            "replicas",
            "fullyLabeledReplicas",
            "readyReplicas",
            "availableReplicas",
            "terminatingReplicas",
            "observedGeneration",
        ];
        non_negatives(status, &counts, errors);
        for field in ["fullyLabeledReplicas", "readyReplicas", "availableReplicas"] {
            not_more(status, field, "replicas", errors);
        }
        not_more(status, "availableReplicas", "readyReplicas", errors);
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        crate::core::pod::warnings::of_workload(new, old, &["spec", "template"], true)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![
            table::name(object),
            table::number(object, &["spec", "replicas"]),
            table::number(object, &["status", "replicas"]),
            table::number(object, &["status", "readyReplicas"]),
            table::age(object, now),
        ];
        cells.extend(table::containers(at(object, &["spec", "template", "spec"])));
        cells.push((self.selector_text)(at(object, &["spec", "selector"])).into());
        cells
    }
}
