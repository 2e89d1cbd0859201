//! A value and where it stands in its object: what validation walks with.
//!
//! A [`Field`] is `Copy` and allocates nothing; the path is written out only for an error. A field
//! that is absent, `null` or empty reads as the zero value of its type, as in upstream's structs.

use api::Value;
use api::field::{ErrorKind, ErrorList, FieldError, Path};

/// How deep objects nest before errors name the wrong field (deeper than any built-in type).
const DEPTH: usize = 24;

#[derive(Clone, Copy, Debug)]
enum Segment<'a> {
    Field(&'a str),
    Index(usize),
    Key(&'a str),
}

/// A place in an object, and the value there if there is one.
#[derive(Clone, Copy, Debug)]
pub struct Field<'a> {
    value: Option<&'a Value>,
    depth: usize,
    segments: [Segment<'a>; DEPTH],
}

impl<'a> Field<'a> {
    /// The object itself.
    #[must_use]
    pub fn root(object: &'a Value) -> Self {
        Self { value: Some(object), depth: 0, segments: [Segment::Index(0); DEPTH] }
    }

    fn step(mut self, segment: Segment<'a>, value: Option<&'a Value>) -> Self {
        self.segments[self.depth.min(DEPTH - 1)] = segment;
        self.depth = (self.depth + 1).min(DEPTH);
        self.value = value.filter(|value| !value.is_null());
        self
    }

    /// A field of this map.
    #[must_use]
    pub fn get(self, name: &'a str) -> Self {
        self.step(Segment::Field(name), self.value.and_then(|value| value.get(name)))
    }

    /// A field of a field.
    #[must_use]
    pub fn at(self, path: &[&'a str]) -> Self {
        path.iter().fold(self, |field, name| field.get(name))
    }

    /// An entry of this map, written `[key]` in paths.
    #[must_use]
    pub fn key(self, key: &'a str) -> Self {
        self.step(Segment::Key(key), self.value.and_then(|value| value.get(key)))
    }

    /// An element of this list.
    #[must_use]
    pub fn index(self, index: usize) -> Self {
        self.step(Segment::Index(index), self.value.and_then(|value| value.get(index)))
    }

    /// The same place with another value, for comparing with a default.
    #[must_use]
    pub fn with(mut self, value: Option<&'a Value>) -> Self {
        self.value = value;
        self
    }

    /// The elements of this list.
    pub fn items(self) -> impl Iterator<Item = Field<'a>> {
        (0..self.list().len()).map(move |index| self.index(index))
    }

    /// The entries of this map with their keys.
    pub fn entries(self) -> impl Iterator<Item = (&'a str, Field<'a>)> {
        let map = self.value.and_then(Value::as_object);
        map.into_iter().flatten().map(move |(key, _)| (key.as_str(), self.key(key)))
    }

    /// The value; `None` when absent or `null`.
    #[must_use]
    pub fn value(self) -> Option<&'a Value> {
        self.value
    }

    /// Whether something is there, even an empty value.
    #[must_use]
    pub fn is_set(self) -> bool {
        self.value.is_some()
    }

    /// Whether nothing is there, or an empty string, list or map.
    #[must_use]
    pub fn is_empty(self) -> bool {
        match self.value {
            None | Some(Value::Null) => true,
            Some(Value::String(text)) => text.is_empty(),
            Some(Value::Array(list)) => list.is_empty(),
            Some(Value::Object(map)) => map.is_empty(),
            Some(_) => false,
        }
    }

    /// The string, empty when absent.
    #[must_use]
    pub fn str(self) -> &'a str {
        self.value.and_then(Value::as_str).unwrap_or_default()
    }

    /// The integer.
    #[must_use]
    pub fn int(self) -> Option<i64> {
        self.value.and_then(Value::as_i64)
    }

    /// The boolean, false when absent.
    #[must_use]
    pub fn bool(self) -> bool {
        self.value.and_then(Value::as_bool).unwrap_or_default()
    }

    /// The list, empty when absent.
    #[must_use]
    pub fn list(self) -> &'a [Value] {
        self.value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
    }

    /// The number of elements or entries.
    #[must_use]
    pub fn len(self) -> usize {
        match self.value {
            Some(Value::Array(list)) => list.len(),
            Some(Value::Object(map)) => map.len(),
            _ => 0,
        }
    }

    /// Whether this map has an entry.
    #[must_use]
    pub fn has(self, key: &str) -> bool {
        self.value.and_then(|value| value.get(key)).is_some_and(|value| !value.is_null())
    }

    /// The place, as errors write it.
    #[must_use]
    pub fn path(self) -> Path {
        self.segments[..self.depth].iter().fold(Path::root(), |path, segment| match segment {
            Segment::Field(name) => path.child(name),
            Segment::Index(index) => path.index(*index),
            Segment::Key(key) => path.key(key),
        })
    }

    /// `Required value`.
    #[must_use]
    pub fn required(self, detail: &str) -> FieldError {
        FieldError::required(self.path(), detail)
    }

    /// `Invalid value: …`, the value being what is there (an empty string when nothing is).
    #[must_use]
    pub fn invalid(self, detail: impl Into<String>) -> FieldError {
        let value = self.value.cloned().unwrap_or_else(|| Value::String(String::new()));
        FieldError::invalid(self.path(), value, detail)
    }

    /// `Invalid value: …` with a value of one's own.
    #[must_use]
    pub fn invalid_as(self, value: impl Into<Value>, detail: impl Into<String>) -> FieldError {
        FieldError::invalid(self.path(), value, detail)
    }

    /// `Invalid value: …` that does not show the value.
    #[must_use]
    pub fn invalid_unshown(self, detail: impl Into<String>) -> FieldError {
        let detail = detail.into();
        FieldError { kind: ErrorKind::Invalid, path: self.path(), value: None, detail }
    }

    /// `Forbidden: …`.
    #[must_use]
    pub fn forbidden(self, detail: impl Into<String>) -> FieldError {
        FieldError::forbidden(self.path(), detail)
    }

    /// `Unsupported value: …`.
    #[must_use]
    pub fn not_supported(self, supported: &[&str]) -> FieldError {
        let value = self.value.cloned().unwrap_or_else(|| Value::String(String::new()));
        FieldError::not_supported(self.path(), value, supported)
    }

    /// `Unsupported value: …`, the set shown in the order in which it is given.
    #[must_use]
    pub fn not_supported_in(self, supported: &[&str]) -> FieldError {
        let value = self.value.cloned().unwrap_or_else(|| Value::String(String::new()));
        FieldError::not_supported_in(self.path(), value, supported)
    }

    /// `Unsupported value: …` with a value of one's own.
    #[must_use]
    pub fn not_supported_as(self, value: impl Into<Value>, supported: &[&str]) -> FieldError {
        FieldError::not_supported(self.path(), value, supported)
    }

    /// `Duplicate value: …`.
    #[must_use]
    pub fn duplicate(self) -> FieldError {
        FieldError::duplicate(self.path(), self.value.cloned().unwrap_or(Value::Null))
    }

    /// `Not found: …`.
    #[must_use]
    pub fn not_found(self) -> FieldError {
        FieldError::not_found(self.path(), self.str())
    }

    /// `Too many: N: must have at most MAX items`.
    #[must_use]
    pub fn too_many(self, max: usize) -> FieldError {
        FieldError::too_many(self.path(), self.len(), max)
    }

    /// `Too long: may not be more than MAX bytes`.
    #[must_use]
    pub fn too_long(self, max: usize) -> FieldError {
        FieldError::too_long(self.path(), max)
    }

    /// `Internal error: …`.
    #[must_use]
    pub fn internal(self, detail: impl Into<String>) -> FieldError {
        FieldError {
            kind: ErrorKind::Internal,
            path: self.path(),
            value: None,
            detail: detail.into(),
        }
    }
}

