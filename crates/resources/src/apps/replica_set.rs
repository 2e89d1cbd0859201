//! ReplicaSet: a number of equal pods.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::set_default;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{not_more, selector_and_template, wide_cells};
use crate::check::{immutable, non_negatives};
use crate::core::pod::defaults;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apps", "replicasets")
        .tracks_generation()
        .selectable(&["status.replicas"])
        .scaled_by(&["spec", "selector"])
        .rules(ReplicaSet)
}

struct ReplicaSet;

impl Rules for ReplicaSet {
    fn default(&self, object: &mut Value) {
        defaults::template(object, &["spec", "template"]);
        set_default(object, &["spec", "replicas"], 1);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        non_negatives(spec, &["replicas", "minReadySeconds"], errors);
        selector_and_template(spec, "replicaset", errors);
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
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        replica_status(new.get("status"), errors);
    }

    fn field<'a>(&self, object: &'a Value, name: &str) -> Option<std::borrow::Cow<'a, str>> {
        replicas_field(object, name)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![
            table::name(object),
            table::number(object, &["spec", "replicas"]),
            table::number(object, &["status", "replicas"]),
            table::number(object, &["status", "readyReplicas"]),
            table::age(object, now),
        ];
        wide_cells(object, &mut cells, true);
        cells
    }
}

/// `status.replicas`, 0 when nobody has counted.
pub(crate) fn replicas_field<'a>(
    object: &'a Value,
    name: &str,
) -> Option<std::borrow::Cow<'a, str>> {
    (name == "status.replicas")
        .then(|| table::number(object, &["status", "replicas"]).to_string().into())
}

/// The status of a ReplicaSet or ReplicationController.
pub(crate) fn replica_status(status: Field<'_>, errors: &mut ErrorList) {
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
