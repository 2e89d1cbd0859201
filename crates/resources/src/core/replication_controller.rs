//! ReplicationController: a number of equal pods, in the old form.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set, set_default};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::apps::replica_set::{replica_status, replicas_field};
use crate::check::non_negatives;
use crate::core::pod::{defaults, validation};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "replicationcontrollers")
        .tracks_generation()
        .orphans_dependents()
        .selectable(&["status.replicas"])
        .scaled_by(&["spec", "selector"])
        .rules(ReplicationController)
}

struct ReplicationController;

fn is_empty(object: &Value, path: &[&str]) -> bool {
    at(object, path).and_then(Value::as_object).is_none_or(serde_json::Map::is_empty)
}

impl Rules for ReplicationController {
    fn default(&self, object: &mut Value) {
        if at(object, &["spec", "template"]).is_some() {
            defaults::template(object, &["spec", "template"]);
        }
        let labels = at(object, &["spec", "template", "metadata", "labels"]).cloned();
        if let Some(labels) =
            labels.filter(|labels| labels.as_object().is_some_and(|map| !map.is_empty()))
        {
            if is_empty(object, &["spec", "selector"]) {
                set(object, &["spec", "selector"], labels.clone());
            }
            if is_empty(object, &["metadata", "labels"]) {
                set(object, &["metadata", "labels"], labels);
            }
        }
        set_default(object, &["spec", "replicas"], 1);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        non_negatives(spec, &["minReadySeconds", "replicas"], errors);
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
        cells.extend(table::containers(at(object, &["spec", "template", "spec"])));
        cells.push(table::labels(at(object, &["spec", "selector"])).into());
        cells
    }
}
