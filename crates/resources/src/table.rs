//! The cells of server-side tables: what many kinds' rows share.

use api::Value;
use api::object::{at, list_at, str_at};
use base::clock::Timestamp;

/// The cell of a value that is not there.
pub const NONE: &str = "<none>";
/// The cell of an optional field that is not set.
pub const UNSET: &str = "<unset>";
/// The cell of a value that cannot be known.
pub const UNKNOWN: &str = "<unknown>";

/// The name.
#[must_use]
pub fn name(object: &Value) -> Value {
    str_at(object, &["metadata", "name"]).into()
}

/// The creation time, as the generic table has it.
#[must_use]
pub fn created_at(object: &Value) -> Value {
    str_at(object, &["metadata", "creationTimestamp"]).into()
}

/// The time since an object was created.
#[must_use]
pub fn age(object: &Value, now: Timestamp) -> Value {
    since(str_at(object, &["metadata", "creationTimestamp"]), now).into()
}

/// The time since a moment, `<unknown>` when there is none.
#[must_use]
pub fn since(moment: &str, now: Timestamp) -> String {
    match moment.parse::<Timestamp>() {
        Ok(moment) => api::duration::human(now.as_second() - moment.as_second()),
        Err(_) => UNKNOWN.to_owned(),
    }
}

/// A string, or what stands for its absence.
#[must_use]
pub fn text_or(object: &Value, path: &[&str], absent: &str) -> Value {
    let text = str_at(object, path);
    if text.is_empty() { absent.into() } else { text.into() }
}

/// A number (or what else is there) as a number cell; 0 when absent.
#[must_use]
pub fn number(object: &Value, path: &[&str]) -> Value {
    at(object, path).cloned().unwrap_or_else(|| 0.into())
}

/// A number as text; 0 when absent.
#[must_use]
pub fn number_text(object: &Value, path: &[&str]) -> Value {
    number(object, path).to_string().into()
}

/// An int-or-string as text.
#[must_use]
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A map as `k=v,k=v` in key order, `<none>` when empty.
#[must_use]
pub fn labels(map: Option<&Value>) -> String {
    let mut pairs: Vec<_> = map
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or_default()))
        .collect();
    pairs.sort();
    if pairs.is_empty() { NONE.to_owned() } else { pairs.join(",") }
}

/// A `LabelSelector` in the form of selector strings, `<none>` when it selects everything.
#[must_use]
pub fn selector(selector: Option<&Value>) -> String {
    let Some(selector) = selector else { return NONE.to_owned() };
    match selector_text(selector) {
        None => "<error>".to_owned(),
        Some(text) if text.is_empty() => NONE.to_owned(),
        Some(text) => text,
    }
}

/// The selector string of a `LabelSelector`; `None` when an operator is unknown.
#[must_use]
pub fn selector_text(selector: &Value) -> Option<String> {
    let mut parts: Vec<(String, String)> = Vec::new();
    for (key, value) in
        at(selector, &["matchLabels"]).and_then(Value::as_object).into_iter().flatten()
    {
        parts.push((key.clone(), format!("{key}={}", value.as_str().unwrap_or_default())));
    }
    for expression in list_at(selector, &["matchExpressions"]) {
        let key = str_at(expression, &["key"]);
        let mut values: Vec<_> =
            list_at(expression, &["values"]).iter().filter_map(Value::as_str).collect();
        values.sort_unstable();
        let values = values.join(",");
        let text = match str_at(expression, &["operator"]) {
            "In" => format!("{key} in ({values})"),
            "NotIn" => format!("{key} notin ({values})"),
            "Exists" => key.to_owned(),
            "DoesNotExist" => format!("!{key}"),
            _ => return None,
        };
        parts.push((key.to_owned(), text));
    }
    parts.sort_by(|a, b| a.0.cmp(&b.0));
    Some(parts.into_iter().map(|(_, text)| text).collect::<Vec<_>>().join(","))
}

/// The names and the images of a pod spec's containers.
#[must_use]
pub fn containers(pod_spec: Option<&Value>) -> [Value; 2] {
    let containers = pod_spec.map(|spec| list_at(spec, &["containers"])).unwrap_or_default();
    ["name", "image"].map(|field| {
        let all: Vec<_> = containers.iter().map(|one| str_at(one, &[field])).collect();
        all.join(",").into()
    })
}

/// The first few of a list, and how many more there are.
#[must_use]
pub fn first_few(all: &[String], max: usize, separator: &str) -> String {
    if all.len() <= max {
        return all.join(separator);
    }
    format!("{} + {} more...", all[..max].join(separator), all.len() - max)
}

/// Whether a condition is there and `True`; `None` when it is not there.
#[must_use]
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<&'a Value> {
    list_at(object, &["status", "conditions"])
        .iter()
        .find(|condition| str_at(condition, &["type"]) == kind)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn selectors_as_text() {
        let value = json!({"matchLabels": {"b": "1", "a": "2"}, "matchExpressions": [
            {"key": "c", "operator": "In", "values": ["y", "x"]},
            {"key": "d", "operator": "DoesNotExist"}]});
        assert_eq!(selector(Some(&value)), "a=2,b=1,c in (x,y),!d");
        assert_eq!(selector(Some(&json!({}))), "<none>");
        assert_eq!(
            first_few(&["a".into(), "b".into(), "c".into(), "d".into()], 3, ","),
            "a,b,c + 1 more..."
        );
    }
}
