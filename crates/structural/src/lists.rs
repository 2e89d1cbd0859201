//! Lists that are sets or maps: nothing in them twice; which item was which before.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use serde_json::Map;

use crate::node::{ListKind, Node};

/// What is there twice.
pub(crate) fn validate(node: &Node, value: &Value, path: &Path, errors: &mut ErrorList) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                if let Some(schema) = node.properties.get(name) {
                    validate(schema, child, &path.child(name), errors);
                } else if let Some(schema) = &node.additional {
                    validate(schema, child, &path.key(name), errors);
                }
            }
        }
        Value::Array(items) => {
            match &node.list {
                ListKind::Set => duplicates(items.iter().map(Clone::clone), path, errors),
                ListKind::Map(keys) => {
                    for (index, item) in items.iter().enumerate() {
                        if !item.is_object() {
                            let text = "must be an object for an array of list-type map";
                            let path = path.index(index);
                            errors.push(FieldError::invalid(path, item.clone(), text));
                        }
                    }
                    let items = items.iter().filter(|item| item.is_object());
                    let key = |item: &Value| keys_of(node, keys, item);
                    duplicates(items.map(key), path, errors);
                }
                ListKind::Unsaid | ListKind::Atomic => {}
            }
            if let Some(schema) = &node.items {
                for (index, item) in items.iter().enumerate() {
                    validate(schema, item, &path.index(index), errors);
                }
            }
        }
        _ => {}
    }
}

fn duplicates(keys: impl Iterator<Item = Value>, path: &Path, errors: &mut ErrorList) {
    let mut seen = std::collections::HashSet::new();
    let mut told = std::collections::HashSet::new();
    for (index, key) in keys.enumerate() {
        let text = key.to_string();
        // Each is told once, however often it is there.
        if !seen.insert(text.clone()) && told.insert(text) {
            errors.push(FieldError::duplicate(path.index(index), key));
        }
    }
}

/// The fields that tell an item of a map list apart.
fn keys_of(node: &Node, keys: &[String], item: &Value) -> Value {
    let default = |key: &str| node.items.as_ref()?.properties.get(key)?.default.clone();
    let mut found = Map::new();
    for key in keys {
        if let Some(value) = item.get(key).cloned().or_else(|| default(key)) {
            found.insert(key.clone(), value);
        }
    }
    Value::Object(found)
}

/// What an item of a list was before, as far as the list's kind tells.
pub(crate) fn correlated<'o>(
    node: &Node,
    item: &Value,
    old: Option<&'o Value>,
) -> Option<&'o Value> {
    let old = old?.as_array()?;
    match &node.list {
        ListKind::Map(keys) => {
            let own = keys_of(node, keys, item);
            old.iter().find(|old| keys_of(node, keys, old) == own)
        }
        ListKind::Unsaid | ListKind::Set | ListKind::Atomic => None,
    }
}
