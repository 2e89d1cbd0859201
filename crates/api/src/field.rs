//! Field errors: what validation finds, with the path of the field it found it at.
//!
//! Texts and reasons are those of apimachinery's `util/validation/field`, which clients show and
//! match on.

use std::fmt;

use serde_json::Value;

/// The path of a field, `spec.containers[0].image`. Cheap to extend, made only on the way to a
/// possible error.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Path(String);

impl Path {
    /// The root: errors at it name no field.
    #[must_use]
    pub fn root() -> Self {
        Self::default()
    }

    /// A path that starts with a field.
    #[must_use]
    pub fn new(field: &str) -> Self {
        Self(field.to_owned())
    }

    /// A field of the value at this path.
    #[must_use]
    pub fn child(&self, field: &str) -> Self {
        if self.0.is_empty() { Self::new(field) } else { Self(format!("{}.{field}", self.0)) }
    }

    /// An element of the list at this path.
    #[must_use]
    pub fn index(&self, index: usize) -> Self {
        Self(format!("{}[{index}]", self.0))
    }

    /// A path below this one.
    #[must_use]
    pub fn join(&self, below: &Self) -> Self {
        match (self.0.as_str(), below.0.as_str()) {
            ("", _) => below.clone(),
            (_, "") => self.clone(),
            (own, below) if below.starts_with('[') => Self(format!("{own}{below}")),
            (own, below) => Self(format!("{own}.{below}")),
        }
    }

    /// A value of the map at this path.
    #[must_use]
    pub fn key(&self, key: &str) -> Self {
        Self(format!("{}[{key}]", self.0))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "<nil>" } else { &self.0 })
    }
}

/// What is wrong with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// A value must be there and is not.
    Required,
    /// The value is not of the form that the field takes.
    Invalid,
    /// The value is none of those that the field takes.
    NotSupported,
    /// The value is of the right form, and not allowed here.
    Forbidden,
    /// The value is there twice.
    Duplicate,
    /// Something that the value refers to does not exist.
    NotFound,
    /// The value is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value is of another JSON type.
    TypeInvalid,
    /// The check itself failed.
    Internal,
}

impl ErrorKind {
    /// The `reason` of a `Status` cause.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Required => "FieldValueRequired",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::Duplicate => "FieldValueDuplicate",
            Self::NotFound => "FieldValueNotFound",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Required => "Required value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::Duplicate => "Duplicate value",
            Self::NotFound => "Not found",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }
}

/// One field error.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// What is wrong.
    pub kind: ErrorKind,
    /// Where.
    pub path: Path,
    /// The bad value, for the kinds whose message shows it.
    pub value: Option<Value>,
    /// What would be right.
    pub detail: String,
}

/// All that validation found; empty when the object is valid.
pub type ErrorList = Vec<FieldError>;

impl FieldError {
    /// A value must be there.
    #[must_use]
    pub fn required(path: Path, detail: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Required, path, value: None, detail: detail.into() }
    }

    /// The value has the wrong form.
    #[must_use]
    pub fn invalid(path: Path, value: impl Into<Value>, detail: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Invalid, path, value: Some(value.into()), detail: detail.into() }
    }

    /// The value is none of `supported`.
    #[must_use]
    pub fn not_supported(path: Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let mut sorted: Vec<_> = supported.iter().map(|name| format!("{name:?}")).collect();
        sorted.sort();
        let detail = format!("supported values: {}", sorted.join(", "));
        Self { kind: ErrorKind::NotSupported, path, value: Some(value.into()), detail }
    }

    /// The value is none of `supported`, which is shown as it is ordered.
    #[must_use]
    pub fn not_supported_in(path: Path, value: impl Into<Value>, supported: &[&str]) -> Self {
        let shown: Vec<_> = supported.iter().map(|name| format!("{name:?}")).collect();
        let detail = format!("supported values: {}", shown.join(", "));
        Self { kind: ErrorKind::NotSupported, path, value: Some(value.into()), detail }
    }

    /// The field may not be set, or not to this.
    #[must_use]
    pub fn forbidden(path: Path, detail: impl Into<String>) -> Self {
        Self { kind: ErrorKind::Forbidden, path, value: None, detail: detail.into() }
    }

    /// The value is there twice.
    #[must_use]
    pub fn duplicate(path: Path, value: impl Into<Value>) -> Self {
        let value = Some(value.into());
        Self { kind: ErrorKind::Duplicate, path, value, detail: String::new() }
    }

    /// What the value names does not exist.
    #[must_use]
    pub fn not_found(path: Path, value: impl Into<Value>) -> Self {
        let value = Some(value.into());
        Self { kind: ErrorKind::NotFound, path, value, detail: String::new() }
    }

    /// The value has more than `max` bytes.
    #[must_use]
    pub fn too_long(path: Path, max: usize) -> Self {
        let bytes = if max == 1 { "byte" } else { "bytes" };
        let detail = format!("may not be more than {max} {bytes}");
        Self { kind: ErrorKind::TooLong, path, value: None, detail }
    }

    /// The list has `actual` items where `max` are allowed.
    #[must_use]
    pub fn too_many(path: Path, actual: usize, max: usize) -> Self {
        let detail = format!("must have at most {max} items");
        Self { kind: ErrorKind::TooMany, path, value: Some(actual.into()), detail }
    }

    /// The message without the field: `Invalid value: "x": must be …`.
    #[must_use]
    pub fn body(&self) -> String {
        let mut text = self.kind.text().to_owned();
        if let Some(value) = &self.value {
            text.push_str(": ");
            text.push_str(&shown(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

/// The whole message: `spec.replicas: Invalid value: -1: must be …`.
impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.path, self.body())
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("{text:?}"),
        Value::Null => "null".to_owned(),
        other => go_json(other),
    }
}

/// JSON as Go writes it: what could end a script is escaped.
#[must_use]
pub fn go_json(value: &Value) -> String {
    let text = value.to_string();
    if !text.contains(['<', '>', '&', '\u{2028}', '\u{2029}']) {
        return text;
    }
    // These occur within strings only.
    text.replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
        .replace('\u{2028}', "\\u2028")
        .replace('\u{2029}', "\\u2029")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_those_of_apimachinery() {
        let path = Path::new("spec").child("containers").index(0).child("image");
        assert_eq!(
            FieldError::required(path, "").to_string(),
            "spec.containers[0].image: Required value"
        );
        assert_eq!(
            FieldError::invalid(Path::new("spec").child("replicas"), -1, "must be positive")
                .to_string(),
            "spec.replicas: Invalid value: -1: must be positive"
        );
        assert_eq!(
            FieldError::not_supported(Path::new("type"), "X", &["B", "A"]).to_string(),
            r#"type: Unsupported value: "X": supported values: "A", "B""#
        );
        let shown = serde_json::json!({"rule": "a && b < 1"});
        assert_eq!(
            FieldError::invalid(Path::new("a"), shown, "no").to_string(),
            r#"a: Invalid value: {"rule":"a \u0026\u0026 b \u003c 1"}: no"#
        );
    }
}