/// Whether two values say the same: absent, `null` and empty lists and maps are one.
#[must_use]
pub fn same(a: Option<&Value>, b: Option<&Value>) -> bool {
    // Most are equal to the letter, which is seen sooner.
    if a == b {
        return true;
    }
    match (a, b) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            a.iter().all(|(key, value)| same(Some(value), b.get(key)))
                && b.iter().all(|(key, value)| a.contains_key(key) || is_nothing(Some(value)))
        }
        (Some(Value::Array(a)), Some(Value::Array(b))) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(Some(a), Some(b)))
        }
        (a, b) if is_nothing(a) && is_nothing(b) => true,
        (Some(Value::Number(a)), Some(Value::Number(b))) => a.as_f64() == b.as_f64(),
        _ => false,
    }
}

fn is_nothing(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Array(list)) => list.is_empty(),
        Some(Value::Object(map)) => map.is_empty(),
        Some(_) => false,
    }
}

/// Collects every message of a rule over a string at a field that is not empty.
pub fn rule(field: Field<'_>, rule: impl Fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    if !field.is_empty() {
        errors.extend(rule(field.str()).into_iter().map(|text| field.invalid(text)));
    }
}

/// The same for a field whose emptiness says something: an empty string is looked at too.
pub fn given(field: Field<'_>, rule: impl Fn(&str) -> Vec<String>, errors: &mut ErrorList) {
    if field.is_set() {
        errors.extend(rule(field.str()).into_iter().map(|text| field.invalid(text)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_knows_its_place() {
        let object = json!({"spec": {"containers": [{"env": {"a": "b"}}]}});
        let field = Field::root(&object).at(&["spec", "containers"]).index(0).get("env").key("a");
        assert_eq!(field.path().to_string(), "spec.containers[0].env[a]");
        assert_eq!(field.str(), "b");
        assert!(!Field::root(&object).get("status").is_set());
    }

    #[test]
    fn absent_and_empty_are_the_same_and_zero_is_not() {
        assert!(same(Some(&json!({"a": []})), Some(&json!({}))));
        assert!(same(Some(&json!({"a": {"b": null}})), None.or(Some(&json!({"a": {}})))));
        assert!(!same(Some(&json!({"a": 0})), Some(&json!({}))));
        assert!(!same(Some(&json!([1])), Some(&json!([2]))));
    }
}
