//! ReplicationController: a number of equal pods, in the old form.
//!
//! Its rules are ReplicaSet's, but for a selector that is a map of labels and may change.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set};
use api::validate;
use apiserver::resource::Resource;

use crate::apps::replica_set::Replicas;
use crate::core::pod::{defaults, validation};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "replicationcontrollers")
        .tracks_generation()
        .orphans_dependents()
        .selectable(&["status.replicas"])
        .scaled_by(&["spec", "selector"])
        .rules(Replicas {
            default,
            validate: selector_and_template,
            keeps_selector: false,
            selector_text: table::labels,
        })
}

fn is_empty(object: &Value, path: &[&str]) -> bool {
    at(object, path).and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
}

fn default(object: &mut Value) {
    if at(object, &["spec", "template"]).is_some() {
        defaults::template(object, &["spec", "template"]);
    }
    let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
    let given = |labels: &Value| labels.as_object().is_some_and(|map| !map.is_empty());
    let Some(labels) = labels.filter(given) else { return };
    if is_empty(object, &["spec", "selector"]) {
        set(object, &["spec", "selector"], labels.clone());
    }
    if is_empty(object, &["metadata", "labels"]) {
        set(object, &["metadata", "labels"], labels);
    }
}

fn selector_and_template(spec: Field<'_>, errors: &mut ErrorList) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if selector.is_empty() {
        errors.push(selector.required(""));
    }
    if !spec.get("replicas").is_set() {
        errors.push(spec.get("replicas").required(""));
    }
    if !template.is_set() {
        errors.push(template.required(""));
        return;
    }
    let labels = template.at(&["metadata", "labels"]);
    let matches = selector
        .entries()
        .all(|(key, value)| labels.has(key) && labels.key(key).str() == value.str());
    if !selector.is_empty() && !matches {
        let value = labels.value().cloned().unwrap_or_else(|| serde_json::json!({}));
        let text = "`selector` does not match template `labels`";
        errors.push(labels.invalid_as(value, text));
    }
    errors.extend(validate::labels(selector.value(), &selector.path()));
    validation::always_template(template, errors);
}
