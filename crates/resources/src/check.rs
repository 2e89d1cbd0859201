//! Checks that many kinds share, over a [`Field`]: numbers, choices, selectors, quantities,
//! references. Each pushes what it finds; texts are upstream's.

use api::Value;
use api::field::ErrorList;
use api::quantity::Quantity;
use api::validate;

use crate::cursor::{Field, rule, same};

/// `field is immutable`.
pub const IMMUTABLE: &str = "field is immutable";
/// `must be greater than or equal to 0`.
pub const NOT_NEGATIVE: &str = "must be greater than or equal to 0";

/// A number that may not be negative; absent is fine.
pub fn non_negative(field: Field<'_>, errors: &mut ErrorList) {
    if field.int().is_some_and(|value| value < 0) {
        errors.push(field.invalid(NOT_NEGATIVE));
    }
}

/// Several numbers of a map that may not be negative.
pub fn non_negatives(parent: Field<'_>, names: &[&'static str], errors: &mut ErrorList) {
    for name in names {
        let field = Field::get(parent, name);
        non_negative(field, errors);
    }
}

/// A number that must be greater than 0; absent is fine.
pub fn positive(field: Field<'_>, errors: &mut ErrorList) {
    if field.int().is_some_and(|value| value <= 0) {
        errors.push(field.invalid("must be greater than 0"));
    }
}

/// A number in a range; absent is fine.
pub fn in_range(field: Field<'_>, low: i64, high: i64, errors: &mut ErrorList) {
    if field.int().is_some_and(|value| !(low..=high).contains(&value)) {
        errors.push(field.invalid(validate::range_text(low, high)));
    }
}

/// A value that must be there and not empty; answers whether it is.
pub fn required(field: Field<'_>, errors: &mut ErrorList) -> bool {
    let there = !field.is_empty();
    if !there {
        errors.push(field.required(""));
    }
    there
}

/// A string of a closed set; absent is fine. An empty one that is there was given: those that a
/// struct prints by itself are left out when an object is read.
pub fn one_of(field: Field<'_>, supported: &[&str], errors: &mut ErrorList) {
    if field.is_set() && !supported.contains(&field.str()) {
        errors.push(field.not_supported(supported));
    }
}

/// A string of a closed set that must be there.
pub fn required_one_of(field: Field<'_>, supported: &[&str], errors: &mut ErrorList) {
    if required(field, errors) {
        one_of(field, supported, errors);
    }
}

/// The same, where upstream shows the set in an order of its own.
pub fn required_in_order(field: Field<'_>, supported: &[&str], errors: &mut ErrorList) {
    if required(field, errors) {
        one_of_in_order(field, supported, errors);
    }
}

/// A string of a closed set that upstream shows in an order of its own; absent is fine.
pub fn one_of_in_order(field: Field<'_>, supported: &[&str], errors: &mut ErrorList) {
    if field.is_set() && !supported.contains(&field.str()) {
        errors.push(field.not_supported_in(supported));
    }
}

/// A field that may not change.
pub fn immutable(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    if !same(new.value(), old.value()) {
        let value = new.value().cloned().unwrap_or(Value::Null);
        errors.push(new.invalid_as(value, IMMUTABLE));
    }
}

/// Every string of a list follows a rule.
pub fn each(field: Field<'_>, check: impl Fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    for item in field.items() {
        errors.extend(check(item.str()).into_iter().map(|text| item.invalid(text)));
    }
}

/// A name that an object of another kind has, by DNS subdomain; must be there.
pub fn required_name(field: Field<'_>, errors: &mut ErrorList) {
    if required(field, errors) {
        rule(field, validate::dns1123_subdomain, errors);
    }
}

/// A map of labels.
pub fn labels(field: Field<'_>, errors: &mut ErrorList) {
    errors.extend(validate::labels(field.value(), &field.path()));
}

/// A key of a label.
pub fn label_key(field: Field<'_>, errors: &mut ErrorList) {
    errors
        .extend(validate::qualified_name(field.str()).into_iter().map(|text| field.invalid(text)));
}

/// A `LabelSelector`; absent is fine.
pub fn label_selector(field: Field<'_>, errors: &mut ErrorList) {
    labels(field.get("matchLabels"), errors);
    for expression in field.get("matchExpressions").items() {
        selector_requirement(expression, errors);
    }
}

