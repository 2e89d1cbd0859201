//! Objects within objects (`x-kubernetes-embedded-resource`): they say what they are, and their
//! metadata is metadata.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::validate::dns1035_label;

use crate::node::Node;

/// What is wrong with the embedded objects of an object; the root is checked elsewhere.
pub(crate) fn validate(node: &Node, object: &Value, path: &Path, errors: &mut ErrorList) {
    below(node, object, path, errors);
}

fn below(node: &Node, value: &Value, path: &Path, errors: &mut ErrorList) {
    let mut next = |schema: &Node, child: &Value, path: Path| {
        if schema.is_embedded && child.is_object() {
            resource(child, &path, errors);
        }
        below(schema, child, &path, errors);
    };
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                if let Some(schema) = node.properties.get(name) {
                    next(schema, child, path.child(name));
                } else if let Some(schema) = &node.additional {
                    next(schema, child, path.key(name));
                }
            }
        }
        Value::Array(items) => {
            let Some(schema) = &node.items else { return };
            for (index, item) in items.iter().enumerate() {
                next(schema, item, path.index(index));
            }
        }
        _ => {}
    }
}

fn resource(object: &Value, path: &Path, errors: &mut ErrorList) {
    for field in ["apiVersion", "kind"] {
        let here = path.child(field);
        match object.get(field) {
            None => errors.push(FieldError::required(here, "")),
            Some(Value::String(text)) if text.is_empty() => {
                errors.push(FieldError::invalid(here, "", "must not be empty"));
            }
            Some(Value::String(text)) if field == "kind" => {
                for why in dns1035_label(&text.to_lowercase()) {
                    let why = format!("may have mixed case, but should otherwise match: {why}");
                    errors.push(FieldError::invalid(here.clone(), text.as_str(), why));
                }
            }
            Some(Value::String(text)) if text.matches('/').count() > 1 => {
                let why = format!("unexpected GroupVersion string: {text}");
                errors.push(FieldError::invalid(here, text.as_str(), why));
            }
            Some(Value::String(_)) => {}
            Some(other) => {
                errors.push(FieldError::invalid(here, other.clone(), "must be a string"))
            }
        }
    }
    let here = path.child("metadata");
    errors.extend(api::validate::labels(
        api::object::at(object, &["metadata", "labels"]),
        &here.child("labels"),
    ));
    let annotations = api::object::at(object, &["metadata", "annotations"]);
    errors.extend(api::validate::annotations(annotations, &here.child("annotations")));
}
