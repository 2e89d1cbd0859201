//! The metrics of an autoscaler: what they may say, and how a table shows them.

use api::Value;
use api::field::ErrorList;
use api::object::{at, int_at, list_at, str_at};
use api::validate;

use crate::check::{self, quantity, required};
use crate::cursor::{Field, rule};
use crate::table::{NONE, UNKNOWN};

/// Each type of metric and the field that says it.
const SOURCES: [(&str, &str); 5] = [
    ("Object", "object"),
    ("Pods", "pods"),
    ("Resource", "resource"),
    ("External", "external"),
    ("ContainerResource", "containerResource"),
];

/// What is wrong with the metrics.
pub(super) fn validate(list: Field<'_>, errors: &mut ErrorList) {
    for metric in list.items() {
        one(metric, errors);
    }
}

fn one(metric: Field<'_>, errors: &mut ErrorList) {
    let kind = metric.get("type");
    if !required(kind, errors) {
        return;
    }
    let known = SOURCES.map(|(name, _)| name);
    let Some((_, own)) = SOURCES.iter().find(|(name, _)| *name == kind.str()) else {
        errors.push(kind.not_supported(&known));
        return;
    };
    let set = SOURCES.iter().filter(|(_, field)| metric.get(field).is_set());
    for (_, field) in set {
        if field != own {
            let text = "must populate the given metric source only";
            errors.push(Field::get(metric, field).forbidden(text));
        }
    }
    let source = Field::get(metric, own);
    if !source.is_set() {
        errors.push(source.required("must populate information for the given metric source"));
        return;
    }
    match *own {
        "resource" | "containerResource" => {
            required(source.get("name"), errors);
            if *own == "containerResource" && required(source.get("container"), errors) {
                rule(source.get("container"), validate::dns1123_label, errors);
            }
            resource_target(source.get("target"), errors);
        }
        _ => {
            named_metric(source, errors);
            if *own == "object" {
                for field in ["kind", "name"] {
                    required(source.get("describedObject").get(field), errors);
                }
            }
            value_target(source.get("target"), own, errors);
        }
    }
}

fn named_metric(source: Field<'_>, errors: &mut ErrorList) {
    let name = source.at(&["metric", "name"]);
    if required(name, errors) {
        rule(name, |text| validate::path_segment(text, false), errors);
    }
    check::label_selector(source.at(&["metric", "selector"]), errors);
}

fn target(target: Field<'_>, errors: &mut ErrorList) {
    check::required_one_of(target.get("type"), &["AverageValue", "Utilization", "Value"], errors);
    for field in ["value", "averageValue"] {
        let field = Field::get(target, field);
        if quantity(field).is_some_and(|value| value.sign() <= 0) {
            errors.push(field.invalid("must be positive"));
        }
    }
    let utilization = target.get("averageUtilization");
    if utilization.int().is_some_and(|value| value < 1) {
        errors.push(utilization.invalid("must be greater than 0"));
    }
}

fn resource_target(field: Field<'_>, errors: &mut ErrorList) {
    target(field, errors);
    let (utilization, average) = (field.get("averageUtilization"), field.get("averageValue"));
    match (utilization.is_set(), average.is_set()) {
        (false, false) => {
            let text = "must set either a target raw value or a target utilization";
            errors.push(utilization.required(text));
        }
        (true, true) => {
            let text = "may not set both a target raw value and a target utilization";
            errors.push(average.forbidden(text));
        }
        _ => {}
    }
}

fn value_target(field: Field<'_>, source: &str, errors: &mut ErrorList) {
    target(field, errors);
    let (value, average) = (field.get("value"), field.get("averageValue"));
    if source == "pods" {
        if !average.is_set() {
            errors.push(average.required("must specify a positive target averageValue"));
        }
        return;
    }
    if !value.is_set() && !average.is_set() {
        let text = "must set either a target value for metric or a per-pod target";
        errors.push(average.required(text));
    }
    if source == "external" && value.is_set() && average.is_set() {
        let text = "may not set both a target value for metric and a per-pod target";
        errors.push(value.forbidden(text));
    }
}

/// How the table shows the metrics: at most two.
pub(super) fn text(object: &Value) -> String {
    let specs = list_at(object, &["spec", "metrics"]);
    let statuses = list_at(object, &["status", "currentMetrics"]);
    let all: Vec<String> =
        specs.iter().enumerate().map(|(index, spec)| shown(spec, statuses.get(index))).collect();
    match all.as_slice() {
        [] => NONE.to_owned(),
        [one] => one.clone(),
        [one, two] => format!("{one}, {two}"),
        [one, two, more @ ..] => format!("{one}, {two} + {} more...", more.len()),
    }
}

fn shown(spec: &Value, status: Option<&Value>) -> String {
    let Some((_, field)) = SOURCES.iter().find(|(name, _)| spec["type"] == **name) else {
        return "<unknown type>".to_owned();
    };
    let current = |name: &str| status.and_then(|status| at(status, &[field, "current", name]));
    let target = |name: &str| at(spec, &[field, "target", name]);
    let text = |value: Option<&Value>| value.map_or(UNKNOWN.to_owned(), plain);
    match *field {
        "resource" | "containerResource" => {
            let name = str_at(spec, &[field, "name"]);
            if target("averageValue").is_some() {
                return format!(
                    "{name}: {}/{}",
                    text(current("averageValue")),
                    text(target("averageValue"))
                );
            }
            let percent = |value: Option<&Value>, absent: &str| {
                value.and_then(Value::as_i64).map_or(absent.to_owned(), |value| format!("{value}%"))
            };
            let now = percent(current("averageUtilization"), UNKNOWN);
            let wanted = percent(target("averageUtilization"), "<auto>");
            format!("{name}: {now}/{wanted}")
        }
        "pods" => format!("{}/{}", text(current("averageValue")), text(target("averageValue"))),
        _ if target("averageValue").is_some() => {
            format!("{}/{} (avg)", text(current("averageValue")), text(target("averageValue")))
        }
        _ => format!("{}/{}", text(current("value")), text(target("value"))),
    }
}

fn plain(value: &Value) -> String {
    crate::table::plain(value)
}

/// The utilization of the processor, which `v1` has a field for.
pub(super) fn is_cpu_utilization(metric: &Value) -> bool {
    metric["type"] == "Resource"
        && str_at(metric, &["resource", "name"]) == "cpu"
        && int_at(metric, &["resource", "target", "averageUtilization"]).is_some()
}
