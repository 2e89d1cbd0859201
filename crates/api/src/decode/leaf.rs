//! Scalars: how Go reads and prints them.

use std::borrow::Cow;

use jiff::Timestamp;
use serde_json::{Map, Value};

use crate::schema::{Print, Schema, Struct};

/// A `metav1.Time` in its canonical form, whole seconds in UTC.
///
/// # Errors
/// Go's text for a text that is no RFC 3339 time.
pub fn canonical_time(text: &str) -> Result<Cow<'_, str>, String> {
    if is_canonical(text, "0000-00-00T00:00:00Z") {
        return Ok(Cow::Borrowed(text));
    }
    let time = parse_time(text)?;
    Ok(Cow::Owned(time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()))
}

/// A `metav1.MicroTime` in its canonical form, microseconds in UTC.
///
/// # Errors
/// Go's text for a text that is no RFC 3339 time.
pub fn canonical_micro_time(text: &str) -> Result<Cow<'_, str>, String> {
    if is_canonical(text, "0000-00-00T00:00:00.000000Z") {
        return Ok(Cow::Borrowed(text));
    }
    let time = parse_time(text)?;
    Ok(Cow::Owned(time.strftime("%Y-%m-%dT%H:%M:%S.%6fZ").to_string()))
}

/// Whether a text has the form of a pattern (0 = a digit) and says a time that exists.
fn is_canonical(text: &str, pattern: &str) -> bool {
    let bytes = text.as_bytes();
    let number =
        |from: usize| u32::from(bytes[from] - b'0') * 10 + u32::from(bytes[from + 1] - b'0');
    bytes.len() == pattern.len()
        && bytes.iter().zip(pattern.bytes()).all(|(byte, sample)| {
            if sample == b'0' { byte.is_ascii_digit() } else { *byte == sample }
        })
        && (1..=12).contains(&number(5))
        // The 29th and later may not exist in their month: the slow way decides.
        && (1..=28).contains(&number(8))
        && number(11) < 24
        && number(14) < 60
        && number(17) < 60
}

fn parse_time(text: &str) -> Result<Timestamp, String> {
    let is_rfc3339 = text.as_bytes().get(10) == Some(&b'T');
    text.parse::<Timestamp>().ok().filter(|_| is_rfc3339).ok_or_else(|| {
        format!(
            "parsing time {text:?} as \"2006-01-02T15:04:05Z07:00\": cannot parse {text:?} as \"2006\""
        )
    })
}

/// Base64 as Go reads it: padded, line breaks ignored. `Ok(None)`: canonical already.
pub(super) fn canonical_base64(text: &str) -> Result<Option<String>, String> {
    let is_digit = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
    let mut compact = Vec::new();
    let bytes = if text.contains(['\n', '\r']) {
        compact.extend(text.bytes().filter(|byte| !b"\r\n".contains(byte)));
        compact.as_slice()
    } else {
        text.as_bytes()
    };
    let body = match bytes {
        [body @ .., b'=', b'='] | [body @ .., b'='] => body,
        body => body,
    };
    if let Some(at) = body.iter().position(|byte| !is_digit(*byte)) {
        return Err(format!("illegal base64 data at input byte {at}"));
    }
    if bytes.len() % 4 != 0 || body.len() % 4 == 1 {
        return Err(format!("illegal base64 data at input byte {}", bytes.len() / 4 * 4));
    }
    Ok((!compact.is_empty()).then(|| String::from_utf8_lossy(&compact).into_owned()))
}

/// Go's name of a type that has no name in the tables.
pub(super) fn go_type_name(schema: &Schema) -> String {
    match schema {
        Schema::String => "string".to_owned(),
        Schema::Bytes => "[]uint8".to_owned(),
        Schema::Bool => "bool".to_owned(),
        Schema::Int32 => "int32".to_owned(),
        Schema::Int64 => "int64".to_owned(),
        Schema::Double => "float64".to_owned(),
        Schema::Quantity => "resource.Quantity".to_owned(),
        Schema::IntOrString => "intstr.IntOrString".to_owned(),
        Schema::Time => "v1.Time".to_owned(),
        Schema::MicroTime => "v1.MicroTime".to_owned(),
        Schema::Object => "map[string]interface {}".to_owned(),
        Schema::Any => "interface {}".to_owned(),
        Schema::List(list) => format!("[]{}", go_type_name(&list.item)),
        Schema::Map(map) => format!("map[string]{}", go_type_name(&map.value)),
        Schema::Struct(_) | Schema::Def(_) | Schema::DefAs(..) => {
            let name = schema.as_struct().map(|known| &*known.name).unwrap_or_default();
            let mut parts = name.rsplit('.');
            let kind = parts.next().unwrap_or_default();
            format!("{}.{kind}", parts.next().unwrap_or("v1"))
        }
    }
}

/// What Go prints for a value that nobody set.
#[must_use]
pub fn zero(schema: &Schema) -> Value {
    match schema {
        Schema::String => Value::String(String::new()),
        Schema::Bool => Value::Bool(false),
        Schema::Int32 | Schema::Int64 | Schema::Double | Schema::IntOrString => Value::from(0),
        Schema::Quantity => Value::String("0".to_owned()),
        Schema::Struct(_) | Schema::Def(_) | Schema::DefAs(..) => {
            let mut map = Map::new();
            if let Some(known) = schema.as_struct() {
                add_always(known, &mut map);
            }
            Value::Object(map)
        }
        _ => Value::Null,
    }
}

/// Adds the fields that Go prints whether or not they were set.
pub(super) fn add_always(known: &Struct, map: &mut Map<String, Value>) {
    for index in &known.always {
        let field = &known.fields[usize::from(*index)];
        if map.contains_key(&*field.name) {
            continue;
        }
        let value =
            if field.print == Print::AlwaysOrNull { Value::Null } else { zero(&field.schema) };
        map.insert(field.name.to_string(), value);
    }
}

/// Whether Go's `omitempty` leaves the value out.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}
