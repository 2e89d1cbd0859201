//! Object types made from structural or OpenAPI schemas: what fields an expression sees, of which
//! types, and how large values can be.
//!
//! Mirrors upstream's rules: field names are escaped to identifiers, fields without a usable
//! schema are not seen, `x-kubernetes-int-or-string` is `dyn`, the root and embedded resources
//! have `apiVersion`, `kind`, `metadata.name` and `metadata.generateName` whatever their schema
//! says.

mod builtin;
mod escape;

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value as Json;

pub use escape::{escape, unescape};

use crate::types::Type;

/// The largest request that the server takes, from which the size of what has no limit is guessed.
pub(crate) const REQUEST_BYTES_MAX: u64 = 3 * 1024 * 1024;

/// How deep a schema is followed.
const DEPTH_MAX: usize = 120;

/// A type with what only its schema knows.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclType {
    /// The type as the checker sees it.
    pub ty: Type,
    /// What is inside.
    pub shape: Shape,
    /// How many items, entries, bytes or code points a value has at most.
    pub max_elements: u64,
    /// How many bytes the smallest value has as JSON.
    pub min_size: u64,
}

/// What is inside a type.
#[derive(Debug, Clone, PartialEq)]
pub enum Shape {
    /// A scalar, read as it is.
    Plain,
    /// A number that is a double, however it is written.
    Double,
    /// Bytes, base64 in JSON.
    Bytes,
    /// A duration as text.
    Duration,
    /// A date as text.
    Date,
    /// A moment as text.
    DateTime,
    /// A list.
    List(Arc<DeclType>, ListKind),
    /// A map with text keys.
    Map(Arc<DeclType>),
    /// An object with fields, by their escaped names.
    Object(BTreeMap<Arc<str>, DeclField>),
}

/// A field of an object type.
#[derive(Debug, Clone, PartialEq)]
pub struct DeclField {
    /// The name in JSON.
    pub json_name: Arc<str>,
    /// What the field is.
    pub decl: Arc<DeclType>,
}

/// How the items of a list are told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListKind {
    /// By their place.
    Atomic,
    /// By their value: order does not matter, each is there once.
    Set,
    /// By the values of these fields.
    Map(Vec<String>),
}

impl DeclType {
    /// The type of what a schema describes, named `name`; its parts are named after the path to
    /// them. `None` when an expression cannot see it. `root` is true for whole objects.
    #[must_use]
    pub fn from_schema(schema: &Json, name: &str, root: bool) -> Option<Arc<Self>> {
        make(schema, name, root, 0).map(Arc::new)
    }

    /// A type without a schema.
    #[must_use]
    pub fn plain(ty: Type) -> Arc<Self> {
        Arc::new(scalar(ty, Shape::Plain, 0, 0))
    }

    /// An object type with these fields.
    #[must_use]
    pub fn object(name: &str, fields: Vec<(&str, Arc<Self>)>) -> Arc<Self> {
        let fields = fields
            .into_iter()
            .map(|(name, decl)| (name.into(), DeclField { json_name: name.into(), decl }))
            .collect();
        Arc::new(scalar(Type::object(name), Shape::Object(fields), 0, 2))
    }

    /// A list type of at most `max` items.
    #[must_use]
    pub fn list(item: Arc<Self>, kind: ListKind, max: u64) -> Arc<Self> {
        let ty = Type::list(item.ty.clone());
        Arc::new(scalar(ty, Shape::List(item, kind), max, 2))
    }

    /// A map type from texts of at most `max` entries.
    #[must_use]
    pub fn map(value: Arc<Self>, max: u64) -> Arc<Self> {
        let ty = Type::map(Type::String, value.ty.clone());
        Arc::new(scalar(ty, Shape::Map(value), max, 2))
    }

