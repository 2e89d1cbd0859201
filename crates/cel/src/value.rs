//! Values while an expression is evaluated.
//!
//! What comes from JSON stays where it is: a value borrows it, with the schema through which it is
//! read, and parts become values when they are looked at. What an expression makes is shared.

pub(crate) mod compare;
mod containers;
mod json;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

pub(crate) use compare::join;
pub use containers::{Key, List, Map, MapData};
pub use json::NotJson;

use crate::error::EvalError;
use crate::library::moment::Moment;
use crate::library::opaque::Opaque;
use crate::types::Type;

/// A value.
#[derive(Debug, Clone)]
pub enum Value<'a> {
    /// `null`.
    Null,
    /// A boolean.
    Bool(bool),
    /// A signed number.
    Int(i64),
    /// An unsigned number.
    Uint(u64),
    /// A floating point number.
    Double(f64),
    /// A text.
    String(Text<'a>),
    /// Bytes.
    Bytes(Arc<[u8]>),
    /// A moment.
    Timestamp(Moment),
    /// A length of time in nanoseconds.
    Duration(i64),
    /// A list.
    List(List<'a>),
    /// A map or an object.
    Map(Map<'a>),
    /// A type.
    Type(Type),
    /// An optional value.
    Optional(Option<Arc<Value<'a>>>),
    /// A value of Kubernetes' libraries.
    Opaque(Arc<Opaque>),
    /// The variable `variables`, whose fields the activation evaluates when they are asked for.
    Variables,
}

/// A text, borrowed or shared.
#[derive(Debug, Clone)]
pub enum Text<'a> {
    /// Borrowed, as from JSON.
    Borrowed(&'a str),
    /// Shared, as made by an expression.
    Shared(Arc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self)
    }
}

impl<'a> Value<'a> {
    /// A text that is made here.
    #[must_use]
    pub fn text(text: impl Into<Arc<str>>) -> Self {
        Self::String(Text::Shared(text.into()))
    }

    /// A list that is made here.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(List::Owned(Arc::new(items)))
    }

    /// A map from texts that is made here.
    #[must_use]
    pub fn record(entries: impl IntoIterator<Item = (&'static str, Self)>) -> Self {
        let mut data = MapData::default();
        for (name, value) in entries {
            data.put(Key::Text(name.into()), Self::String(Text::Borrowed(name)), value);
        }
        Self::Map(Map::Owned(Arc::new(data)))
    }

    pub(crate) fn opaque(of: Opaque) -> Self {
        Self::Opaque(Arc::new(of))
    }

    pub(crate) fn some(value: Self) -> Self {
        Self::Optional(Some(Arc::new(value)))
    }

    /// The boolean that this is.
    #[must_use]
    pub fn as_bool(&self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(*value),
            _ => None,
        }
    }

    /// The text that this is.
    #[must_use]
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// The type that `type()` gives.
    #[must_use]
    pub fn type_of(&self) -> Type {
        match self {
            Self::Null => Type::Null,
            Self::Bool(_) => Type::Bool,
            Self::Int(_) => Type::Int,
            Self::Uint(_) => Type::Uint,
            Self::Double(_) => Type::Double,
            Self::String(_) => Type::String,
            Self::Bytes(_) => Type::Bytes,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Duration(_) => Type::Duration,
            Self::List(_) => Type::list(Type::Dyn),
            Self::Map(map) => map.type_of(),
            Self::Type(_) => Type::Type(None),
            Self::Optional(_) => Type::optional(Type::Dyn),
            Self::Opaque(opaque) => opaque.type_of(),
            Self::Variables => Type::object(crate::env::VARIABLES),
        }
    }

    /// How large a value is for costs: code points, bytes, items, entries; 1 for scalars.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::String(text) => count(text),
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::List(list) => list.len() as u64,
            Self::Map(map) => map.len() as u64,
            Self::Optional(Some(value)) => value.size(),
            Self::Opaque(opaque) => opaque.size(),
            _ => 1,
        }
    }

    /// Whether this is the value that says nothing: zero, empty, false.
    pub(crate) fn is_zero(&self) -> bool {
        match self {
            Self::Null => true,
            Self::Bool(value) => !value,
            Self::Int(value) => *value == 0,
            Self::Uint(value) => *value == 0,
            Self::Double(value) => *value == 0.0,
            Self::String(text) => text.is_empty(),
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Timestamp(_) | Self::Type(_) | Self::Opaque(_) | Self::Variables => false,
            Self::Duration(value) => *value == 0,
            Self::List(list) => list.is_empty(),
            Self::Map(map) => map.is_empty(),
            Self::Optional(value) => value.is_none(),
        }
    }

    /// `value.field` or `value['field']`; `None` when there is no such field.
    pub(crate) fn field(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Map(map) => map.find_text(name),
            Self::Optional(Some(value)) => value.field(name),
            Self::Optional(None) => Ok(None),
            _ => Err(EvalError::no_such_overload()),
        }
    }
}

/// How many code points a text has.
pub(crate) fn count(text: &str) -> u64 {
    if text.is_ascii() { text.len() as u64 } else { text.chars().count() as u64 }
}
