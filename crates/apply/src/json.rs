//! JSON patch, RFC 6902, as evanphx/json-patch applies it: negative indices count from the end,
//! and copies may not make more than a request may hold.

use api::status::{ApiError, ApiResult};
use serde::Deserialize;
use serde_json::Value;

use crate::unprocessable;

/// A patch with more operations is refused with 413.
const MAX_OPERATIONS: usize = 10_000;
/// All copies of one patch together may have this many bytes.
const MAX_COPIED_BYTES: usize = 3 * 1024 * 1024;

#[derive(Deserialize)]
struct Operation {
    op: String,
    path: Option<String>,
    from: Option<String>,
    #[serde(default, deserialize_with = "present")]
    value: Option<Value>,
}

/// Tells `"value": null` from no value.
fn present<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Value::deserialize(deserializer).map(Some)
}

/// Why an operation cannot be applied. Upstream does not tell the client.
struct Inapplicable;

type Applied<T> = Result<T, Inapplicable>;

/// Applies a JSON patch.
///
/// # Errors
/// 400 when the patch is none, 413 when it has too many operations, 422 when one of them cannot be
/// applied.
pub fn json_patch(object: &Value, patch: &[u8]) -> ApiResult<Value> {
    // Nothing is no operation at all.
    let operations: Option<Vec<Operation>> = serde_json::from_slice(patch).map_err(|error| {
        let why =
            api::decode::json_syntax_error(patch).unwrap_or_else(|| wrong_kind(patch, &error));
        ApiError::bad_request(format!("error decoding patch: {why}"))
    })?;
    let operations = operations.unwrap_or_default();
    if operations.len() > MAX_OPERATIONS {
        let count = operations.len();
        return Err(ApiError::new(
            413,
            "RequestEntityTooLarge",
            format!(
                "The allowed maximum operations in a JSON patch is {MAX_OPERATIONS}, got {count}"
            ),
        ));
    }
    let mut patched = object.clone();
    let mut copied = 0;
    for operation in operations {
        apply_one(&mut patched, operation, &mut copied).map_err(|Inapplicable| unprocessable())?;
    }
    Ok(patched)
}

/// Go's text for JSON that is no list of operations.
fn wrong_kind(patch: &[u8], error: &serde_json::Error) -> String {
    let found = match patch.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => "object",
        Some(b'"') => "string",
        Some(b't' | b'f') => "bool",
        Some(b'-' | b'0'..=b'9') => "number",
        _ => return error.to_string(),
    };
    format!("json: cannot unmarshal {found} into Go value of type []handlers.jsonPatchOp")
}

fn apply_one(document: &mut Value, operation: Operation, copied: &mut usize) -> Applied<()> {
    let path = pointer(operation.path.as_deref())?;
    match operation.op.as_str() {
        "add" => add(document, &path, operation.value.ok_or(Inapplicable)?),
        "remove" => remove(document, &path).map(drop),
        "replace" => {
            let value = operation.value.ok_or(Inapplicable)?;
            *get_mut(document, &path)? = value;
            Ok(())
        }
        "move" => {
            let value = remove(document, &pointer(operation.from.as_deref())?)?;
            add(document, &path, value)
        }
        "copy" => {
            let value = get_mut(document, &pointer(operation.from.as_deref())?)?.clone();
            *copied += value.to_string().len();
            if *copied > MAX_COPIED_BYTES {
                return Err(Inapplicable);
            }
            add(document, &path, value)
        }
        "test" => {
            let expected = operation.value.unwrap_or(Value::Null);
            // A value that is not there is like null.
            let found = get_mut(document, &path).map_or(Value::Null, |found| found.clone());
            if equal(&found, &expected) { Ok(()) } else { Err(Inapplicable) }
        }
        _ => Err(Inapplicable),
    }
}

/// Numbers are equal by value, whatever their form.
fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a == b || a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b))
        }
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len()
                && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        _ => a == b,
    }
}

fn pointer(path: Option<&str>) -> Applied<Vec<String>> {
    let path = path.ok_or(Inapplicable)?;
    if path.is_empty() {
        return Ok(Vec::new());
    }
    let rest = path.strip_prefix('/').ok_or(Inapplicable)?;
    Ok(rest.split('/').map(|part| part.replace("~1", "/").replace("~0", "~")).collect())
}

