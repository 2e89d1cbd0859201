//! Bodies into objects, by schema, in one pass: unknown and duplicate fields are collected,
//! values are brought into the form in which Go would print them, wrong types are errors with
//! Go's text.
//!
//! Built-in kinds are read as Go's structs are: zero values fall away or appear by the rules of
//! `omitempty`, quantities and times become canonical, unknown fields are dropped. Custom
//! resources keep what their schema knows as it came; a wrong type in them is left to validation.
//! Invariant: no input makes it panic, or recurse without bound.

mod leaf;
mod restore;
mod syntax;
mod visit;

use std::fmt;

use serde::de::DeserializeSeed;
use serde_json::{Map, Value};

use crate::schema::Schema;
use crate::status::ApiError;
use crate::yaml;

pub use leaf::{canonical_micro_time, canonical_time, zero};
pub use restore::{go_value, restore_error};
pub use syntax::json_syntax_error;

/// The form of a body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON.
    Json,
    /// YAML, one document.
    Yaml,
}

/// An object, and what strict decoding has to say about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Decoded {
    /// The object, pruned and canonical.
    pub object: Value,
    /// `unknown field "spec.foo"`, `duplicate field "spec.bar"`, in the order in which they came.
    pub strict: Vec<String>,
}

/// A body that cannot be read, with Go's text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeError(String);

impl std::error::Error for DecodeError {}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl DecodeError {
    /// An error with a text of the caller's.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// 400, as upstream says it of a body that should have been a `kind` of `version`.
    #[must_use]
    pub fn handled_as(&self, kind: &str, version: &str) -> ApiError {
        handled_as(kind, version, &self.0)
    }
}

impl Decoded {
    /// The strict errors as one text, `strict decoding error: unknown field "spec.foo", …`;
    /// `None` when there are none.
    #[must_use]
    pub fn strict_text(&self) -> Option<String> {
        strict_text(&self.strict)
    }

    /// The object, or 400 when there are strict errors: `fieldValidation=Strict`.
    ///
    /// # Errors
    /// 400 with all strict errors.
    pub fn strict_object(self, kind: &str, version: &str) -> Result<Value, ApiError> {
        match self.strict_text() {
            None => Ok(self.object),
            Some(text) => Err(handled_as(kind, version, &text)),
        }
    }
}

/// Strict errors as one text; `None` when there are none.
#[must_use]
pub fn strict_text(errors: &[String]) -> Option<String> {
    (!errors.is_empty()).then(|| format!("strict decoding error: {}", errors.join(", ")))
}

fn handled_as(kind: &str, version: &str, why: &str) -> ApiError {
    ApiError::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {kind}: {why}"
    ))
}

/// Reads a body by a schema.
///
/// # Errors
/// When the body is not of the format, or (built-in kinds) has a value of a wrong type.
pub fn body(bytes: &[u8], format: Format, schema: &Schema) -> Result<Decoded, DecodeError> {
    match format {
        Format::Json => json(bytes, schema),
        Format::Yaml => {
            let document = yaml::parse(bytes)
                .map_err(|error| DecodeError(format!("error converting YAML to JSON: {error}")))?;
            let mut decoded = value(document.value, schema)?;
            decoded.strict.splice(0..0, document.duplicates);
            Ok(decoded)
        }
    }
}

/// Brings a value into the canonical form of its schema, as if it had been a body: what patches
/// and admission leave behind goes through here.
///
/// # Errors
/// When a value of a built-in kind has a wrong type.
pub fn value(value: Value, schema: &Schema) -> Result<Decoded, DecodeError> {
    let ctx = visit::Context::default();
    let object = visit::root(schema, &ctx)
        .deserialize(value)
        .map_err(|error| DecodeError(error.to_string()))?;
    ctx.finish(object, schema)
}

/// [`value`] for an object that was made from another in canonical form, as patches do: what is
/// still the same on the first level, or below `metadata`, is not visited again.
///
/// # Errors
/// As [`value`].
pub fn value_from(
    mut object: Value,
    before: &Value,
    schema: &Schema,
) -> Result<Decoded, DecodeError> {
    // Custom resources may have been stored under another schema.
    let is_built_in = matches!(schema, Schema::Def(_) | Schema::DefAs(..));
    let (true, Value::Object(new), Value::Object(old)) = (is_built_in, &mut object, before) else {
        return value(object, schema);
    };
    let same_meta = match (new.get_mut("metadata"), old.get("metadata")) {
        (Some(Value::Object(new)), Some(Value::Object(old))) => take_same(new, old),
        _ => Vec::new(),
    };
    let same = take_same(new, old);
    let mut decoded = value(object, schema)?;
    if let Value::Object(new) = &mut decoded.object {
        new.extend(same);
        if let Some(Value::Object(new)) = new.get_mut("metadata") {
            new.extend(same_meta);
        }
    }
    Ok(decoded)
}

/// Takes out the lists and maps that are the same in both; single values are as soon visited.
fn take_same(new: &mut Map<String, Value>, old: &Map<String, Value>) -> Vec<(String, Value)> {
    let is_same = |(key, value): &(&String, &Value)| {
        (value.is_object() || value.is_array()) && old.get(*key) == Some(value)
    };
    let keys: Vec<String> = new.iter().filter(is_same).map(|(key, _)| key.clone()).collect();
    keys.into_iter().filter_map(|key| new.remove_entry(&key)).collect()
}

fn json(bytes: &[u8], schema: &Schema) -> Result<Decoded, DecodeError> {
    let ctx = visit::Context::default();
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let object = visit::root(schema, &ctx)
        .deserialize(&mut reader)
        .and_then(|object| reader.end().map(|()| object))
        .map_err(|error| DecodeError(syntax::describe(bytes, &error)))?;
    ctx.finish(object, schema)
}

/// Reads JSON or YAML without a schema: what `apiVersion` and `kind` it has decides what comes
/// next. Duplicate fields come as strict errors.
///
/// # Errors
/// When the body is not of the format.
pub fn untyped(bytes: &[u8], format: Format) -> Result<Decoded, DecodeError> {
    body(bytes, format, &Schema::Any)
}

#[cfg(test)]
mod tests;
