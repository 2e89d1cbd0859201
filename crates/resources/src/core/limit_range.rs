//! LimitRange: what pods, containers and claims of a namespace get by default, and may have.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, entry};
use api::quantity::Quantity;
use api::validate;
use apiserver::resource::Resource;
use serde_json::json;

use crate::check::{quantity, required};
use crate::core::pod::defaults::each;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "limitranges").creates_on_update().rules(LimitRange)
}

struct LimitRange;

fn fill(item: &mut Value, field: &str, from: &[&str]) {
    for source in from {
        let Some(map) = at(item, &[source]).and_then(Value::as_object).cloned() else { continue };
        let target = entry(item, &[field]);
        if !target.is_object() {
            *target = json!({});
        }
        for (name, value) in map {
            if target.get(&name).is_none() {
                target[name.as_str()] = value;
            }
        }
    }
}

impl Rules for LimitRange {
    fn default(&self, object: &mut Value) {
        each(object, &["spec", "limits"], |item| {
            if item["type"] == "Container" {
                fill(item, "default", &["max"]);
                fill(item, "defaultRequest", &["default", "min"]);
            }
        });
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let mut seen: Vec<&str> = Vec::new();
        for item in object.at(&["spec", "limits"]).items() {
            let kind = item.get("type");
            if required(kind, errors)
                && !matches!(kind.str(), "Pod" | "Container" | "PersistentVolumeClaim")
            {
                errors.extend(
                    validate::qualified_name(kind.str()).into_iter().map(|text| kind.invalid(text)),
                );
                if !kind.str().contains('/') {
                    errors.push(kind.invalid("must be a standard limit type or fully qualified"));
                }
            }
            if seen.contains(&kind.str()) {
                errors.push(kind.duplicate());
            }
            seen.push(kind.str());
            limits(item, kind.str(), errors);
        }
    }
}

fn limits(item: Field<'_>, kind: &str, errors: &mut ErrorList) {
    if kind == "Pod" {
        for field in ["default", "defaultRequest"] {
            if !item.get(field).is_empty() {
                let text = "may not be specified when `type` is 'Pod'";
                errors.push(Field::get(item, field).forbidden(text));
            }
        }
    }
    if kind == "PersistentVolumeClaim"
        && !item.get("min").has("storage")
        && !item.get("max").has("storage")
    {
        errors.push(item.get("limits").required(
            "either minimum or maximum storage value is required, but neither was provided",
        ));
    }
    let mut names: Vec<&str> = Vec::new();
    for field in ["max", "min", "default", "defaultRequest", "maxLimitRequestRatio"] {
        for (name, _) in Field::get(item, field).entries() {
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    for name in names {
        of_resource(item, name, errors);
    }
}

fn of_resource(item: Field<'_>, name: &str, errors: &mut ErrorList) {
    let value = |field: &'static str| {
        item.get(field).entries().find(|(known, _)| *known == name).and_then(|(_, v)| quantity(v))
    };
    let (max, min, default, request) =
        (value("max"), value("min"), value("default"), value("defaultRequest"));
    let ratio = value("maxLimitRequestRatio");
    let mut greater =
        |a: Option<Quantity>, b: Option<Quantity>, field: &'static str, what: (&str, &str)| {
            if let (Some(a), Some(b)) = (a, b)
                && a > b
            {
                let text = format!("{} value {a} is greater than {} value {b}", what.0, what.1);
                if let Some((_, at)) = item.get(field).entries().find(|(known, _)| *known == name) {
                    errors.push(at.invalid_as(a.to_string(), text));
                }
            }
        };
    greater(min, max, "min", ("min", "max"));
    greater(request, max, "defaultRequest", ("default request", "max"));
    greater(default, max, "default", ("default", "max"));
    greater(request, default, "defaultRequest", ("default request", "default limit"));
    greater(min, default, "default", ("min", "default"));
    greater(min, request, "defaultRequest", ("min", "default request"));
    let at = item.get("maxLimitRequestRatio").entries().find(|(known, _)| *known == name);
    let (Some(ratio), Some((_, at))) = (ratio, at) else { return };
    if ratio < Quantity::from_int(1) {
        errors.push(at.invalid_as(ratio.to_string(), format!("ratio {ratio} is less than 1")));
    }
    if let (Some(min), Some(max)) = (min.filter(|min| !min.is_zero()), max) {
        #[expect(clippy::cast_precision_loss, reason = "upstream compares the ratio as float64")]
        let number = |amount: Quantity| amount.milli_value() as f64 / 1000.0;
        let most = number(max) / number(min);
        if number(ratio) > most {
            let text = format!("ratio {ratio} is greater than max/min = {most:.6}");
            errors.push(at.invalid_as(ratio.to_string(), text));
        }
    }
}
