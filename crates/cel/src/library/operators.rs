//! Arithmetic, comparison, indexing, membership, size.

use std::cmp::Ordering;
use std::sync::Arc;

use super::{Builtin, Context, Given, convert, no_overload, time};
use crate::error::EvalError;
use crate::syntax::ast::ops;
use crate::value::{Map, Value};

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        ops::ADD => add,
        ops::SUBTRACT => subtract,
        ops::MULTIPLY => multiply,
        ops::DIVIDE => divide,
        ops::MODULO => modulo,
        ops::NEGATE => negate,
        ops::NOT => |_, args| match args {
            [Value::Bool(value)] => Ok(Value::Bool(!value)),
            _ => no_overload(),
        },
        ops::EQUALS => |_, args| Ok(Value::Bool(args[0].equals(&args[1])?)),
        ops::NOT_EQUALS => |_, args| Ok(Value::Bool(!args[0].equals(&args[1])?)),
        ops::LESS => |_, args| order(args, Ordering::is_lt),
        ops::LESS_EQUALS => |_, args| order(args, Ordering::is_le),
        ops::GREATER => |_, args| order(args, Ordering::is_gt),
        ops::GREATER_EQUALS => |_, args| order(args, Ordering::is_ge),
        ops::INDEX => index,
        ops::OPT_INDEX => optional_index,
        ops::IN => contains,
        ops::MAP_INSERT => map_insert,
        "size" => size,
        _ => return None,
    })
}

fn int<'a>(value: Option<i64>) -> Given<'a> {
    value.map(Value::Int).ok_or_else(|| EvalError::new("integer overflow"))
}

fn uint<'a>(value: Option<u64>) -> Given<'a> {
    value.map(Value::Uint).ok_or_else(|| EvalError::new("unsigned integer overflow"))
}

fn add<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_add(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_add(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a + b)),
        (Value::String(a), Value::String(b)) => {
            context.room_for_text((a.len() + b.len()) as u64)?;
            Ok(Value::text(format!("{a}{b}")))
        }
        (Value::Bytes(a), Value::Bytes(b)) => {
            context.room_for_text((a.len() + b.len()) as u64)?;
            Ok(Value::Bytes([&**a, &**b].concat().into()))
        }
        (Value::List(a), Value::List(b)) => {
            context.room_for_items((a.len() + b.len()) as u64 / 10)?;
            crate::value::join(a, b)
        }
        (Value::Duration(a), Value::Duration(b)) => int_duration(a.checked_add(*b)),
        (Value::Timestamp(moment), Value::Duration(by))
        | (Value::Duration(by), Value::Timestamp(moment)) => time::shift(*moment, i128::from(*by)),
        _ => no_overload(),
    }
}

fn int_duration<'a>(nanos: Option<i64>) -> Given<'a> {
    nanos.map(Value::Duration).ok_or_else(|| EvalError::new("integer overflow"))
}

fn subtract<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_sub(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_sub(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a - b)),
        (Value::Duration(a), Value::Duration(b)) => int_duration(a.checked_sub(*b)),
        (Value::Timestamp(moment), Value::Duration(by)) => time::shift(*moment, -i128::from(*by)),
        (Value::Timestamp(a), Value::Timestamp(b)) => {
            int_duration(i64::try_from(a.nanos() - b.nanos()).ok())
        }
        _ => no_overload(),
    }
}

fn multiply<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(a), Value::Int(b)) => int(a.checked_mul(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_mul(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a * b)),
        _ => no_overload(),
    }
}

fn divide<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("division by zero"))
        }
        (Value::Int(a), Value::Int(b)) => int(a.checked_div(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_div(*b)),
        (Value::Double(a), Value::Double(b)) => Ok(Value::Double(a / b)),
        _ => no_overload(),
    }
}

fn modulo<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match (&args[0], &args[1]) {
        (Value::Int(_), Value::Int(0)) | (Value::Uint(_), Value::Uint(0)) => {
            Err(EvalError::new("modulus by zero"))
        }
        (Value::Int(a), Value::Int(b)) => int(a.checked_rem(*b)),
        (Value::Uint(a), Value::Uint(b)) => uint(a.checked_rem(*b)),
        _ => no_overload(),
    }
}

fn negate<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match &args[0] {
        Value::Int(value) => int(value.checked_neg()),
        Value::Double(value) => Ok(Value::Double(-value)),
        Value::Duration(nanos) => int_duration(nanos.checked_neg()),
        _ => no_overload(),
    }
}

fn order<'a>(args: &[Value<'a>], holds: fn(Ordering) -> bool) -> Given<'a> {
    match args[0].order(&args[1])? {
        Some(order) => Ok(Value::Bool(holds(order))),
        None => Err(EvalError::new("NaN values cannot be ordered")),
    }
}

/// The place that an index of any number type means.
fn place(index: &Value<'_>) -> Result<Option<usize>, EvalError> {
    Ok(match index {
        Value::Int(index) => usize::try_from(*index).ok(),
        Value::Uint(index) => usize::try_from(*index).ok(),
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "the number is whole and not negative"
        )]
        Value::Double(index) if index.fract() == 0.0 => (*index >= 0.0).then_some(*index as usize),
        other => {
            return Err(EvalError::new(format!(
                "unsupported index type '{}' in list",
                other.type_of().name()
            )));
        }
    })
}

fn lookup<'a>(target: &Value<'a>, key: &Value<'a>) -> Result<Option<Value<'a>>, EvalError> {
    match target {
        Value::List(list) => match place(key)? {
            Some(place) => list.get(place),
            None => Ok(None),
        },
        Value::Map(map) => map.find(key),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn index<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (target, key) = (&args[0], &args[1]);
    if let Value::Optional(held) = target {
        return match held {
            Some(target) => Ok(Value::Optional(lookup(target, key)?.map(Arc::new))),
            None => Ok(Value::Optional(None)),
        };
    }
    lookup(target, key)?.ok_or_else(|| {
        let key = convert::display(key);
        match target {
            Value::List(_) => EvalError::new(format!("index out of bounds: {key}")),
            _ => EvalError::no_such_key(&key),
        }
    })
}

fn optional_index<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let target = match &args[0] {
        Value::Optional(Some(target)) => target,
        Value::Optional(None) => return Ok(Value::Optional(None)),
        other => other,
    };
    Ok(Value::Optional(lookup(target, &args[1])?.map(Arc::new)))
}

fn contains<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match &args[1] {
        Value::List(list) => {
            for item in list.iter() {
                if item?.equals(&args[0])? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        Value::Map(map) => Ok(Value::Bool(map.find(&args[0])?.is_some())),
        _ => no_overload(),
    }
}

/// What `transformMap` becomes where its step is not done in place.
fn map_insert<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let Value::Map(map) = &args[0] else {
        return no_overload();
    };
    let mut data = map.to_data()?;
    let entries = match &args[1..] {
        [Value::Map(more)] => more.entries()?,
        [key, value] => vec![(key.clone(), value.clone())],
        _ => return no_overload(),
    };
    for (key, value) in entries {
        crate::eval::insert(&mut data, key, value, "insert failed: key")?;
    }
    Ok(Value::Map(Map::Owned(Arc::new(data))))
}

fn size<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match &args[0] {
        value @ (Value::String(_) | Value::Bytes(_) | Value::List(_) | Value::Map(_)) => {
            Ok(Value::Int(i64::try_from(value.size()).unwrap_or(i64::MAX)))
        }
        _ => no_overload(),
    }
}
