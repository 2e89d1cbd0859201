//! Conversions between types, and how values are written as texts.

use std::sync::Arc;

use super::{Builtin, Context, Given, no_overload, time};
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "type" => |_, args| Ok(Value::Type(args[0].type_of())),
        "dyn" => |_, args| Ok(args[0].clone()),
        "bool" => bool,
        "bytes" => bytes,
        "double" => double,
        "int" => int,
        "uint" => uint,
        "string" => string,
        _ => return None,
    })
}

/// The problem of a value that cannot become another type.
pub(super) fn refused(from: &Value<'_>, to: &str) -> EvalError {
    EvalError::new(format!("type conversion error from '{}' to '{to}'", from.type_of().name()))
}

fn bool<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match &args[0] {
        value @ Value::Bool(_) => Ok(value.clone()),
        value @ Value::String(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(Value::Bool(true)),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(Value::Bool(false)),
            _ => Err(refused(value, "bool")),
        },
        _ => no_overload(),
    }
}

fn bytes<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match &args[0] {
        value @ Value::Bytes(_) => Ok(value.clone()),
        Value::String(text) => Ok(Value::Bytes(text.as_bytes().into())),
        _ => no_overload(),
    }
}

#[expect(clippy::cast_precision_loss, reason = "conversion to a double rounds, as it says")]
fn double<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match &args[0] {
        value @ Value::Double(_) => Ok(value.clone()),
        Value::Int(value) => Ok(Value::Double(*value as f64)),
        Value::Uint(value) => Ok(Value::Double(*value as f64)),
        value @ Value::String(text) => {
            parse_double(text).map(Value::Double).ok_or_else(|| refused(value, "double"))
        }
        _ => no_overload(),
    }
}

/// A double as Go reads it; one that is too large is refused.
pub(super) fn parse_double(text: &str) -> Option<f64> {
    let value: f64 = text.parse().ok()?;
    let named = text.trim_start_matches(['+', '-']).starts_with(['i', 'I', 'n', 'N']);
    (value.is_finite() || named).then_some(value)
}

fn int<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    const OVERFLOW: &str = "integer overflow";
    match &args[0] {
        value @ Value::Int(_) => Ok(value.clone()),
        Value::Uint(value) => {
            i64::try_from(*value).map(Value::Int).map_err(|_| EvalError::new(OVERFLOW))
        }
        #[expect(clippy::cast_possible_truncation, reason = "the range is checked")]
        #[expect(clippy::cast_precision_loss, reason = "the bounds are rounded as upstream's are")]
        Value::Double(value) => {
            if value.is_finite() && *value > i64::MIN as f64 && *value < i64::MAX as f64 {
                Ok(Value::Int(*value as i64))
            } else {
                Err(EvalError::new(OVERFLOW))
            }
        }
        value @ Value::String(text) => {
            text.parse().map(Value::Int).map_err(|_| refused(value, "int"))
        }
        Value::Timestamp(moment) => Ok(Value::Int(moment.seconds())),
        Value::Duration(nanos) => Ok(Value::Int(*nanos)),
        _ => no_overload(),
    }
}

fn uint<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    const OVERFLOW: &str = "unsigned integer overflow";
    match &args[0] {
        value @ Value::Uint(_) => Ok(value.clone()),
        Value::Int(value) => {
            u64::try_from(*value).map(Value::Uint).map_err(|_| EvalError::new(OVERFLOW))
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "the range is checked"
        )]
        Value::Double(value) => {
            if value.is_finite() && *value >= 0.0 && *value < u64::MAX as f64 {
                Ok(Value::Uint(*value as u64))
            } else {
                Err(EvalError::new(OVERFLOW))
            }
        }
        value @ Value::String(text) => match text.starts_with('+') {
            true => Err(refused(value, "uint")),
            false => text.parse().map(Value::Uint).map_err(|_| refused(value, "uint")),
        },
        _ => no_overload(),
    }
}

fn string<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    if let Value::Bytes(bytes) = &args[0] {
        return match std::str::from_utf8(bytes) {
            Ok(text) => Ok(Value::text(text)),
            Err(_) => Err(EvalError::new("invalid UTF-8 in bytes, cannot convert to string")),
        };
    }
    match &args[0] {
        value @ Value::String(_) => Ok(value.clone()),
        value => match plain(value) {
            Some(text) => Ok(Value::text(text)),
            None => no_overload(),
        },
    }
}

/// The text of a value that `string()` takes; bytes are not among them.
pub(super) fn plain(value: &Value<'_>) -> Option<Arc<str>> {
    Some(match value {
        Value::String(text) => (**text).into(),
        Value::Bool(value) => value.to_string().into(),
        Value::Int(value) => value.to_string().into(),
        Value::Uint(value) => value.to_string().into(),
        Value::Double(value) => double_text(*value).into(),
        Value::Timestamp(moment) => moment.to_string().into(),
        Value::Duration(nanos) => time::duration_text(*nanos).into(),
        Value::Opaque(opaque) => opaque.text()?.into(),
        _ => return None,
    })
}

/// A value in a message.
pub(crate) fn display(value: &Value<'_>) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Type(ty) => ty.name().to_owned(),
        value => plain(value).map_or_else(|| value.type_of().to_string(), |text| text.to_string()),
    }
}

/// Go's `%g`: the shortest digits that are this number, with an exponent when it is small or large.
pub(super) fn double_text(value: f64) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').expect("this form has an exponent");
    let exponent: i32 = exponent.parse().expect("an exponent is a number");
    if (-4..6).contains(&exponent) {
        return format!("{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
