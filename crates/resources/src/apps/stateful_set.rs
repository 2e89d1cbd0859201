//! StatefulSet: pods with a number each, that keep their name and their storage.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, int_at, set_default, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::deployment::never_decreases;
use super::{not_more, ready_cell, selector_and_template, wide_cells};
use crate::check::{int_or_percent, non_negative, non_negatives, required_one_of};
use crate::core::persistent_volume_claim::claim_spec;
use crate::core::pod::defaults::{self, each, set_text};
use crate::cursor::{Field, rule, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apps", "statefulsets")
        .tracks_generation()
        .scaled_by(&["spec", "selector"])
        .rules(StatefulSet)
}

struct StatefulSet;

/// What an update may change.
const MUTABLE: [&str; 7] = [
    "replicas",
    "ordinals",
    "template",
    "updateStrategy",
    "revisionHistoryLimit",
    "persistentVolumeClaimRetentionPolicy",
    "minReadySeconds",
];
const CHANGE_TEXT: &str = "updates to statefulset spec for fields other than 'replicas', 'ordinals', 'template', 'updateStrategy', 'revisionHistoryLimit', 'persistentVolumeClaimRetentionPolicy' and 'minReadySeconds' are forbidden";

impl Rules for StatefulSet {
    fn default(&self, object: &mut Value) {
        defaults::template(object, &["spec", "template"]);
        set_text(object, &["spec", "podManagementPolicy"], "OrderedReady");
        let kind = ["spec", "updateStrategy", "type"];
        if str_at(object, &kind).is_empty() {
            set_text(object, &kind, "RollingUpdate");
            // The object is there with the type, so that its partition is defaulted too.
            set_default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
        }
        let rolling = ["spec", "updateStrategy", "rollingUpdate"];
        if str_at(object, &kind) == "RollingUpdate" && at(object, &rolling).is_some() {
            set_default(object, &["spec", "updateStrategy", "rollingUpdate", "partition"], 0);
        }
        for field in ["whenDeleted", "whenScaled"] {
            let path = ["spec", "persistentVolumeClaimRetentionPolicy", field];
            set_text(object, &path, "Retain");
        }
        set_default(object, &["spec", "replicas"], 1);
        set_default(object, &["spec", "revisionHistoryLimit"], 10);
        each(object, &["spec", "volumeClaimTemplates"], |claim| {
            set_text(claim, &["apiVersion"], "v1");
            set_text(claim, &["kind"], "PersistentVolumeClaim");
            set_default(claim, &["spec", "volumeMode"], "Filesystem");
            set_text(claim, &["status", "phase"], "Pending");
        });
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let policy = spec.get("podManagementPolicy");
        required_one_of(policy, &["OrderedReady", "Parallel"], errors);
        strategy(spec.get("updateStrategy"), errors);
        let retention = spec.get("persistentVolumeClaimRetentionPolicy");
        for field in ["whenDeleted", "whenScaled"] {
            required_one_of(Field::get(retention, field), &["Delete", "Retain"], errors);
        }
        // A negative limit of revisions keeps all of them.
        non_negatives(spec, &["replicas", "minReadySeconds"], errors);
        non_negative(
            spec.get("ordinals.start").with(spec.at(&["ordinals", "start"]).value()),
            errors,
        );
        rule(spec.get("serviceName"), validate::dns1123_label, errors);
        selector_and_template(spec, "statefulset", errors);
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        // Its pods' claims are made of these; they cannot change, so only new ones are looked at.
        for claim in new.at(&["spec", "volumeClaimTemplates"]).items() {
            claim_spec(claim.get("spec"), errors);
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let (spec, before) = (new.get("spec"), old.get("spec"));
        let others = |spec: Field<'_>| -> Value {
            let map = spec.value().and_then(Value::as_object).cloned().unwrap_or_default();
            map.into_iter().filter(|(key, _)| !MUTABLE.contains(&key.as_str())).collect()
        };
        if !same(Some(&others(spec)), Some(&others(before))) {
            errors.push(spec.forbidden(CHANGE_TEXT));
        }
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
            "replicas",
            "readyReplicas",
            "currentReplicas",
            "updatedReplicas",
            "availableReplicas",
            "observedGeneration",
            "collisionCount",
        ];
        non_negatives(status, &counts, errors);
        for field in ["readyReplicas", "currentReplicas", "updatedReplicas", "availableReplicas"] {
            not_more(status, field, "replicas", errors);
        }
        not_more(status, "availableReplicas", "readyReplicas", errors);
        never_decreases(
            status.get("collisionCount"),
            old.at(&["status", "collisionCount"]),
            errors,
        );
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let mut warnings =
            crate::core::pod::warnings::of_workload(new, old, &["spec", "template"], false);
        if old.is_none() && int_at(new, &["spec", "revisionHistoryLimit"]).is_some_and(|n| n < 0) {
            let text = "spec.revisionHistoryLimit: a negative value retains all historical revisions; a value >= 0 is recommended";
            warnings.push(text.to_owned());
        }
        warnings
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut cells = vec![table::name(object), ready_cell(object), table::age(object, now)];
        wide_cells(object, &mut cells, false);
        cells
    }
}

fn strategy(strategy: Field<'_>, errors: &mut ErrorList) {
    let (kind, rolling) = (strategy.get("type"), strategy.get("rollingUpdate"));
    match kind.str() {
        "" => errors.push(kind.required("")),
        "OnDelete" => {
            if rolling.is_set() {
                let value = rolling.value().cloned().unwrap_or_default();
                let text = "only allowed for updateStrategy 'RollingUpdate'";
                errors.push(rolling.invalid_as(value, text));
            }
        }
        "RollingUpdate" => {
            non_negative(rolling.get("partition"), errors);
            int_or_percent(rolling.get("maxUnavailable"), errors);
        }
        _ => {
            let text = "must be 'RollingUpdate' or 'OnDelete'";
            let value = strategy.value().cloned().unwrap_or_default();
            errors.push(strategy.invalid_as(value, text));
        }
    }
}