    /// The field of an object type, by its escaped name.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&DeclField> {
        match &self.shape {
            Shape::Object(fields) => fields.get(name),
            _ => None,
        }
    }

    /// What a list or map holds.
    pub(crate) fn element(&self) -> Option<&Arc<Self>> {
        match &self.shape {
            Shape::List(item, _) => Some(item),
            Shape::Map(value) => Some(value),
            _ => None,
        }
    }
}

fn scalar(ty: Type, shape: Shape, max_elements: u64, min_size: u64) -> DeclType {
    DeclType { ty, shape, max_elements, min_size }
}

fn flag(schema: &Json, key: &str) -> bool {
    schema.get(key) == Some(&Json::Bool(true))
}

fn text<'s>(schema: &'s Json, key: &str) -> &'s str {
    schema.get(key).and_then(Json::as_str).unwrap_or_default()
}

/// A limit such as `maxItems`; below zero counts as zero.
fn limit(schema: &Json, key: &str) -> Option<u64> {
    let value = schema.get(key)?.as_i64()?;
    Some(u64::try_from(value).unwrap_or(0))
}

fn make(schema: &Json, name: &str, root: bool, depth: usize) -> Option<DeclType> {
    if depth > DEPTH_MAX {
        return None;
    }
    if flag(schema, "x-kubernetes-int-or-string") {
        let max =
            limit(schema, "maxLength").map_or(REQUEST_BYTES_MAX - 2, |max| max.saturating_mul(4));
        return Some(scalar(Type::Dyn, Shape::Plain, max, 1));
    }
    let kind = if root { "object" } else { text(schema, "type") };
    match kind {
        "array" => array(schema, name, depth),
        "object" => object(schema, name, root, depth),
        "string" => Some(string(schema)),
        "boolean" => Some(scalar(Type::Bool, Shape::Plain, 0, 4)),
        "number" => Some(scalar(Type::Double, Shape::Double, 0, 1)),
        "integer" => Some(scalar(Type::Int, Shape::Plain, 0, 1)),
        _ => None,
    }
}

fn embedded(schema: &Json) -> bool {
    flag(schema, "x-kubernetes-embedded-resource")
}

fn array(schema: &Json, name: &str, depth: usize) -> Option<DeclType> {
    let items = schema.get("items")?;
    let item = make(items, &format!("{name}.@idx"), embedded(items), depth + 1)?;
    let max =
        limit(schema, "maxItems").unwrap_or_else(|| (REQUEST_BYTES_MAX - 2) / (item.min_size + 1));
    let kind = match text(schema, "x-kubernetes-list-type") {
        "set" => ListKind::Set,
        "map" => ListKind::Map(texts(schema, "x-kubernetes-list-map-keys")),
        _ => ListKind::Atomic,
    };
    Some(scalar(Type::list(item.ty.clone()), Shape::List(Arc::new(item), kind), max, 2))
}

fn texts(schema: &Json, key: &str) -> Vec<String> {
    let list = schema.get(key).and_then(Json::as_array).into_iter().flatten();
    list.filter_map(Json::as_str).map(str::to_owned).collect()
}

