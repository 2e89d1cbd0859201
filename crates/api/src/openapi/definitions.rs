//! Definitions of built-in types.

use serde_json::{Map, Value, json};

use super::Form;
use super::facts::Facts;

/// A definition; notes in `wanted` what it refers to.
pub(super) fn of(facts: &Facts, name: &str, form: Form, wanted: &mut Vec<String>) -> Option<Value> {
    let known = facts.schema.get(name)?;
    let mut made = Map::new();
    if let Some(text) = facts.description(name, "") {
        made.insert("description".to_owned(), text.into());
    }
    match known.get("f").and_then(Value::as_object) {
        None => plain(name, known, form, &mut made),
        Some(fields) => {
            made.insert("type".to_owned(), "object".into());
            let mut properties = Map::new();
            let mut required = Vec::new();
            for (field, facts_of) in fields {
                if facts_of["r"] == 1 {
                    required.push(Value::from(field.as_str()));
                }
                let description = facts.description(name, field).map(ToOwned::to_owned);
                let description = with_values(facts, name, field, description);
                let mut made = property(facts_of, description.as_deref(), form, wanted);
                for (part, place) in
                    [("", None), ("[]", Some("items")), ("{}", Some("additionalProperties"))]
                {
                    if let Some(values) = facts.values(name, field, part) {
                        match place {
                            None => made["enum"] = json!(values),
                            Some(place) => made[place]["enum"] = json!(values),
                        }
                    }
                }
                properties.insert(field.clone(), made);
            }
            made.insert("properties".to_owned(), Value::Object(properties));
            if !required.is_empty() {
                made.insert("required".to_owned(), Value::Array(required));
            }
        }
    }
    if let Some(map_type) = known.get("mt") {
        made.insert("x-kubernetes-map-type".to_owned(), map_type.clone());
    }
    if let Some(unions) = known.get("un") {
        made.insert("x-kubernetes-unions".to_owned(), unions.clone());
    }
    if let Some(kinds) = known.get("gvk").and_then(Value::as_array) {
        let kinds: Vec<_> = kinds
            .iter()
            .map(|gvk| json!({"group": gvk[0], "version": gvk[1], "kind": gvk[2]}))
            .collect();
        made.insert("x-kubernetes-group-version-kind".to_owned(), Value::Array(kinds));
    }
    Some(Value::Object(made))
}

/// A field's description, which ends with the values that it takes.
fn with_values(facts: &Facts, name: &str, field: &str, text: Option<String>) -> Option<String> {
    let parts = ["", "[]", "{}"];
    let Some(values) = parts.into_iter().find_map(|part| facts.values(name, field, part)) else {
        return text;
    };
    let mut text = text.unwrap_or_default();
    if !text.is_empty() {
        text.push_str("\n\n");
    }
    text.push_str("Possible enum values:");
    for value in values {
        text.push_str(&format!("\n - `{value:?}`"));
    }
    Some(text)
}

/// Definitions without fields.
fn plain(name: &str, known: &Value, form: Form, made: &mut Map<String, Value>) {
    let last = name.rsplit('.').next().unwrap_or(name);
    match (last, form) {
        ("Quantity", Form::V3) => {
            made.insert("oneOf".to_owned(), json!([{"type": "string"}, {"type": "number"}]));
        }
        ("IntOrString", Form::V3) => {
            made.insert("format".to_owned(), "int-or-string".into());
            made.insert("oneOf".to_owned(), json!([{"type": "integer"}, {"type": "string"}]));
        }
        _ => {
            let (kind, format) = split(known["t"].as_str().unwrap_or("any"));
            if kind != "any" {
                made.insert("type".to_owned(), kind.into());
            }
            if let Some(format) = format {
                made.insert("format".to_owned(), format.into());
            }
        }
    }
}

fn split(text: &str) -> (&str, Option<&str>) {
    match text.split_once(':') {
        Some((kind, format)) => (kind, Some(format)),
        None => (text, None),
    }
}

fn property(
    facts: &Value,
    description: Option<&str>,
    form: Form,
    wanted: &mut Vec<String>,
) -> Value {
    let text = facts.as_str().or_else(|| facts["t"].as_str()).unwrap_or("any");
    let mut made = Map::new();
    let of_ref = text.strip_prefix('#');
    if let (Some(definition), Form::V3) = (of_ref, form) {
        wanted.push(definition.to_owned());
        // Beside a `$ref` nothing counts, so it is wrapped.
        made.insert("allOf".to_owned(), json!([{"$ref": form.reference(definition)}]));
    } else {
        add_type(text, form, wanted, &mut made);
    }
    if let Some(description) = description {
        made.insert("description".to_owned(), description.into());
    }
    if let (Some(default), Form::V3) = (facts.get("df"), form) {
        made.insert("default".to_owned(), default.clone());
    }
    for (key, extension) in [
        ("lt", "x-kubernetes-list-type"),
        ("lk", "x-kubernetes-list-map-keys"),
        ("mt", "x-kubernetes-map-type"),
        ("pk", "x-kubernetes-patch-merge-key"),
        ("ps", "x-kubernetes-patch-strategy"),
        ("un", "x-kubernetes-unions"),
        ("en", "enum"),
    ] {
        if let Some(value) = facts.get(key) {
            made.insert(extension.to_owned(), value.clone());
        }
    }
    Value::Object(made)
}

fn add_type(text: &str, form: Form, wanted: &mut Vec<String>, made: &mut Map<String, Value>) {
    let inner =
        |open: char, close: char| text.strip_prefix(open).and_then(|rest| rest.strip_suffix(close));
    if let Some(definition) = text.strip_prefix('#') {
        wanted.push(definition.to_owned());
        made.insert("$ref".to_owned(), form.reference(definition).into());
    } else if let Some(item) = inner('[', ']') {
        made.insert("type".to_owned(), "array".into());
        made.insert("items".to_owned(), element(item, form, wanted));
    } else if let Some(value) = inner('{', '}') {
        made.insert("type".to_owned(), "object".into());
        made.insert("additionalProperties".to_owned(), element(value, form, wanted));
    } else {
        let (kind, format) = split(text);
        if kind != "any" {
            made.insert("type".to_owned(), kind.into());
        }
        if let Some(format) = format {
            made.insert("format".to_owned(), format.into());
        }
    }
}

/// An item of a list or a value of a map.
fn element(text: &str, form: Form, wanted: &mut Vec<String>) -> Value {
    let mut made = Map::new();
    add_type(text, form, wanted, &mut made);
    Value::Object(made)
}
