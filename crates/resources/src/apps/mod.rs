//! `apps`: workloads that keep pods running.

pub mod controller_revision;
pub mod daemon_set;
pub mod deployment;
pub mod replica_set;
pub mod stateful_set;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;

use crate::check::{label_selector, selector_matches, selects_all};
use crate::core::pod::validation::always_template;
use crate::cursor::Field;
use crate::table;

/// Selector and template of a workload: both there, the one matching the other.
pub(crate) fn selector_and_template(spec: Field<'_>, workload: &str, errors: &mut ErrorList) {
    let (selector, template) = (spec.get("selector"), spec.get("template"));
    if !selector.is_set() {
        errors.push(selector.required(""));
    } else {
        label_selector(selector, errors);
        if selects_all(selector) {
            let value = selector.value().cloned().unwrap_or_default();
            let text = format!("empty selector is invalid for {workload}");
            errors.push(selector.invalid_as(value, text));
        }
    }
    if !template.is_set() {
        errors.push(template.required(""));
        return;
    }
    let labels = template.at(&["metadata", "labels"]);
    if selector.is_set() && !selects_all(selector) && !selector_matches(selector, labels) {
        let value =
            labels.value().cloned().unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let text = "`selector` does not match template `labels`";
        errors.push(labels.invalid_as(value, text));
    }
    always_template(template, errors);
}

/// Counts of a status that may not exceed another: `a <= b`.
pub(crate) fn not_more(
    status: Field<'_>,
    less: &'static str,
    more: &'static str,
    errors: &mut ErrorList,
) {
    let number = |name: &'static str| status.get(name).int().unwrap_or_default();
    if number(less) > number(more) {
        let text = format!("cannot be greater than {}", more_text(more));
        errors.push(status.get(less).invalid_as(number(less), text));
    }
}

fn more_text(field: &str) -> String {
    if field == "replicas" { "status.replicas".to_owned() } else { field.to_owned() }
}

/// The last cells of a workload with a label selector: containers, images, selector.
pub(crate) fn wide_cells(object: &Value, cells: &mut Vec<Value>, with_selector: bool) {
    cells.extend(table::containers(api::object::at(object, &["spec", "template", "spec"])));
    if with_selector {
        cells.push(table::selector(api::object::at(object, &["spec", "selector"])).into());
    }
}

/// A cell that shows `status.FIELD` over `spec.replicas`.
pub(crate) fn ready_cell(object: &Value) -> Value {
    let ready = table::number(object, &["status", "readyReplicas"]);
    let wanted = table::number(object, &["spec", "replicas"]);
    format!("{ready}/{wanted}").into()
}

/// The owner that manages an object, as `kind.group/name`.
#[must_use]
pub(crate) fn controller_text(object: &Value) -> Option<String> {
    let owner = api::object::owner_references(object)
        .iter()
        .find(|owner| owner.get("controller").and_then(Value::as_bool).unwrap_or_default())?;
    let (group, _) = api::names::split_api_version(str_at(owner, &["apiVersion"]));
    let kind = str_at(owner, &["kind"]).to_lowercase();
    let qualified = if group.is_empty() { kind } else { format!("{kind}.{group}") };
    Some(format!("{qualified}/{}", str_at(owner, &["name"])))
}