fn selector_requirement(field: Field<'_>, errors: &mut ErrorList) {
    let (operator, values) = (field.get("operator"), field.get("values"));
    match operator.str() {
        "In" | "NotIn" => {
            if values.is_empty() {
                errors
                    .push(values.required("must be specified when `operator` is 'In' or 'NotIn'"));
            }
        }
        "Exists" | "DoesNotExist" => {
            if !values.is_empty() {
                let text = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'";
                errors.push(values.forbidden(text));
            }
        }
        _ => errors.push(operator.invalid("not a valid selector operator")),
    }
    label_key(field.get("key"), errors);
    each(values, validate::label_value, errors);
}

/// Whether a `LabelSelector` selects everything.
#[must_use]
pub fn selects_all(selector: Field<'_>) -> bool {
    selector.get("matchLabels").is_empty() && selector.get("matchExpressions").is_empty()
}

/// Whether a `LabelSelector` matches a map of labels.
#[must_use]
pub fn selector_matches(selector: Field<'_>, labels: Field<'_>) -> bool {
    let by_labels = selector
        .get("matchLabels")
        .entries()
        .all(|(key, value)| labels.has(key) && labels.key(key).str() == value.str());
    by_labels
        && selector.get("matchExpressions").items().all(|expression| {
            let key = expression.get("key").str();
            let has = labels.has(key);
            let among = || {
                let own = labels.key(key).str();
                expression.get("values").items().any(|value| value.str() == own)
            };
            match expression.get("operator").str() {
                "In" => has && among(),
                "NotIn" => !(has && among()),
                "Exists" => has,
                "DoesNotExist" => !has,
                _ => false,
            }
        })
}

/// A quantity at a field; `None` when absent (or no quantity, which decoding has refused).
#[must_use]
pub fn quantity(field: Field<'_>) -> Option<Quantity> {
    match field.value()? {
        Value::String(text) => text.parse().ok(),
        Value::Number(number) => number.to_string().parse().ok(),
        _ => None,
    }
}

/// A quantity that may not be negative.
pub fn quantity_non_negative(field: Field<'_>, errors: &mut ErrorList) {
    if quantity(field).is_some_and(|value| value.sign() < 0) {
        errors.push(field.invalid(NOT_NEGATIVE));
    }
}

/// Whether a resource is one that Kubernetes itself knows, by its bare name.
#[must_use]
pub fn is_native_resource(name: &str) -> bool {
    !name.contains('/') || name.contains("kubernetes.io/")
}

/// Whether a resource is an extended one: qualified, not Kubernetes' own, not a quota's name.
#[must_use]
pub fn is_extended_resource(name: &str) -> bool {
    !is_native_resource(name)
        && !name.starts_with("requests.")
        && validate::qualified_name(&format!("requests.{name}")).is_empty()
}

/// A quantity of a resource: not negative, whole where the resource comes in wholes.
pub fn resource_quantity(name: &str, field: Field<'_>, errors: &mut ErrorList) {
    quantity_non_negative(field, errors);
    let whole = is_extended_resource(name)
        || matches!(
            name,
            "pods"
                | "services"
                | "replicationcontrollers"
                | "resourcequotas"
                | "secrets"
                | "configmaps"
                | "persistentvolumeclaims"
                | "services.nodeports"
                | "services.loadbalancers"
        );
    if whole && quantity(field).is_some_and(|value| !value.is_integer()) {
        errors.push(field.invalid("must be an integer"));
    }
}

/// An int-or-percent: a whole number not below 0, or a percentage.
pub fn int_or_percent(field: Field<'_>, errors: &mut ErrorList) {
    match field.value() {
        None => {}
        Some(Value::String(text)) => {
            errors.extend(validate::percent(text).into_iter().map(|text| field.invalid(text)));
        }
        Some(_) => non_negative(field, errors),
    }
}

/// A percentage over 100 is refused.
pub fn not_over_hundred_percent(field: Field<'_>, errors: &mut ErrorList) {
    if percentage(field).is_some_and(|value| value > 100) {
        errors.push(field.invalid("must not be greater than 100%"));
    }
}

/// The number of a percentage.
#[must_use]
pub fn percentage(field: Field<'_>) -> Option<i64> {
    field.str().strip_suffix('%')?.parse().ok()
}

/// An int-or-percent as a number: the integer itself, or the percentage.
#[must_use]
pub fn int_or_percent_value(field: Field<'_>) -> i64 {
    field.int().or_else(|| percentage(field)).unwrap_or_default()
}

