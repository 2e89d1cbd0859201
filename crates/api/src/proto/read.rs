//! Messages to JSON values.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::table::{self, Field, Kind, Label, Message};
use super::wire::{self, Reader, Wire};
use super::{ProtoError, envelope};
use crate::schema;

/// Messages in messages deeper than this are refused.
const MAX_DEPTH: usize = 100;

const WRONG_TYPE: ProtoError = ProtoError::Malformed("wrong wireType for field");

type JsonMap = Map<String, Value>;

pub(super) fn message(message: &Message, bytes: &[u8]) -> Result<JsonMap, ProtoError> {
    let mut map = JsonMap::new();
    read_into(message, bytes, &mut map, 0)?;
    Ok(map)
}

/// The bytes that a `RawExtension` holds.
pub(super) fn raw_extension(bytes: &[u8]) -> Result<&[u8], ProtoError> {
    let mut raw: &[u8] = b"";
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        if let (1, Wire::Bytes(bytes)) = (number, value) {
            raw = bytes;
        }
    }
    Ok(raw)
}

fn read_into(
    message: &Message,
    bytes: &[u8],
    map: &mut JsonMap,
    depth: usize,
) -> Result<(), ProtoError> {
    if depth > MAX_DEPTH {
        return Err(ProtoError::Malformed("exceeded max depth"));
    }
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        // Fields of later versions are passed over.
        let Ok(index) = message.fields.binary_search_by_key(&number, |field| field.number) else {
            continue;
        };
        read_field(&message.fields[index], value, map, depth)?;
    }
    Ok(())
}

fn read_field(
    field: &Field,
    value: Wire<'_>,
    map: &mut JsonMap,
    depth: usize,
) -> Result<(), ProtoError> {
    if field.json.is_empty() {
        return match (field.kind, value) {
            (Kind::Message(index), Wire::Bytes(bytes)) => {
                read_into(table::by_index(index), bytes, map, depth + 1)
            }
            _ => Err(WRONG_TYPE),
        };
    }
    match field.label {
        Label::Repeated => {
            let slot = map.entry(field.json).or_insert_with(|| Value::Array(Vec::new()));
            let Value::Array(items) = slot else { return Err(WRONG_TYPE) };
            // Numbers may come packed.
            if let (Kind::Bool | Kind::Int32 | Kind::Int64, Wire::Bytes(bytes)) =
                (field.kind, value)
            {
                let mut packed = Reader::new(bytes);
                while !packed.is_empty() {
                    items.push(one(field.kind, Wire::Varint(packed.varint()?), depth)?);
                }
                return Ok(());
            }
            items.push(one(field.kind, value, depth)?);
        }
        Label::Map => {
            let Wire::Bytes(bytes) = value else { return Err(WRONG_TYPE) };
            let (key, value) = entry(field.kind, bytes, depth)?;
            let slot = map.entry(field.json).or_insert_with(|| Value::Object(JsonMap::new()));
            let Value::Object(entries) = slot else { return Err(WRONG_TYPE) };
            entries.insert(key, value);
        }
        Label::One => {
            // A message that comes twice is merged.
            if let (Kind::Message(index), Wire::Bytes(bytes), Some(Value::Object(known))) =
                (field.kind, value, map.get_mut(field.json))
            {
                return read_into(table::by_index(index), bytes, known, depth + 1);
            }
            // Where Go has no pointer, zero is unset: the canonical form decides what is printed.
            let is_zero = matches!(value, Wire::Varint(0) | Wire::Bytes(b""));
            if is_zero && !field.pointer {
                return Ok(());
            }
            let value = one(field.kind, value, depth)?;
            map.insert(field.json.to_owned(), value);
        }
    }
    Ok(())
}

fn entry(kind: Kind, bytes: &[u8], depth: usize) -> Result<(String, Value), ProtoError> {
    let (mut key, mut value) = (String::new(), Value::Null);
    let mut reader = Reader::new(bytes);
    while let Some((number, found)) = reader.next_field()? {
        match (number, found) {
            (1, Wire::Bytes(text)) => key = wire::text(text)?,
            (2, found) => value = one(kind, found, depth)?,
            _ => {}
        }
    }
    Ok((key, value))
}

fn one(kind: Kind, value: Wire<'_>, depth: usize) -> Result<Value, ProtoError> {
    Ok(match (kind, value) {
        (Kind::String, Wire::Bytes(bytes)) => Value::String(wire::text(bytes)?),
        (Kind::Bytes, Wire::Bytes(bytes)) => Value::String(STANDARD.encode(bytes)),
        (Kind::Bool, Wire::Varint(number)) => Value::Bool(number != 0),
        (Kind::Int32, Wire::Varint(number)) => Value::from(number as i32),
        (Kind::Int64, Wire::Varint(number)) => Value::from(number.cast_signed()),
        (Kind::Double, Wire::Fixed64(bits)) => {
            crate::yaml::go_number(f64::from_bits(bits)).map_or(Value::Null, Value::Number)
        }
        (Kind::Message(index), Wire::Bytes(bytes)) => {
            let mut map = JsonMap::new();
            read_into(table::by_index(index), bytes, &mut map, depth + 1)?;
            Value::Object(map)
        }
        (special, Wire::Bytes(bytes)) => read_special(special, bytes, depth)?,
        _ => return Err(WRONG_TYPE),
    })
}

