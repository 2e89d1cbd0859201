//! A custom resource's structural schema (`openAPIV3Schema`, as JSON) as a [`Schema`] tree.
//!
//! Only what decoding, pruning, defaulting and merging need is taken; validation reads the JSON
//! schema itself. The root gets `apiVersion`, `kind` and `metadata` whatever the schema says of
//! them, as upstream's does.

use std::sync::Arc;

use serde_json::{Map as JsonMap, Value};

use super::{
    Field, Granularity, List, ListType, Map, PatchStrategy, Print, Schema, Struct, by_name,
};

/// A structural schema deeper than this is refused: walking it would cost the stack.
const MAX_DEPTH: usize = 120;

/// Why a schema cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StructuralError {
    /// The schema is nested too deeply.
    #[error("schema is nested more than {MAX_DEPTH} levels deep")]
    TooDeep,
    /// The schema is no JSON object.
    #[error("schema must be an object")]
    NotAnObject,
}

/// Makes the tree of a version's `openAPIV3Schema`; `Value::Null` for a version without a schema.
///
/// # Errors
/// When the schema is no object, or nested too deeply.
pub fn from_structural(schema: &Value) -> Result<Schema, StructuralError> {
    let empty = JsonMap::new();
    let (root, without_schema) = match schema {
        Value::Null => (&empty, true),
        Value::Object(root) => (root, false),
        _ => return Err(StructuralError::NotAnObject),
    };
    let mut root = object(root, 0)?;
    if without_schema {
        root.unknown = Some(Schema::Any);
    }
    add_object_fields(&mut root);
    Ok(Schema::Struct(Arc::new(root)))
}

fn add_object_fields(object: &mut Struct) {
    let metadata = by_name("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta");
    let metadata = metadata.unwrap_or(Schema::Any);
    for (name, schema) in
        [("apiVersion", Schema::String), ("kind", Schema::String), ("metadata", metadata)]
    {
        let field = plain_field(name, schema);
        match object.position(name) {
            Some(index) => object.fields[index].schema = field.schema,
            None => {
                let at = object.fields.partition_point(|known| *known.name < *name);
                object.fields.insert(at, field);
            }
        }
    }
    object.embedded = true;
}

fn plain_field(name: &str, schema: Schema) -> Field {
    Field {
        name: name.into(),
        schema,
        required: false,
        nullable: false,
        print: Print::Verbatim,
        default: None,
        enumeration: Vec::new(),
        patch: PatchStrategy::default(),
        go_type: "".into(),
    }
}

fn is_true(schema: &JsonMap<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn text<'a>(schema: &'a JsonMap<String, Value>, key: &str) -> &'a str {
    schema.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn node(schema: &Value, depth: usize) -> Result<Schema, StructuralError> {
    let schema = schema.as_object().ok_or(StructuralError::NotAnObject)?;
    if depth > MAX_DEPTH {
        return Err(StructuralError::TooDeep);
    }
    if is_true(schema, "x-kubernetes-int-or-string") {
        return Ok(Schema::IntOrString);
    }
    Ok(match text(schema, "type") {
        "string" => Schema::String,
        "boolean" => Schema::Bool,
        "integer" => Schema::Int64,
        "number" => Schema::Double,
        "array" => Schema::List(Arc::new(list(schema, depth)?)),
        "object" => map_or_struct(schema, depth)?,
        // Without a type only what is preserved as a whole is structural.
        _ if schema.contains_key("properties") => map_or_struct(schema, depth)?,
        _ => Schema::Any,
    })
}

fn map_or_struct(schema: &JsonMap<String, Value>, depth: usize) -> Result<Schema, StructuralError> {
    let granularity = granularity(schema);
    if !schema.contains_key("properties") {
        let value = match schema.get("additionalProperties") {
            Some(Value::Object(_)) => Some(node(&schema["additionalProperties"], depth + 1)?),
            Some(Value::Bool(true)) => Some(Schema::Any),
            _ => None,
        };
        if let Some(value) = value {
            return Ok(Schema::Map(Arc::new(Map { value, granularity })));
        }
    }
    let mut object = object(schema, depth)?;
    if is_true(schema, "x-kubernetes-embedded-resource") {
        add_object_fields(&mut object);
    }
    Ok(Schema::Struct(Arc::new(object)))
}

fn granularity(schema: &JsonMap<String, Value>) -> Granularity {
    if text(schema, "x-kubernetes-map-type") == "atomic" {
        Granularity::Atomic
    } else {
        Granularity::Granular
    }
}

