//! A row of the table: the name, and what the columns' paths lead to.

use api::Value;
use api::object::name;
use apiserver::resource::Row;
use base::clock::Timestamp;

use crate::definition::Version;

/// The row of an object.
pub(super) fn row(version: &Version, object: &Value, now: Timestamp) -> Row {
    let mut cells = vec![name(object).into()];
    for (path, column) in version.paths.iter().zip(&version.columns[1..]) {
        let found = path.as_ref().and_then(|path| path.find(object).ok());
        let value = found.and_then(|found| found.first().copied());
        cells.push(value.map_or(Value::Null, |value| cell(&column.kind, value, now)));
    }
    Row { cells, conditions: Vec::new() }
}

fn cell(kind: &str, value: &Value, now: Timestamp) -> Value {
    match (kind, value) {
        (_, Value::Null) => Value::Null,
        ("string", Value::String(text)) => text.as_str().into(),
        ("string", other) => other.to_string().into(),
        ("integer", Value::Number(number)) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => whole.into(),
            (None, Some(float)) => (float as i64).into(),
            (None, None) => Value::Null,
        },
        ("number", Value::Number(_)) | ("boolean", Value::Bool(_)) => value.clone(),
        ("date", Value::String(text)) => match text.parse::<Timestamp>() {
            Ok(_) => api::duration::age(text, now).into(),
            Err(_) => "<invalid>".into(),
        },
        _ => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn cells_by_type() {
        let now: Timestamp = "2026-01-01T00:05:00Z".parse().unwrap();
        for (kind, value, expected) in [
            ("string", json!("a"), json!("a")),
            ("string", json!([1, "x"]), json!("[1,\"x\"]")),
            ("string", json!(1), json!("1")),
            ("integer", json!(1.9), json!(1)),
            ("integer", json!("1"), Value::Null),
            ("boolean", json!(false), json!(false)),
            ("number", json!(1.5), json!(1.5)),
            ("date", json!("2026-01-01T00:00:00Z"), json!("5m")),
            ("date", json!("now"), json!("<invalid>")),
        ] {
            assert_eq!(cell(kind, &value, now), expected, "{kind} {value}");
        }
    }
}
