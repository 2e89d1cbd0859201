//! JSON values to messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::table::{self, Field, Kind, Label, Message};
use super::{ProtoError, wire};

static NULL: Value = Value::Null;

pub(super) fn message(
    message: &Message,
    value: &Value,
    out: &mut Vec<u8>,
) -> Result<(), ProtoError> {
    let map = match value {
        Value::Object(map) => Some(map),
        Value::Null => None,
        _ => return Err(misfit(message.name, value)),
    };
    message.fields.iter().try_for_each(|field| write_field(field, value, map, out))
}

fn misfit(what: &str, value: &Value) -> ProtoError {
    let shown: String = value.to_string().chars().take(64).collect();
    ProtoError::Value(format!("{shown} is not of type {what}"))
}

fn write_field(
    field: &Field,
    parent: &Value,
    map: Option<&Map<String, Value>>,
    out: &mut Vec<u8>,
) -> Result<(), ProtoError> {
    if field.json.is_empty() {
        return one(field.number, field.kind, parent, out);
    }
    let value = map.and_then(|map| map.get(field.json)).unwrap_or(&NULL);
    match field.label {
        Label::Repeated => {
            let items = match value {
                Value::Null => return Ok(()),
                Value::Array(items) => items,
                other => return Err(misfit(field.json, other)),
            };
            items.iter().try_for_each(|item| one(field.number, field.kind, item, out))
        }
        Label::Map => {
            let entries = match value {
                Value::Null => return Ok(()),
                Value::Object(entries) => entries,
                other => return Err(misfit(field.json, other)),
            };
            // The map is sorted by key, as upstream sorts it to be deterministic.
            entries.iter().try_for_each(|(key, value)| {
                wire::put_nested(field.number, out, |out| {
                    wire::put_bytes(1, key.as_bytes(), out);
                    one(2, field.kind, value, out)
                })
            })
        }
        Label::One => {
            let is_slice = matches!(field.kind, Kind::Bytes | Kind::Strings);
            if value.is_null() && (field.pointer || is_slice) {
                return Ok(());
            }
            one(field.number, field.kind, value, out)
        }
    }
}

/// One value, `null` being zero.
fn one(number: u32, kind: Kind, value: &Value, out: &mut Vec<u8>) -> Result<(), ProtoError> {
    match kind {
        Kind::String => wire::put_bytes(number, string(value)?.as_bytes(), out),
        Kind::Bytes => {
            let text: String = string(value)?.chars().filter(|c| !"\r\n".contains(*c)).collect();
            let bytes = STANDARD.decode(text).map_err(|_| misfit("bytes", value))?;
            wire::put_bytes(number, &bytes, out);
        }
        Kind::Bool => wire::put_int(number, i64::from(value.as_bool().unwrap_or_default()), out),
        Kind::Int32 | Kind::Int64 => wire::put_int(number, int(value)?, out),
        Kind::Double => wire::put_double(number, value.as_f64().unwrap_or_default(), out),
        Kind::Message(index) => {
            return wire::put_nested(number, out, |out| {
                message(table::by_index(index), value, out)
            });
        }
        special => {
            return wire::put_nested(number, out, |out| write_special(special, value, out));
        }
    }
    Ok(())
}

fn string(value: &Value) -> Result<&str, ProtoError> {
    match value {
        Value::String(text) => Ok(text),
        Value::Null => Ok(""),
        other => Err(misfit("string", other)),
    }
}

fn int(value: &Value) -> Result<i64, ProtoError> {
    match value {
        Value::Null => Ok(0),
        other => other.as_i64().ok_or_else(|| misfit("integer", other)),
    }
}

/// The inside of a message that has a JSON form of its own.
fn write_special(kind: Kind, value: &Value, out: &mut Vec<u8>) -> Result<(), ProtoError> {
    match kind {
        Kind::Quantity => {
            let text = match value {
                Value::Null => "0".to_owned(),
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                other => return Err(misfit("quantity", other)),
            };
            wire::put_bytes(1, text.as_bytes(), out);
        }
        Kind::Time | Kind::MicroTime => {
            // The zero time is an empty message.
            if value.is_null() {
                return Ok(());
            }
            let time: Timestamp = string(value)?.parse().map_err(|_| misfit("time", value))?;
            wire::put_int(1, time.as_nanosecond().div_euclid(1_000_000_000) as i64, out);
            let micros = time.as_nanosecond().rem_euclid(1_000_000_000) as i64 / 1000;
            wire::put_int(2, if kind == Kind::Time { 0 } else { micros * 1000 }, out);
        }
        Kind::Duration => wire::put_int(1, go_duration(string(value)?), out),
        Kind::IntOrString => {
            let (kind, number, text) = match value {
                Value::String(text) => (1, 0, text.as_str()),
                other => (0, int(other)?, ""),
            };
            wire::put_int(1, kind, out);
            wire::put_int(2, number, out);
            wire::put_bytes(3, text.as_bytes(), out);
        }
        Kind::Json if value.is_null() => {}
        Kind::Json => wire::put_bytes(1, value.to_string().as_bytes(), out),
        Kind::Strings => {
            for item in value.as_array().into_iter().flatten() {
                wire::put_bytes(1, string(item)?.as_bytes(), out);
            }
        }
        Kind::SchemaOrArray => match value {
            Value::Array(items) => {
                for item in items {
                    schema(2, item, out)?;
                }
            }
            one => schema(1, one, out)?,
        },
        Kind::SchemaOrBool => match value {
            Value::Bool(flag) => wire::put_int(1, i64::from(*flag), out),
            one => {
                wire::put_int(1, 1, out);
                schema(2, one, out)?;
            }
        },
        Kind::SchemaOrStrings => match value {
            Value::Array(items) => {
                for item in items {
                    wire::put_bytes(2, string(item)?.as_bytes(), out);
                }
            }
            one => schema(1, one, out)?,
        },
        _ => {}
    }
    Ok(())
}

fn schema(number: u32, value: &Value, out: &mut Vec<u8>) -> Result<(), ProtoError> {
    wire::put_nested(number, out, |out| message(table::json_schema_props(), value, out))
}

/// Nanoseconds of a duration as Go writes it, `1m30.5s`; 0 for what is none.
fn go_duration(text: &str) -> i64 {
    let (negative, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(rest.len());
        let Ok(number) = rest[..digits].parse::<f64>() else { return 0 };
        rest = &rest[digits..];
        let unit_len = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        total += number
            * match &rest[..unit_len] {
                "h" => 3.6e12,
                "m" => 6e10,
                "s" => 1e9,
                "ms" => 1e6,
                "us" | "µs" => 1e3,
                "ns" => 1.0,
                _ => return 0,
            };
        rest = &rest[unit_len..];
    }
    let nanos = total as i64;
    if negative { -nanos } else { nanos }
}