/// The index that a part of a path means in a list of `len` items.
fn index(part: &str, len: usize) -> Applied<usize> {
    if let Some(from_end) = part.strip_prefix('-') {
        let from_end: usize = from_end.parse().map_err(|_| Inapplicable)?;
        return if from_end == 0 {
            Err(Inapplicable)
        } else {
            len.checked_sub(from_end).ok_or(Inapplicable)
        };
    }
    part.parse().map_err(|_| Inapplicable)
}

fn get_mut<'a>(document: &'a mut Value, path: &[String]) -> Applied<&'a mut Value> {
    path.iter().try_fold(document, |value, part| match value {
        Value::Object(map) => map.get_mut(part).ok_or(Inapplicable),
        Value::Array(items) => {
            let at = index(part, items.len())?;
            items.get_mut(at).ok_or(Inapplicable)
        }
        _ => Err(Inapplicable),
    })
}

fn add(document: &mut Value, path: &[String], value: Value) -> Applied<()> {
    let Some((last, parents)) = path.split_last() else {
        *document = value;
        return Ok(());
    };
    match get_mut(document, parents)? {
        Value::Object(map) => {
            map.insert(last.clone(), value);
            Ok(())
        }
        Value::Array(items) => {
            let len = items.len();
            let at = match last.as_str() {
                "-" => len,
                // A negative index of an insertion counts from behind the last item.
                part if part.starts_with('-') => index(part, len + 1)?,
                part => index(part, len)?,
            };
            if at > len {
                return Err(Inapplicable);
            }
            items.insert(at, value);
            Ok(())
        }
        _ => Err(Inapplicable),
    }
}

fn remove(document: &mut Value, path: &[String]) -> Applied<Value> {
    let Some((last, parents)) = path.split_last() else {
        return Err(Inapplicable);
    };
    match get_mut(document, parents)? {
        Value::Object(map) => map.remove(last).ok_or(Inapplicable),
        Value::Array(items) => {
            let at = index(last, items.len())?;
            if at < items.len() { Ok(items.remove(at)) } else { Err(Inapplicable) }
        }
        _ => Err(Inapplicable),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn operations_change_the_document() {
        let document = json!({"a": [1, 2], "b": {"c/d": 1}});
        for (patch, expected) in [
            (
                json!([{"op": "add", "path": "/a/1", "value": 9}]),
                json!({"a": [1, 9, 2], "b": {"c/d": 1}}),
            ),
            (
                json!([{"op": "add", "path": "/a/-", "value": 9}]),
                json!({"a": [1, 2, 9], "b": {"c/d": 1}}),
            ),
            (json!([{"op": "remove", "path": "/b/c~1d"}]), json!({"a": [1, 2], "b": {}})),
            (
                json!([{"op": "replace", "path": "/a/-1", "value": null}]),
                json!({"a": [1, null], "b": {"c/d": 1}}),
            ),
            (
                json!([{"op": "move", "from": "/a", "path": "/x"}]),
                json!({"x": [1, 2], "b": {"c/d": 1}}),
            ),
            (
                json!([{"op": "copy", "from": "/a/0", "path": "/y"}]),
                json!({"a": [1, 2], "b": {"c/d": 1}, "y": 1}),
            ),
            (
                json!([{"op": "test", "path": "/a/0", "value": 1.0}, {"op": "test", "path": "/no", "value": null}]),
                document.clone(),
            ),
        ] {
            let patched = json_patch(&document, patch.to_string().as_bytes()).unwrap();
            assert_eq!(patched, expected, "{patch}");
        }
    }

    #[test]
    fn bad_patches_have_upstreams_codes() {
        let many = vec![json!({"op": "test", "path": "/x"}); MAX_OPERATIONS + 1];
        for (patch, code) in [
            ("{".to_owned(), 400),
            ("{}".to_owned(), 400),
            (json!(many).to_string(), 413),
            (json!([{"op": "remove", "path": "/x"}]).to_string(), 422),
            (json!([{"op": "replace", "path": "/x", "value": 1}]).to_string(), 422),
            (json!([{"op": "add", "path": "/a/7", "value": 1}]).to_string(), 422),
            (json!([{"op": "test", "path": "/a/0", "value": 2}]).to_string(), 422),
            (json!([{"op": "jump", "path": "/a"}]).to_string(), 422),
            (json!([{"op": "add", "path": "a", "value": 1}]).to_string(), 422),
        ] {
            let error = json_patch(&json!({"a": [1]}), patch.as_bytes()).unwrap_err();
            assert_eq!(error.code(), code, "{patch}");
        }
    }
}
