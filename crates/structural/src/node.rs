//! A schema, compiled: one node a value.

use std::collections::BTreeMap;

use api::Value;
use api::object::{at, list_at, str_at};
use regex::Regex;

use crate::format::Format;

/// Deeper schemas are cut: what lies below is any value. The definition's own validation refuses
/// them before.
const DEPTH_MAX: usize = 100;

/// The type of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Type {
    /// Not said.
    #[default]
    Any,
    /// `object`.
    Object,
    /// `array`.
    Array,
    /// `string`.
    String,
    /// `integer`.
    Integer,
    /// `number`.
    Number,
    /// `boolean`.
    Boolean,
    /// `x-kubernetes-int-or-string`.
    IntOrString,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ListKind {
    /// Not said: items are told apart by their place.
    #[default]
    Unsaid,
    /// `atomic`.
    Atomic,
    /// `set`.
    Set,
    /// `map`, by these fields.
    Map(Vec<String>),
}

/// A limit of numbers.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bound {
    pub(crate) value: f64,
    pub(crate) exclusive: bool,
}

/// Limits of lengths and sizes.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sizes {
    pub(crate) min: Option<u64>,
    pub(crate) max: Option<u64>,
}

/// A compiled schema.
#[derive(Debug, Default)]
pub struct Node {
    /// The type.
    pub kind: Type,
    /// Whether `null` is a value.
    pub nullable: bool,
    /// What stands for a value that is missing.
    pub default: Option<Value>,
    /// The fields that are listed.
    pub properties: BTreeMap<String, Node>,
    /// What other fields are.
    pub additional: Option<Box<Node>>,
    /// What items are.
    pub items: Option<Box<Node>>,
    /// How items are told apart.
    pub list: ListKind,
    /// Whether fields that are not listed are kept.
    pub preserves_unknown: bool,
    /// Whether the value is a whole object with metadata.
    pub is_embedded: bool,
    pub(crate) required: Vec<String>,
    pub(crate) enumeration: Vec<Value>,
    pub(crate) pattern: Option<(String, Option<Regex>)>,
    pub(crate) format: Option<Format>,
    pub(crate) length: Sizes,
    pub(crate) item_count: Sizes,
    pub(crate) property_count: Sizes,
    pub(crate) unique_items: bool,
    pub(crate) minimum: Option<Bound>,
    pub(crate) maximum: Option<Bound>,
    pub(crate) multiple_of: Option<f64>,
    pub(crate) all_of: Vec<Node>,
    pub(crate) any_of: Vec<Node>,
    pub(crate) one_of: Vec<Node>,
    pub(crate) not: Option<Box<Node>>,
}

impl Node {
    /// Compiles a version's `openAPIV3Schema`; without one everything is allowed and kept.
    #[must_use]
    pub fn root(schema: Option<&Value>) -> Self {
        match schema {
            Some(schema) => Self { is_embedded: true, ..Self::compile(schema, 0) },
            None => Self { is_embedded: true, preserves_unknown: true, ..Self::default() },
        }
    }

    /// Compiles a part of a schema.
    #[must_use]
    pub fn part(schema: &Value) -> Self {
        Self::compile(schema, 0)
    }

    fn compile(schema: &Value, depth: usize) -> Self {
        if depth > DEPTH_MAX || !schema.is_object() {
            return Self { preserves_unknown: true, ..Self::default() };
        }
        let kind = kind(schema);
        let below = |value: &Value| Self::compile(value, depth + 1);
        let many = |name: &str| list_at(schema, &[name]).iter().map(below).collect();
        let one = |name: &str| at(schema, &[name]).map(|value| Box::new(below(value)));
        let properties = at(schema, &["properties"]).and_then(Value::as_object);
        let additional = match at(schema, &["additionalProperties"]) {
            Some(Value::Bool(true)) => Some(Box::new(below(&Value::Null))),
            Some(value @ Value::Object(_)) => Some(Box::new(below(value))),
            _ => None,
        };
        let pattern = str_at(schema, &["pattern"]);
        Self {
            kind,
            nullable: is(schema, "nullable"),
            default: at(schema, &["default"]).filter(|value| !value.is_null()).cloned(),
            properties: properties
                .into_iter()
                .flatten()
                .map(|(name, value)| (name.clone(), below(value)))
                .collect(),
            additional,
            items: one("items"),
            list: list(schema),
            preserves_unknown: is(schema, "x-kubernetes-preserve-unknown-fields"),
            is_embedded: is(schema, "x-kubernetes-embedded-resource"),
            required: texts(schema, "required"),
            enumeration: list_at(schema, &["enum"]).to_vec(),
            pattern: (!pattern.is_empty()).then(|| (pattern.to_owned(), Regex::new(pattern).ok())),
            format: Format::of(kind, str_at(schema, &["format"])),
            length: sizes(schema, "Length"),
            item_count: sizes(schema, "Items"),
            property_count: sizes(schema, "Properties"),
            unique_items: is(schema, "uniqueItems"),
            minimum: bound(schema, "minimum", "exclusiveMinimum"),
            maximum: bound(schema, "maximum", "exclusiveMaximum"),
            multiple_of: at(schema, &["multipleOf"]).and_then(Value::as_f64),
            all_of: many("allOf"),
            any_of: many("anyOf"),
            one_of: many("oneOf"),
            not: one("not"),
        }
    }

    /// The node of a field.
    #[must_use]
    pub fn field(&self, name: &str) -> Option<&Self> {
        self.properties.get(name).or(self.additional.as_deref())
    }
}

fn kind(schema: &Value) -> Type {
    if is(schema, "x-kubernetes-int-or-string") {
        return Type::IntOrString;
    }
    match str_at(schema, &["type"]) {
        "object" => Type::Object,
        "array" => Type::Array,
        "string" => Type::String,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "boolean" => Type::Boolean,
        _ => Type::Any,
    }
}

fn is(schema: &Value, name: &str) -> bool {
    schema.get(name) == Some(&Value::Bool(true))
}

fn texts(schema: &Value, name: &str) -> Vec<String> {
    list_at(schema, &[name]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

fn list(schema: &Value) -> ListKind {
    match str_at(schema, &["x-kubernetes-list-type"]) {
        "atomic" => ListKind::Atomic,
        "set" => ListKind::Set,
        "map" => ListKind::Map(texts(schema, "x-kubernetes-list-map-keys")),
        _ => ListKind::Unsaid,
    }
}

fn sizes(schema: &Value, of: &str) -> Sizes {
    let size = |which: &str| {
        at(schema, &[&format!("{which}{of}")])
            .and_then(|value| value.as_u64().or_else(|| value.as_f64().map(|size| size as u64)))
    };
    Sizes { min: size("min"), max: size("max") }
}

fn bound(schema: &Value, name: &str, exclusive: &str) -> Option<Bound> {
    let value = at(schema, &[name])?.as_f64()?;
    Some(Bound { value, exclusive: is(schema, exclusive) })
}
