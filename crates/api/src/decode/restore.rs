//! What Go's converter says of a value that does not fit: strategic merge patches are applied to maps,
//! which then become structs without a detour through JSON.

use std::fmt::Write as _;

use serde_json::Value;

use super::DecodeError;
use crate::schema::Schema;

/// Why a value cannot become what the schema says, in the converter's words. `None` when it can.
#[must_use]
pub fn restore_error(value: &Value, schema: &Schema) -> Option<DecodeError> {
    why(value, schema).map(DecodeError)
}

fn why(value: &Value, schema: &Schema) -> Option<String> {
    if value.is_null() {
        return None;
    }
    match (schema, value) {
        (Schema::Map(map), Value::Object(entries)) => {
            entries.values().find_map(|value| why(value, &map.value))
        }
        (Schema::Map(_) | Schema::Object, value) if !value.is_object() => {
            Some(format!("cannot restore map from {}", kind(value)))
        }
        (Schema::List(list), Value::Array(items)) => {
            items.iter().find_map(|item| why(item, &list.item))
        }
        (Schema::List(_), value) => Some(format!("cannot restore slice from {}", kind(value))),
        (Schema::Struct(_) | Schema::Def(_) | Schema::DefAs(..), Value::Object(entries)) => {
            let known = schema.as_struct()?;
            entries.iter().find_map(|(name, value)| why(value, &known.field(name)?.schema))
        }
        (Schema::Struct(_) | Schema::Def(_) | Schema::DefAs(..), value) => {
            Some(format!("cannot restore struct from: {}", kind(value)))
        }
        (Schema::String, value) if !value.is_string() => Some(match kind(value) {
            // Go makes letters of integers.
            "int64" => "cannot convert int64 to string".to_owned(),
            _ => "unrecognized type: string".to_owned(),
        }),
        (Schema::Bool, value) if !value.is_boolean() => Some("unrecognized type: bool".to_owned()),
        (Schema::Int32, value) => integer(value, "int32"),
        (Schema::Int64, value) => integer(value, "int64"),
        (Schema::Double, value) if !value.is_number() => {
            Some("unrecognized type: float64".to_owned())
        }
        (Schema::Bytes, Value::String(text)) => {
            let why = super::leaf::canonical_base64(text).err()?;
            Some(format!("error decoding from json: {why}"))
        }
        (Schema::Bytes, value) => Some(format!("cannot restore slice from {}", kind(value))),
        // What reads itself from JSON does so here too.
        (Schema::Quantity | Schema::IntOrString | Schema::Time | Schema::MicroTime, value) => {
            super::value(value.clone(), schema).err().map(|error| error.to_string())
        }
        _ => None,
    }
}

fn integer(value: &Value, name: &str) -> Option<String> {
    match value {
        Value::Number(number) if number.is_i64() => None,
        Value::Number(number) if number.as_f64().is_some_and(|number| number.fract() == 0.0) => {
            None
        }
        Value::Number(_) => Some(format!("cannot convert float64 to {name}")),
        _ => Some(format!("unrecognized type: {name}")),
    }
}

/// What Go has made of a JSON value.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "invalid",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_i64() => "int64",
        Value::Number(_) => "float64",
        Value::String(_) => "string",
        Value::Array(_) => "slice",
        Value::Object(_) => "map",
    }
}

/// A value as Go prints it with `%+v`.
#[must_use]
pub fn go_value(value: &Value) -> String {
    let mut out = String::new();
    print(value, &mut out);
    out
}

fn print(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                print(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            out.push_str("map[");
            for (at, (key, value)) in map.iter().enumerate() {
                if at > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                print(value, out);
            }
            out.push(']');
        }
        // Writing into a string cannot fail.
        single => drop(write!(out, "{single}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn rows_of_what_does_not_fit() {
        let schema = crate::schema::by_kind("", "v1", "ConfigMap").unwrap();
        for (patched, expected) in [
            (json!({"metadata": {"labels": "x"}}), "cannot restore map from string"),
            (json!({"data": [1]}), "cannot restore map from slice"),
            (json!({"data": {"a": 1}}), "cannot convert int64 to string"),
            (json!({"data": {"a": 1.5}}), "unrecognized type: string"),
            (json!({"data": {"a": {"b": 1}}}), "unrecognized type: string"),
            (json!({"metadata": {"finalizers": "x"}}), "cannot restore slice from string"),
            (json!({"immutable": 1}), "unrecognized type: bool"),
            (json!({"metadata": {"generation": "x"}}), "unrecognized type: int64"),
            (json!({"metadata": {"generation": 1.5}}), "cannot convert float64 to int64"),
            (json!({"metadata": "x"}), "cannot restore struct from: string"),
            (
                json!({"metadata": {"creationTimestamp": "x"}}),
                "parsing time \"x\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"x\" as \"2006\"",
            ),
            (json!({"binaryData": {"a": 1}}), "cannot restore slice from int64"),
            (
                json!({"binaryData": {"a": "*"}}),
                "error decoding from json: illegal base64 data at input byte 0",
            ),
        ] {
            let found = restore_error(&patched, &schema).map(|error| error.to_string());
            assert_eq!(found.as_deref(), Some(expected), "{patched}");
        }
        let good =
            json!({"metadata": {"labels": null, "nope": 1, "generation": 2}, "data": {"a": "b"}});
        assert_eq!(restore_error(&good, &schema), None);
    }

    #[test]
    fn values_are_printed_as_go_prints_them() {
        let value = json!({"b": [{"name": 1}, null], "a": {"x": "y z"}, "c": true});
        assert_eq!(go_value(&value), "map[a:map[x:y z] b:[map[name:1] <nil>] c:true]");
    }
}
