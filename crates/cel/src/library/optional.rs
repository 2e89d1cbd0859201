//! Optional values.

use super::{Builtin, Context, Given, no_overload};
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "optional.of" => |_, args| Ok(Value::some(args[0].clone())),
        "optional.ofNonZeroValue" => |_, args| {
            Ok(if args[0].is_zero() { Value::Optional(None) } else { Value::some(args[0].clone()) })
        },
        "optional.none" => |_, _| Ok(Value::Optional(None)),
        "optional.unwrap" | "unwrapOpt" => unwrap,
        "value" => |_, args| match &args[0] {
            Value::Optional(Some(value)) => Ok((**value).clone()),
            Value::Optional(None) => Err(EvalError::new("optional.none() dereference")),
            _ => no_overload(),
        },
        "hasValue" => |_, args| match &args[0] {
            Value::Optional(held) => Ok(Value::Bool(held.is_some())),
            _ => no_overload(),
        },
        "first" => |_, args| edge(&args[0], |_| 0),
        "last" => |_, args| edge(&args[0], |length| length - 1),
        _ => return None,
    })
}

fn edge<'a>(list: &Value<'a>, place: fn(usize) -> usize) -> Given<'a> {
    match list {
        Value::List(list) if list.is_empty() => Ok(Value::Optional(None)),
        Value::List(list) => {
            Ok(list.get(place(list.len()))?.map_or(Value::Optional(None), Value::some))
        }
        _ => no_overload(),
    }
}

fn unwrap<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let Value::List(list) = &args[0] else {
        return no_overload();
    };
    let mut held = Vec::new();
    for item in list.iter() {
        match item? {
            Value::Optional(Some(value)) => held.push((*value).clone()),
            Value::Optional(None) => {}
            other => {
                let ty = other.type_of();
                return Err(EvalError::new(format!("value of type {ty} is not optional")));
            }
        }
    }
    Ok(Value::list(held))
}
