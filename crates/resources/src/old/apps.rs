//! `extensions/v1beta1`, `apps/v1beta1`: selectors that came from the template, a rollback that was
//! a field, and defaults of their own.

use api::Value;
use api::object::{at, remove, set, set_default};
use serde_json::json;

use super::take_annotation;

/// Where upstream keeps the two fields that `apps/v1` has no place for.
const ROLLBACK: &str = "deprecated.deployment.rollback.revision";
const GENERATION: &str = "deprecated.daemonset.template.generation";

/// A selector that is left out selects the template's labels, which the object gets too.
pub(super) fn select_template(object: &mut Value) {
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    let Some(labels) = labels.filter(|labels| labels.as_object().is_some_and(|m| !m.is_empty()))
    else {
        return;
    };
    if at(object, &["spec", "selector"]).is_none() {
        set(object, &["spec", "selector"], json!({ "matchLabels": labels }));
    }
    let own = at(object, &["metadata", "labels"]).and_then(Value::as_object);
    if own.is_none_or(serde_json::Map::is_empty) {
        set(object, &["metadata", "labels"], labels);
    }
}

/// At most one pod more and one less, all history kept, no deadline.
pub(super) fn extensions_deployment(object: &mut Value) {
    select_template(object);
    roll(object, &json!(1));
    set_default(object, &["spec", "revisionHistoryLimit"], i32::MAX);
    set_default(object, &["spec", "progressDeadlineSeconds"], i32::MAX);
    from_rollback(object);
}

/// A quarter of the pods, two revisions of history.
pub(super) fn v1beta1_deployment(object: &mut Value) {
    select_template(object);
    roll(object, &json!("25%"));
    set_default(object, &["spec", "revisionHistoryLimit"], 2);
    from_rollback(object);
}

fn roll(object: &mut Value, at_most: &Value) {
    set_default(object, &["spec", "strategy", "type"], "RollingUpdate");
    if object["spec"]["strategy"]["type"] == "RollingUpdate" {
        for field in ["maxUnavailable", "maxSurge"] {
            let path = ["spec", "strategy", "rollingUpdate", field];
            set_default(object, &path, at_most.clone());
        }
    }
}

fn from_rollback(object: &mut Value) {
    if let Some(rollback) = remove(object, &["spec", "rollbackTo"]).filter(Value::is_object) {
        let revision = rollback["revision"].as_i64().unwrap_or_default();
        set(object, &["metadata", "annotations", ROLLBACK], revision.to_string());
    }
}

pub(super) fn to_rollback(object: &mut Value) {
    let revision = take_annotation(object, ROLLBACK).and_then(|text| text.parse::<i64>().ok());
    if let Some(revision) = revision {
        set(object, &["spec", "rollbackTo"], json!({ "revision": revision }));
    }
}

pub(super) fn extensions_daemon_set(object: &mut Value) {
    select_template(object);
    set_default(object, &["spec", "updateStrategy", "type"], "OnDelete");
    let generation = remove(object, &["spec", "templateGeneration"]).and_then(|one| one.as_i64());
    if let Some(generation) = generation.filter(|generation| *generation != 0) {
        set(object, &["metadata", "annotations", GENERATION], generation.to_string());
    }
}

pub(super) fn to_generation(object: &mut Value) {
    let generation = take_annotation(object, GENERATION).and_then(|text| text.parse::<i64>().ok());
    if let Some(generation) = generation {
        set(object, &["spec", "templateGeneration"], generation);
    }
}

pub(super) fn v1beta1_stateful_set(object: &mut Value) {
    select_template(object);
    set_default(object, &["spec", "updateStrategy", "type"], "OnDelete");
}