fn object(schema: &Json, name: &str, root: bool, depth: usize) -> Option<DeclType> {
    if let Some(values @ Json::Object(_)) = schema.get("additionalProperties") {
        let value = make(values, &format!("{name}.@elem"), embedded(values), depth + 1)?;
        let max = limit(schema, "maxProperties")
            .unwrap_or_else(|| (REQUEST_BYTES_MAX - 2) / (value.min_size + 6));
        let ty = Type::map(Type::String, value.ty.clone());
        return Some(scalar(ty, Shape::Map(Arc::new(value)), max, 2));
    }
    let required = texts(schema, "required");
    let mut fields = BTreeMap::new();
    // An object is at least `{}`; a field that must be there adds its name, quotes and colon.
    let mut min_size = 2;
    let mut add = |json_name: &str, property: &Json| {
        let Some(escaped) = escape(json_name) else {
            // A field that cannot be named counts for the size all the same.
            return make(property, name, embedded(property), depth + 1).map(|decl| decl.min_size);
        };
        let path = format!("{name}.{escaped}");
        let decl = make(property, &path, embedded(property), depth + 1)?;
        let size = decl.min_size;
        let field = DeclField { json_name: json_name.into(), decl: Arc::new(decl) };
        fields.insert(escaped.into(), field);
        Some(size)
    };
    for (json_name, property) in
        schema.get("properties").and_then(Json::as_object).into_iter().flatten()
    {
        let size = add(json_name, property);
        if let Some(size) = size
            && required.contains(json_name)
            && property.get("default").is_none_or(Json::is_null)
        {
            min_size += json_name.len() as u64 + size + 4;
        }
    }
    if root {
        let own = schema.get("properties");
        let metadata = own.and_then(|own| own.get("metadata")).filter(|metadata| {
            metadata.get("properties").is_some_and(|known| {
                known.get("name").is_some() && known.get("generateName").is_some()
            })
        });
        let string = serde_json::json!({"type": "string"});
        let object_meta = serde_json::json!({"type": "object",
            "properties": {"name": string, "generateName": string}});
        add("apiVersion", &string);
        add("kind", &string);
        add("metadata", metadata.unwrap_or(&object_meta));
    }
    Some(scalar(Type::object(name), Shape::Object(fields), 0, min_size))
}

fn string(schema: &Json) -> DeclType {
    let (ty, shape, max, min_size) = match text(schema, "format") {
        "byte" => {
            let max = limit(schema, "maxLength").unwrap_or(REQUEST_BYTES_MAX - 2);
            (Type::Bytes, Shape::Bytes, max, 2)
        }
        "duration" => (Type::Duration, Shape::Duration, 32, 3),
        "date" => (Type::Timestamp, Shape::Date, 12, 12),
        "date-time" => (Type::Timestamp, Shape::DateTime, 32, 21),
        _ => (Type::String, Shape::Plain, string_max(schema), 2),
    };
    scalar(ty, shape, max, min_size)
}

/// How long a text can be: `maxLength` is in code points, each of up to four bytes.
fn string_max(schema: &Json) -> u64 {
    if let Some(max) = limit(schema, "maxLength") {
        return max.saturating_mul(4);
    }
    let values = schema.get("enum").and_then(Json::as_array);
    match values {
        Some(values) if !values.is_empty() => values
            .iter()
            .filter_map(Json::as_str)
            .map(|value| value.len() as u64)
            .max()
            .unwrap_or(0),
        _ => REQUEST_BYTES_MAX - 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_schema_becomes_what_expressions_see() {
        let decl = DeclType::from_schema(
            &json!({"type": "object", "required": ["size"], "properties": {
                "size": {"type": "integer"},
                "namespace": {"type": "string", "maxLength": 5},
                "a.b": {"type": "array", "maxItems": 3, "items": {"type": "object",
                    "properties": {"x": {"type": "number"}}}},
                "port": {"x-kubernetes-int-or-string": true},
                "free": {"x-kubernetes-preserve-unknown-fields": true},
                "when": {"type": "string", "format": "date-time"},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            }}),
            "self",
            true,
        )
        .unwrap();
        let of = |name: &str| decl.field(name).map(|field| field.decl.ty.to_string());
        assert_eq!(of("size").unwrap(), "int");
        assert_eq!(of("__namespace__").unwrap(), "string");
        assert_eq!(decl.field("__namespace__").unwrap().decl.max_elements, 20);
        assert_eq!(of("a__dot__b").unwrap(), "list(self.a__dot__b.@idx)");
        assert_eq!(decl.field("a__dot__b").unwrap().decl.max_elements, 3);
        assert_eq!(of("port").unwrap(), "dyn");
        assert_eq!(of("free"), None);
        assert_eq!(of("when").unwrap(), "timestamp");
        assert_eq!(of("labels").unwrap(), "map(string, string)");
        assert_eq!(of("kind").unwrap(), "string");
        assert_eq!(decl.min_size, 2 + 4 + 1 + 4);
    }
}
