//! Lists and maps, from JSON or made by expressions.

use std::sync::Arc;

use indexmap::IndexMap;
use serde_json::{Map as JsonMap, Value as Json};

use super::{Text, Value};
use crate::error::EvalError;
use crate::schema::{DeclType, ListKind, Shape, unescape};
use crate::types::Type;

/// A list.
#[derive(Debug, Clone)]
pub enum List<'a> {
    /// A JSON list, with the list type through which it is read.
    Json(&'a [Json], Option<&'a DeclType>),
    /// A list that was made.
    Owned(Arc<Vec<Value<'a>>>),
    /// A list that was made of one whose items are told apart by the type's rule.
    Joined(Arc<Vec<Value<'a>>>, &'a DeclType),
}

impl<'a> List<'a> {
    /// How many items there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(items, _) => items.len(),
            Self::Owned(items) | Self::Joined(items, _) => items.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The item at a place.
    ///
    /// # Errors
    /// When the item is not what its schema says.
    pub fn get(&self, index: usize) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Json(items, decl) => {
                let item = decl.and_then(DeclType::element).map(|item| &**item);
                items.get(index).map(|json| Value::typed(json, item)).transpose()
            }
            Self::Owned(items) | Self::Joined(items, _) => Ok(items.get(index).cloned()),
        }
    }

    /// The items in order.
    pub fn iter(&self) -> impl Iterator<Item = Result<Value<'a>, EvalError>> + '_ {
        (0..self.len())
            .map(|index| self.get(index).map(|item| item.expect("the index is below the length")))
    }

    /// All items.
    pub(crate) fn items(&self) -> Result<Vec<Value<'a>>, EvalError> {
        self.iter().collect()
    }

    /// How items are told apart.
    pub(crate) fn kind(&self) -> &ListKind {
        match self.decl() {
            Some(DeclType { shape: Shape::List(_, kind), .. }) => kind,
            _ => &ListKind::Atomic,
        }
    }

    fn decl(&self) -> Option<&'a DeclType> {
        match self {
            Self::Json(_, decl) => *decl,
            Self::Joined(_, decl) => Some(decl),
            Self::Owned(_) => None,
        }
    }

    /// A list of the same type with other items.
    pub(crate) fn with(&self, items: Vec<Value<'a>>) -> Self {
        match self.decl() {
            Some(decl) => Self::Joined(Arc::new(items), decl),
            None => Self::Owned(Arc::new(items)),
        }
    }
}

/// A key, so that `1`, `1u` and `1.0` are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Key {
    /// A boolean.
    Bool(bool),
    /// A whole number.
    Number(i128),
    /// A text.
    Text(Arc<str>),
}

impl Key {
    /// The key that a value is; `None` when it can be none.
    pub(crate) fn of(value: &Value<'_>) -> Option<Self> {
        Some(match value {
            Value::Bool(value) => Self::Bool(*value),
            Value::Int(value) => Self::Number((*value).into()),
            Value::Uint(value) => Self::Number((*value).into()),
            #[expect(clippy::cast_possible_truncation, reason = "the number is whole and in range")]
            Value::Double(value) if value.fract() == 0.0 && value.abs() < 1e30 => {
                Self::Number(*value as i128)
            }
            Value::String(Text::Shared(text)) => Self::Text(Arc::clone(text)),
            Value::String(text) => Self::Text((**text).into()),
            _ => return None,
        })
    }
}

/// The entries of a map that was made.
#[derive(Debug, Clone, Default)]
pub struct MapData<'a> {
    /// The object type's name, for what an object literal makes.
    pub(crate) type_name: Option<Arc<str>>,
    entries: IndexMap<Key, (Value<'a>, Value<'a>)>,
}

impl<'a> MapData<'a> {
    /// An object of a type, without fields yet.
    pub(crate) fn object(name: Arc<str>) -> Self {
        Self { type_name: Some(name), entries: IndexMap::new() }
    }

    /// Puts an entry in; whether the key was new.
    pub fn put(&mut self, key: Key, written: Value<'a>, value: Value<'a>) -> bool {
        self.entries.insert(key, (written, value)).is_none()
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Value<'a>> {
        self.entries.get(key).map(|(_, value)| value)
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.entries.contains_key(key)
    }
}