/// The fields of a message that has a JSON form of its own: numbers and bytes by field.
#[derive(Default)]
struct Parts<'a> {
    numbers: [i64; 4],
    bytes: [Option<&'a [u8]>; 4],
    repeated: Vec<&'a [u8]>,
}

fn parts(bytes: &[u8]) -> Result<Parts<'_>, ProtoError> {
    let mut parts = Parts::default();
    let mut reader = Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        let at = number as usize;
        match value {
            Wire::Varint(value) if at < 4 => parts.numbers[at] = value.cast_signed(),
            Wire::Bytes(value) if at < 4 => {
                parts.bytes[at] = Some(value);
                parts.repeated.push(value);
            }
            _ => {}
        }
    }
    Ok(parts)
}

fn read_special(kind: Kind, bytes: &[u8], depth: usize) -> Result<Value, ProtoError> {
    let parts = parts(bytes)?;
    let strings = || -> Result<Value, ProtoError> {
        let texts = parts.repeated.iter().map(|text| wire::text(text).map(Value::String));
        Ok(Value::Array(texts.collect::<Result<_, _>>()?))
    };
    Ok(match kind {
        Kind::Quantity => match parts.bytes[1] {
            Some(text) => Value::String(wire::text(text)?),
            None => Value::Null,
        },
        Kind::Time | Kind::MicroTime => {
            if bytes.is_empty() {
                return Ok(Value::Null);
            }
            let nanos = i32::try_from(parts.numbers[2]).unwrap_or_default();
            let time = Timestamp::new(parts.numbers[1], nanos)
                .map_err(|_| ProtoError::Malformed("time out of range"))?;
            let form =
                if kind == Kind::Time { "%Y-%m-%dT%H:%M:%SZ" } else { "%Y-%m-%dT%H:%M:%S.%6fZ" };
            Value::String(time.strftime(form).to_string())
        }
        Kind::Duration => Value::String(go_duration(parts.numbers[1])),
        Kind::IntOrString => match parts.numbers[1] {
            1 => Value::String(wire::text(parts.bytes[3].unwrap_or_default())?),
            _ => Value::from(parts.numbers[2] as i32),
        },
        Kind::Json => json(parts.bytes[1].unwrap_or_default(), depth)?,
        Kind::Strings => strings()?,
        Kind::SchemaOrArray => match parts.bytes[1] {
            Some(one) => json_schema(one, depth)?,
            None => {
                let items = parts.repeated.iter().map(|item| json_schema(item, depth));
                Value::Array(items.collect::<Result<_, _>>()?)
            }
        },
        Kind::SchemaOrBool => match parts.bytes[2] {
            Some(one) => json_schema(one, depth)?,
            None => Value::Bool(parts.numbers[1] != 0),
        },
        Kind::SchemaOrStrings => match parts.bytes[1] {
            Some(one) => json_schema(one, depth)?,
            None => strings()?,
        },
        _ => Value::Object(JsonMap::new()),
    })
}

fn json_schema(bytes: &[u8], depth: usize) -> Result<Value, ProtoError> {
    let props = one(Kind::Message(table::json_schema_props_index()), Wire::Bytes(bytes), depth)?;
    match schema::by_name(table::json_schema_props().name) {
        Some(schema) => super::canonical(props, &schema),
        None => Ok(props),
    }
}

/// JSON in bytes; an enveloped object where JSON is expected is made JSON.
fn json(bytes: &[u8], depth: usize) -> Result<Value, ProtoError> {
    if bytes.is_empty() {
        return Ok(Value::Null);
    }
    if bytes.starts_with(super::MAGIC) {
        if depth > MAX_DEPTH / 2 {
            return Err(ProtoError::Malformed("exceeded max depth"));
        }
        let inner = envelope(bytes)?;
        // One level of nesting is all that clients send (`List` items, watch events).
        let message = super::message_of(&inner.api_version, &inner.kind)
            .ok_or(ProtoError::Malformed("unknown kind in an extension"))?;
        let mut map = JsonMap::new();
        read_into(message, inner.raw, &mut map, depth + MAX_DEPTH / 2)?;
        return super::finish(message, map, &inner.api_version, &inner.kind);
    }
    serde_json::from_slice(bytes).map_err(|_| ProtoError::Malformed("an extension is no JSON"))
}

/// A duration as Go writes it.
fn go_duration(nanos: i64) -> String {
    if nanos == 0 {
        return "0s".to_owned();
    }
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.unsigned_abs();
    let trimmed = |value: f64| format!("{value}");
    if nanos < 1000 {
        return format!("{sign}{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{sign}{}µs", trimmed(nanos as f64 / 1e3));
    }
    if nanos < 1_000_000_000 {
        return format!("{sign}{}ms", trimmed(nanos as f64 / 1e6));
    }
    let (hours, rest) = (nanos / 3_600_000_000_000, nanos % 3_600_000_000_000);
    let (minutes, rest) = (rest / 60_000_000_000, rest % 60_000_000_000);
    let seconds = trimmed(rest as f64 / 1e9);
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}s"),
        (0, minutes) => format!("{sign}{minutes}m{seconds}s"),
        (hours, minutes) => format!("{sign}{hours}h{minutes}m{seconds}s"),
    }
}