fn object(schema: &JsonMap<String, Value>, depth: usize) -> Result<Struct, StructuralError> {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields = Vec::new();
    for (name, property) in
        schema.get("properties").and_then(Value::as_object).into_iter().flatten()
    {
        let mut field = plain_field(name, node(property, depth + 1)?);
        field.required = required.contains(&name.as_str());
        field.nullable = property["nullable"] == Value::Bool(true);
        field.default = property.get("default").cloned();
        field.enumeration = property["enum"].as_array().cloned().unwrap_or_default();
        fields.push(field);
    }
    fields.sort_by(|a, b| a.name.cmp(&b.name));
    let unknown = match schema.get("additionalProperties") {
        _ if is_true(schema, "x-kubernetes-preserve-unknown-fields") => Some(Schema::Any),
        Some(Value::Bool(true)) => Some(Schema::Any),
        Some(properties @ Value::Object(_)) => Some(node(properties, depth + 1)?),
        _ => None,
    };
    Ok(Struct { fields, granularity: granularity(schema), unknown, ..Struct::default() })
}

fn list(schema: &JsonMap<String, Value>, depth: usize) -> Result<List, StructuralError> {
    let item = match schema.get("items") {
        Some(items) => node(items, depth + 1)?,
        None => Schema::Any,
    };
    let list_type = match text(schema, "x-kubernetes-list-type") {
        "set" => ListType::Set,
        "map" => ListType::Map(
            schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(Into::into)
                .collect(),
        ),
        _ => ListType::Atomic,
    };
    Ok(List { item, list_type })
}

/// Fills in what a custom resource leaves out and its schema has defaults for, in `metadata` of
/// embedded objects too. A `null` where none may be counts as left out.
pub fn fill_defaults(value: &mut Value, schema: &Schema) {
    match (value, schema) {
        (Value::Object(map), Schema::Struct(known)) => {
            for field in &known.fields {
                if let Some(default) = &field.default
                    && map.get(&*field.name).is_none_or(|old| old.is_null() && !field.nullable)
                {
                    map.insert(field.name.to_string(), default.clone());
                }
            }
            for (name, child) in map {
                if let Some(schema) = schema.child(name) {
                    fill_defaults(child, schema);
                }
            }
        }
        (Value::Object(map), Schema::Map(known)) => {
            map.values_mut().for_each(|child| fill_defaults(child, &known.value));
        }
        (Value::Array(items), Schema::List(list)) => {
            items.iter_mut().for_each(|item| fill_defaults(item, &list.item));
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_structural_schema_becomes_the_same_tree() {
        let schema = from_structural(&json!({
            "type": "object",
            "properties": {
                "metadata": {"type": "object"},
                "spec": {"type": "object", "required": ["size"], "properties": {
                    "size": {"type": "integer", "default": 1},
                    "ports": {"type": "array", "x-kubernetes-list-type": "map",
                        "x-kubernetes-list-map-keys": ["name"],
                        "items": {"type": "object", "properties": {"name": {"type": "string"}}}},
                    "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
                }},
            },
        }))
        .unwrap();
        let spec = schema.child("spec").unwrap();
        let size = spec.as_struct().unwrap().field("size").unwrap();
        assert!(size.required);
        assert_eq!(size.default, Some(json!(1)));
        let ports = spec.child("ports").unwrap().as_list().unwrap();
        assert_eq!(ports.list_type, ListType::Map(vec!["name".into()]));
        assert!(spec.child("free").unwrap().child("anything").is_some());
        assert!(spec.child("other").is_none());
        assert!(schema.child("metadata").unwrap().child("labels").is_some());
    }

    #[test]
    fn defaults_fill_what_is_left_out() {
        let schema = from_structural(&json!({"type": "object", "properties": {"spec": {
            "type": "object", "default": {}, "properties": {
                "size": {"type": "integer", "default": 1},
                "no": {"type": "string", "nullable": true, "default": "x"},
                "list": {"type": "array", "items": {"type": "object", "properties": {"a": {"type": "string", "default": "b"}}}},
                "map": {"type": "object", "additionalProperties": {"type": "object", "properties": {"c": {"type": "boolean", "default": false}}}}}}}}))
        .unwrap();
        let mut object = json!({});
        fill_defaults(&mut object, &schema);
        assert_eq!(object, json!({"spec": {"size": 1, "no": "x"}}));
        let mut object =
            json!({"spec": {"size": null, "no": null, "list": [{}, {"a": "z"}], "map": {"k": {}}}});
        fill_defaults(&mut object, &schema);
        assert_eq!(
            object,
            json!({"spec": {"size": 1, "no": null, "list": [{"a": "b"}, {"a": "z"}], "map": {"k": {"c": false}}}})
        );
    }
}