/// A map or an object.
#[derive(Debug, Clone)]
pub enum Map<'a> {
    /// A JSON object, with the map or object type through which it is read.
    Json(&'a JsonMap<String, Json>, Option<&'a DeclType>),
    /// A map that was made.
    Owned(Arc<MapData<'a>>),
}

impl<'a> Map<'a> {
    /// How many entries there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Json(map, _) => map.len(),
            Self::Owned(data) => data.entries.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn type_of(&self) -> Type {
        match self {
            Self::Json(_, Some(decl)) => decl.ty.clone(),
            Self::Owned(data) => match &data.type_name {
                Some(name) => Type::Struct(Arc::clone(name)),
                None => Type::map(Type::Dyn, Type::Dyn),
            },
            Self::Json(_, None) => Type::map(Type::Dyn, Type::Dyn),
        }
    }

    /// The value of a text key, or of a field by its escaped name.
    pub(crate) fn find_text(&self, name: &str) -> Result<Option<Value<'a>>, EvalError> {
        match self {
            Self::Json(map, Some(DeclType { shape: Shape::Object(fields), .. })) => {
                let Some(field) = fields.get(name) else {
                    return Ok(None);
                };
                let json = map.get(&*field.json_name);
                json.map(|json| Value::typed(json, Some(&field.decl))).transpose()
            }
            Self::Json(map, decl) => {
                let value = decl.and_then(DeclType::element).map(|value| &**value);
                map.get(name).map(|json| Value::typed(json, value)).transpose()
            }
            Self::Owned(data) => {
                let key = Key::Text(name.into());
                Ok(data.entries.get(&key).map(|(_, value)| value.clone()))
            }
        }
    }

    /// The value of a key.
    pub(crate) fn find(&self, key: &Value<'_>) -> Result<Option<Value<'a>>, EvalError> {
        match (self, key) {
            (_, Value::String(name)) => self.find_text(name),
            (Self::Owned(data), key) => Ok(Key::of(key)
                .and_then(|key| data.entries.get(&key))
                .map(|(_, value)| value.clone())),
            (Self::Json(..), _) => Ok(None),
        }
    }

    /// The keys in order.
    pub(crate) fn keys(&self) -> Vec<Value<'a>> {
        match self {
            Self::Json(map, Some(DeclType { shape: Shape::Object(fields), .. })) => fields
                .iter()
                .filter(|(_, field)| map.contains_key(&*field.json_name))
                .map(|(name, _)| Value::String(Text::Borrowed(name)))
                .collect(),
            Self::Json(map, _) => {
                map.keys().map(|key| Value::String(Text::Borrowed(key))).collect()
            }
            Self::Owned(data) => data.entries.values().map(|(key, _)| key.clone()).collect(),
        }
    }

    /// The entries in order.
    pub(crate) fn entries(&self) -> Result<Vec<(Value<'a>, Value<'a>)>, EvalError> {
        if let Self::Owned(data) = self {
            return Ok(data.entries.values().cloned().collect());
        }
        let mut entries = Vec::with_capacity(self.len());
        for key in self.keys() {
            if let Some(value) = self.find(&key)? {
                entries.push((key, value));
            }
        }
        Ok(entries)
    }

    /// The JSON name of a key: an object literal's fields are written escaped.
    pub(crate) fn json_name(&self, key: &str) -> String {
        let object = matches!(self, Self::Owned(data) if data.type_name.is_some());
        if object { unescape(key).unwrap_or_else(|| key.to_owned()) } else { key.to_owned() }
    }

    /// A copy that can be changed.
    pub(crate) fn to_data(&self) -> Result<MapData<'a>, EvalError> {
        if let Self::Owned(data) = self {
            return Ok((**data).clone());
        }
        let mut data = MapData::default();
        for (key, value) in self.entries()? {
            if let Some(normal) = Key::of(&key) {
                data.put(normal, key, value);
            }
        }
        Ok(data)
    }
}