/// A domain-prefixed path (`acme.io/foo`).
pub fn domain_prefixed_path(field: Field<'_>, errors: &mut ErrorList) {
    let text = field.str();
    if text.is_empty() {
        errors.push(field.required(""));
        return;
    }
    let Some((host, path)) = text.split_once('/').filter(|(a, b)| !a.is_empty() && !b.is_empty())
    else {
        errors.push(field.invalid("must be a domain-prefixed path (such as \"acme.io/foo\")"));
        return;
    };
    for text in validate::dns1123_subdomain(host) {
        errors.push(field.invalid_as(host, text));
    }
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"/-._~%!$&'()*+,;=:".contains(&byte);
    if !path.bytes().all(fits) {
        let text = validate::pattern_text("Invalid path", r"[A-Za-z0-9/\-._~%!$&'()*+,;=:]+", &[]);
        errors.push(field.invalid_as(path, text));
    }
}

/// A list of `metav1.Condition`.
pub fn conditions(field: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<&str> = Vec::new();
    for condition in field.items() {
        let kind = condition.get("type");
        if kind.is_empty() {
            errors.push(kind.required(""));
        } else {
            rule(kind, validate::qualified_name, errors);
            if seen.contains(&kind.str()) {
                errors.push(condition.get("type").duplicate());
            }
            seen.push(kind.str());
        }
        required_one_of(condition.get("status"), &["True", "False", "Unknown"], errors);
        non_negative(condition.get("observedGeneration"), errors);
        if condition.get("lastTransitionTime").is_empty() {
            errors.push(condition.get("lastTransitionTime").required(""));
        }
        let reason = condition.get("reason");
        if required(reason, errors) && reason.str().len() > 1024 {
            errors.push(reason.too_long(1024));
        }
        if condition.get("message").str().len() > 32_768 {
            errors.push(condition.get("message").too_long(32_768));
        }
    }
}

/// An object reference's fields must be there: `kind` and `name` and so on.
pub fn required_fields(parent: Field<'_>, names: &[&'static str], errors: &mut ErrorList) {
    for name in names {
        required(Field::get(parent, name), errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn texts(value: &Value, check: impl Fn(Field<'_>, &mut ErrorList)) -> Vec<String> {
        let mut errors = ErrorList::new();
        check(Field::root(value).get("x"), &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn the_shared_checks_speak_as_upstream() {
        let x = |value: Value| json!({ "x": value });
        for (value, check, expected) in [
            (
                json!(-1),
                non_negative as fn(Field<'_>, &mut ErrorList),
                "x: Invalid value: -1: must be greater than or equal to 0",
            ),
            (json!(0), positive, "x: Invalid value: 0: must be greater than 0"),
            (
                json!("5"),
                int_or_percent,
                "x: Invalid value: \"5\": a valid percent string must be a numeric string followed by an ending '%' (e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')",
            ),
            (
                json!("101%"),
                not_over_hundred_percent,
                "x: Invalid value: \"101%\": must not be greater than 100%",
            ),
            (
                json!("-1"),
                quantity_non_negative,
                "x: Invalid value: \"-1\": must be greater than or equal to 0",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "In"}]}),
                label_selector,
                "x.matchExpressions[0].values: Required value: must be specified when `operator` is 'In' or 'NotIn'",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "Exists", "values": ["b"]}]}),
                label_selector,
                "x.matchExpressions[0].values: Forbidden: may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            ),
            (
                json!({"matchExpressions": [{"key": "a", "operator": "="}]}),
                label_selector,
                "x.matchExpressions[0].operator: Invalid value: \"=\": not a valid selector operator",
            ),
            (
                json!("foo"),
                domain_prefixed_path,
                "x: Invalid value: \"foo\": must be a domain-prefixed path (such as \"acme.io/foo\")",
            ),
        ] {
            assert_eq!(texts(&x(value), check), [expected]);
        }
    }

    #[test]
    fn selectors_match() {
        let value = json!({"s": {"matchLabels": {"a": "1"},
            "matchExpressions": [{"key": "b", "operator": "NotIn", "values": ["x"]}]},
            "yes": {"a": "1", "b": "y"}, "no": {"a": "1", "b": "x"}});
        let root = Field::root(&value);
        assert!(selector_matches(root.get("s"), root.get("yes")));
        assert!(!selector_matches(root.get("s"), root.get("no")));
    }
}
