//! What of an object is kept, and what is filled in.

use api::Value;
use serde_json::Map;

use crate::node::Node;

/// The fields of an embedded object that no schema takes away.
const OBJECT_FIELDS: [&str; 3] = ["apiVersion", "kind", "metadata"];

impl Node {
    /// Takes away the fields that the schema does not know; whether there were any.
    pub fn prune(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(map) => self.prune_map(map),
            Value::Array(items) => match &self.items {
                Some(schema) => items.iter_mut().fold(false, |any, item| schema.prune(item) | any),
                None => false,
            },
            _ => false,
        }
    }

    fn prune_map(&self, map: &mut Map<String, Value>) -> bool {
        let before = map.len();
        if !self.preserves_unknown && self.additional.is_none() {
            map.retain(|name, _| {
                self.properties.contains_key(name)
                    || (self.is_embedded && OBJECT_FIELDS.contains(&name.as_str()))
            });
        }
        let mut changed = map.len() != before;
        for (name, child) in map {
            if self.is_embedded && OBJECT_FIELDS.contains(&name.as_str()) {
                continue;
            }
            if let Some(schema) = self.field(name) {
                changed |= schema.prune(child);
            }
        }
        changed
    }

    /// Fills in what is left out and has a default; a `null` that may not be counts as left out.
    /// Whether anything changed.
    pub fn fill(&self, value: &mut Value) -> bool {
        match value {
            Value::Object(map) => self.fill_map(map),
            Value::Array(items) => match &self.items {
                Some(schema) => items.iter_mut().fold(false, |any, item| schema.fill(item) | any),
                None => false,
            },
            _ => false,
        }
    }

    fn fill_map(&self, map: &mut Map<String, Value>) -> bool {
        let mut changed = false;
        // Of values that cannot be null, null is no value.
        let before = map.len();
        map.retain(|name, child| {
            !child.is_null()
                || self.field(name).is_none_or(|schema| schema.nullable || schema.is_free())
        });
        changed |= map.len() != before;
        for (name, schema) in &self.properties {
            if let Some(default) = &schema.default
                && !map.contains_key(name)
            {
                map.insert(name.clone(), default.clone());
                changed = true;
            }
        }
        for (name, child) in map {
            if let Some(schema) = self.field(name) {
                changed |= schema.fill(child);
            }
        }
        changed
    }

    /// Whether nothing is said of the value, so that `null` is as good as any.
    fn is_free(&self) -> bool {
        self.kind == crate::Type::Any && self.default.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn unknown_fields_go_and_defaults_come() {
        let node = Node::root(Some(&json!({"type": "object", "properties": {"spec": {
            "type": "object", "default": {}, "properties": {
                "size": {"type": "integer", "default": 1},
                "no": {"type": "string", "nullable": true, "default": "x"},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true,
                    "properties": {"k": {"type": "object"}}},
                "pod": {"type": "object", "x-kubernetes-embedded-resource": true},
                "map": {"type": "object", "additionalProperties": {"type": "object",
                    "properties": {"c": {"type": "boolean", "default": false}}}}}}}})));
        let mut object = json!({"kind": "K", "metadata": {"a": 1}, "x": 1, "spec": {
            "size": null, "no": null, "free": {"z": 1, "k": {"gone": 1}},
            "pod": {"metadata": {"name": "p"}, "spec": {}}, "map": {"a": {"d": 1}, "b": null}}});
        assert!(node.prune(&mut object));
        assert!(!node.prune(&mut object));
        assert!(node.fill(&mut object));
        assert!(!node.fill(&mut object));
        assert_eq!(
            object,
            json!({"kind": "K", "metadata": {"a": 1}, "spec": {
                "size": 1, "no": null, "free": {"z": 1, "k": {}},
                "pod": {"metadata": {"name": "p"}}, "map": {"a": {"c": false}}}})
        );
        let mut empty = json!({});
        node.fill(&mut empty);
        assert_eq!(empty, json!({"spec": {"size": 1, "no": "x"}}));
    }
}
