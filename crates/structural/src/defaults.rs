//! Whether a schema's defaults are themselves what the schema allows.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, str_at};

use crate::node::Node;
use crate::{check, lists, report};

/// Deeper schemas are refused by the definition's validation.
const DEPTH_MAX: usize = 64;

/// What is wrong with the defaults of a version's schema.
pub fn check_defaults(schema: &Value, path: &Path, errors: &mut ErrorList) {
    below(schema, path, true, 0, errors);
}

fn below(schema: &Value, path: &Path, is_object: bool, depth: usize, errors: &mut ErrorList) {
    if depth > DEPTH_MAX {
        return;
    }
    if let Some(default) = at(schema, &["default"]).filter(|value| !value.is_null()) {
        let path = path.child("default");
        if depth == 0 {
            whole(default, &path, errors);
        } else {
            one(schema, default, &path, errors);
        }
    }
    if let Some(items) = at(schema, &["items"]) {
        below(items, &path.child("items"), false, depth + 1, errors);
    }
    for (name, child) in
        at(schema, &["properties"]).and_then(Value::as_object).into_iter().flatten()
    {
        // Metadata is not the schema's.
        if is_object && name == "metadata" {
            continue;
        }
        let is_embedded = child["x-kubernetes-embedded-resource"] == true;
        below(child, &path.child("properties").key(name), is_embedded, depth + 1, errors);
    }
}

/// A default of the whole resource would have to be one.
fn whole(default: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["apiVersion", "kind"] {
        if str_at(default, &[field]).is_empty() {
            errors.push(FieldError::required(path.child(field), ""));
        }
    }
}

fn one(schema: &Value, default: &Value, path: &Path, errors: &mut ErrorList) {
    let node = Node::part(schema);
    let mut pruned = default.clone();
    if node.prune(&mut pruned) {
        let why = "must not have unknown fields";
        errors.push(FieldError::invalid(path.clone(), default.clone(), why));
    }
    errors.extend(report::errors(check::check(&node, default, None, "").problems, path));
    lists::validate(&node, default, path, errors);
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn defaults_fit_their_schema() {
        let mut errors = ErrorList::new();
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object", "properties": {
            "good": {"type": "integer", "default": 1},
            "bad": {"type": "integer", "default": "x"},
            "more": {"type": "object", "default": {"a": 1}}}}}});
        check_defaults(&schema, &Path::new("s"), &mut errors);
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(
            found,
            [
                r#"s.properties[spec].properties[bad].default: Invalid value: "string":  in body must be of type integer: "string""#,
                r#"s.properties[spec].properties[more].default: Invalid value: {"a":1}: must not have unknown fields"#,
            ]
        );
    }
}
