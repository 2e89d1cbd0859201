//! Values from JSON and into it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map as JsonMap, Number, Value as Json};

use super::{List, Map, Text, Value};
use crate::error::EvalError;
use crate::library::moment::Moment;
use crate::library::time;
use crate::schema::{DeclType, Shape};

/// A value that JSON has no form for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotJson(pub String);

impl<'a> Value<'a> {
    /// A JSON value without a schema.
    #[must_use]
    pub fn json(json: &'a Json) -> Self {
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => Self::number(number),
            Json::String(text) => Self::String(Text::Borrowed(text)),
            Json::Array(items) => Self::List(List::Json(items, None)),
            Json::Object(map) => Self::Map(Map::Json(map, None)),
        }
    }

    fn number(number: &Number) -> Self {
        if let Some(value) = number.as_i64() {
            Self::Int(value)
        } else if let Some(value) = number.as_u64() {
            Self::Uint(value)
        } else {
            Self::Double(number.as_f64().unwrap_or(f64::NAN))
        }
    }

    /// A JSON value read through its type.
    ///
    /// # Errors
    /// When it is not of the form that the type says, such as a date that is none.
    pub fn typed(json: &'a Json, decl: Option<&'a DeclType>) -> Result<Self, EvalError> {
        let Some(decl) = decl else {
            return Ok(Self::json(json));
        };
        Ok(match (&decl.shape, json) {
            (_, Json::Null) => Self::Null,
            (Shape::Double, Json::Number(number)) => {
                Self::Double(number.as_f64().unwrap_or(f64::NAN))
            }
            (Shape::Bytes, Json::String(text)) => {
                let bytes = STANDARD
                    .decode(text)
                    .map_err(|error| EvalError::new(format!("invalid byte sequence: {error}")))?;
                Self::Bytes(bytes.into())
            }
            (Shape::Duration, Json::String(text)) => {
                let nanos = time::duration(text).map_err(|_| {
                    EvalError::new(format!(
                        "invalid duration {text}: unable to parse {text} as duration"
                    ))
                })?;
                Self::Duration(nanos)
            }
            (Shape::Date, Json::String(text)) => Self::Timestamp(
                Moment::parse(&format!("{text}T00:00:00Z"))
                    .map_err(|_| EvalError::new(format!("invalid date formatted string {text}")))?,
            ),
            (Shape::DateTime, Json::String(text)) => {
                Self::Timestamp(Moment::parse(text).map_err(|_| {
                    EvalError::new(format!("invalid date-time formatted string {text}"))
                })?)
            }
            (Shape::List(..), Json::Array(items)) => Self::List(List::Json(items, Some(decl))),
            (Shape::Map(_) | Shape::Object(_), Json::Object(map)) => {
                Self::Map(Map::Json(map, Some(decl)))
            }
            (Shape::Plain, Json::Number(number)) if decl.ty == crate::types::Type::Int => {
                match Self::number(number) {
                    #[expect(clippy::cast_possible_truncation, reason = "the number is whole")]
                    Self::Double(value) if value.fract() == 0.0 => Self::Int(value as i64),
                    other => other,
                }
            }
            _ => Self::json(json),
        })
    }

    /// The JSON that this value is, as mutations use it.
    ///
    /// # Errors
    /// When JSON has no form for it.
    pub fn to_json(&self) -> Result<Json, NotJson> {
        let bad = |error: EvalError| NotJson(error.to_string());
        Ok(match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::Bool(*value),
            Self::Int(value) => (*value).into(),
            Self::Uint(value) => (*value).into(),
            Self::Double(value) => Number::from_f64(*value).map_or(Json::Null, Json::Number),
            Self::String(text) => Json::String(text.to_string()),
            Self::Bytes(bytes) => Json::String(STANDARD.encode(bytes)),
            Self::Timestamp(moment) => Json::String(moment.to_string()),
            Self::Duration(nanos) => Json::String(time::duration_text(*nanos)),
            Self::List(List::Json(items, _)) => Json::Array(items.to_vec()),
            Self::List(list) => {
                let items = list.items().map_err(bad)?;
                Json::Array(items.iter().map(Value::to_json).collect::<Result<_, _>>()?)
            }
            Self::Map(Map::Json(map, _)) => Json::Object((*map).clone()),
            Self::Map(map) => {
                let mut out = JsonMap::new();
                for (key, value) in map.entries().map_err(bad)? {
                    let Value::String(key) = &key else {
                        let ty = key.type_of();
                        return Err(NotJson(format!("map key of type {ty} is not string")));
                    };
                    out.insert(map.json_name(key), value.to_json()?);
                }
                Json::Object(out)
            }
            Self::Optional(Some(value)) => value.to_json()?,
            Self::Optional(None) => Json::Null,
            other => {
                let ty = other.type_of();
                return Err(NotJson(format!("a value of type {ty} cannot be converted to JSON")));
            }
        })
    }
}
