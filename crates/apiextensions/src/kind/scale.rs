//! What the numbers of a scale must be, when a version has one.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use apiserver::resource::ScalePaths;

/// What is wrong with the numbers that a scale shows.
pub(super) fn validate(paths: &ScalePaths, object: &Value, errors: &mut ErrorList) {
    for at in [&paths.spec_replicas, &paths.status_replicas] {
        let parts: Vec<&str> = at.iter().map(|part| &**part).collect();
        // Upstream names the path as the definition does.
        let path = Path::new(&format!(".{}", parts.join(".")));
        let count = match number(object, &parts) {
            Ok(Some(count)) => count,
            Ok(None) => continue,
            Err(why) => {
                let why = format!("{path} accessor error: {why}");
                errors.push(FieldError::invalid(path, 0, why));
                continue;
            }
        };
        if count < 0 {
            errors.push(FieldError::invalid(path, count, "should be a non-negative integer"));
        } else if count > i64::from(i32::MAX) {
            let why = format!("should be less than or equal to {}", i32::MAX);
            errors.push(FieldError::invalid(path, count, why));
        }
    }
}

/// The number at a path, or why there can be none.
fn number(object: &Value, parts: &[&str]) -> Result<Option<i64>, String> {
    let wrong = |value: &Value, wanted: &str| {
        let (shown, kind) = match value {
            Value::Null => ("<nil>".to_owned(), "<nil>"),
            Value::Bool(flag) => (flag.to_string(), "bool"),
            Value::Number(number) if number.is_f64() => (number.to_string(), "float64"),
            Value::Number(number) => (number.to_string(), "int64"),
            Value::String(text) => (text.clone(), "string"),
            Value::Array(items) => {
                let items: Vec<String> = items.iter().map(ToString::to_string).collect();
                (format!("[{}]", items.join(" ")), "[]interface {}")
            }
            Value::Object(_) => ("map[]".to_owned(), "map[string]interface {}"),
        };
        format!("{shown} is of the type {kind}, expected {wanted}")
    };
    let mut at = object;
    for part in parts {
        let Value::Object(map) = at else { return Err(wrong(at, "map[string]interface{}")) };
        let Some(next) = map.get(*part) else { return Ok(None) };
        at = next;
    }
    at.as_i64().map(Some).ok_or_else(|| wrong(at, "int64"))
}
