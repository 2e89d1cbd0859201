//! The types of the language, as the checker knows them.

use std::fmt;
use std::sync::Arc;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Type {
    /// The type of an expression that has a problem already.
    Error,
    /// Any value; decided when it is evaluated.
    Dyn,
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool,
    /// A signed 64-bit number.
    Int,
    /// An unsigned 64-bit number.
    Uint,
    /// A 64-bit floating point number.
    Double,
    /// A text.
    String,
    /// Bytes.
    Bytes,
    /// A moment.
    Timestamp,
    /// A length of time.
    Duration,
    /// A list of one type.
    List(Arc<Type>),
    /// A map from one type to another.
    Map(Arc<(Type, Type)>),
    /// An object with fields, by name.
    Struct(Arc<str>),
    /// A type that only functions look into, with its parameters: `optional_type(int)`.
    Opaque(Arc<str>, Arc<[Type]>),
    /// The type of a type.
    Type(Option<Arc<Type>>),
    /// A parameter of a function's declaration, or a variable of the checker.
    Param(Arc<str>),
}

/// The name of optional values' type.
pub(crate) const OPTIONAL: &str = "optional_type";

impl Type {
    /// A list of a type.
    #[must_use]
    pub fn list(item: Self) -> Self {
        Self::List(Arc::new(item))
    }

    /// A map from a type to a type.
    #[must_use]
    pub fn map(key: Self, value: Self) -> Self {
        Self::Map(Arc::new((key, value)))
    }

    /// An object type.
    #[must_use]
    pub fn object(name: &str) -> Self {
        Self::Struct(name.into())
    }

    /// An optional value of a type.
    #[must_use]
    pub fn optional(of: Self) -> Self {
        Self::Opaque(OPTIONAL.into(), [of].into())
    }

    pub(crate) fn type_of(of: Self) -> Self {
        Self::Type(Some(Arc::new(of)))
    }

    pub(crate) fn is_dyn(&self) -> bool {
        matches!(self, Self::Dyn)
    }

    pub(crate) fn is_dyn_or_error(&self) -> bool {
        matches!(self, Self::Dyn | Self::Error)
    }

    /// What an optional type holds.
    pub(crate) fn optional_of(&self) -> Option<&Self> {
        match self {
            Self::Opaque(name, params) if &**name == OPTIONAL => params.first(),
            _ => None,
        }
    }

    pub(crate) fn params(&self) -> Vec<&Self> {
        match self {
            Self::List(item) => vec![item],
            Self::Map(pair) => vec![&pair.0, &pair.1],
            Self::Opaque(_, params) => params.iter().collect(),
            Self::Type(Some(of)) => vec![of],
            _ => Vec::new(),
        }
    }

    /// The name without parameters, which is what `type(x)` is at run time.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Error => "error",
            Self::Dyn => "dyn",
            Self::Null => "null_type",
            Self::Bool => "bool",
            Self::Int => "int",
            Self::Uint => "uint",
            Self::Double => "double",
            Self::String => "string",
            Self::Bytes => "bytes",
            Self::Timestamp => "google.protobuf.Timestamp",
            Self::Duration => "google.protobuf.Duration",
            Self::List(_) => "list",
            Self::Map(_) => "map",
            Self::Struct(name) | Self::Opaque(name, _) | Self::Param(name) => name,
            Self::Type(_) => "type",
        }
    }
}

/// The form that problems show: `map(string, list(int))`.
impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "!error!",
            Self::Null => "null",
            Self::Timestamp => "timestamp",
            Self::Duration => "duration",
            other => other.name(),
        })?;
        let params = self.params();
        for (index, param) in params.iter().enumerate() {
            write!(f, "{}{param}", if index == 0 { "(" } else { ", " })?;
        }
        f.write_str(if params.is_empty() { "" } else { ")" })
    }
}

/// Reads a type as declarations write it: `map(string, A)`. Single capital letters are parameters.
pub(crate) fn parse(text: &str) -> Type {
    let text = text.trim();
    let (name, params) = match text.split_once('(') {
        Some((name, rest)) => (name, split(rest.strip_suffix(')').unwrap_or(rest))),
        None => (text, Vec::new()),
    };
    let mut params = params.into_iter().map(parse);
    let mut next = || params.next().unwrap_or(Type::Dyn);
    match name {
        "dyn" => Type::Dyn,
        "null" => Type::Null,
        "bool" => Type::Bool,
        "int" => Type::Int,
        "uint" => Type::Uint,
        "double" => Type::Double,
        "string" => Type::String,
        "bytes" => Type::Bytes,
        "timestamp" => Type::Timestamp,
        "duration" => Type::Duration,
        "list" => Type::list(next()),
        "map" => {
            let key = next();
            Type::map(key, next())
        }
        "optional" => Type::optional(next()),
        "type" => Type::type_of(next()),
        "net.IP" | "net.CIDR" => Type::Opaque(name.into(), [].into()),
        _ if name.len() == 1 && name.as_bytes()[0].is_ascii_uppercase() => Type::Param(name.into()),
        _ => Type::object(name),
    }
}

/// The parts between commas that are in no brackets.
pub(crate) fn split(text: &str) -> Vec<&str> {
    let (mut parts, mut depth, mut start) = (Vec::new(), 0, 0);
    for (index, char) in text.char_indices() {
        match char {
            '(' => depth += 1,
            ')' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&text[start..index]);
                start = index + 1;
            }
            _ => {}
        }
    }
    if !text[start..].trim().is_empty() {
        parts.push(&text[start..]);
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_are_read_and_shown() {
        for text in
            ["int", "map(string, list(A))", "optional_type(dyn)", "type(int)", "Object.spec"]
        {
            let written = text.replace("optional_type", "optional");
            assert_eq!(parse(&written).to_string(), text);
        }
        assert_eq!(Type::Null.to_string(), "null");
        assert_eq!(Type::Timestamp.to_string(), "timestamp");
    }
}
