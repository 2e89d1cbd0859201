//! Quantities: `quantity('1.5Gi')` and what is asked of them.

use std::cmp::Ordering;

use api::quantity::Quantity;

use super::opaque::Opaque;
use super::{Builtin, Given, no_overload, semver};
use crate::error::EvalError;
use crate::value::Value;

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "quantity" => |_, args| match args {
            [Value::String(text)] => match text.parse::<Quantity>() {
                Ok(quantity) => Ok(Value::opaque(Opaque::Quantity(quantity))),
                Err(error) => Err(EvalError::new(error.to_string())),
            },
            _ => no_overload(),
        },
        "isQuantity" => |_, args| match args {
            [Value::String(text)] => Ok(Value::Bool(text.parse::<Quantity>().is_ok())),
            _ => no_overload(),
        },
        "sign" => |_, args| one(args, |q| Ok(Value::Int(q.sign().into()))),
        "asApproximateFloat" => |_, args| one(args, |q| Ok(Value::Double(q.as_f64()))),
        "isInteger" => |_, args| one(args, |q| Ok(Value::Bool(integer(q).is_some()))),
        "asInteger" => |_, args| {
            one(args, |q| {
                let integer = integer(q).map(Value::Int);
                integer.ok_or_else(|| EvalError::new("cannot convert value to integer"))
            })
        },
        "add" => |_, args| combine(args, |a, b| a + b),
        "sub" => |_, args| combine(args, |a, b| a - b),
        "isGreaterThan" => |_, args| order(args, |order| Value::Bool(order.is_gt())),
        "isLessThan" => |_, args| order(args, |order| Value::Bool(order.is_lt())),
        "compareTo" => |_, args| order(args, |order| Value::Int(order as i64)),
        "semver" | "isSemver" | "major" | "minor" | "patch" => return semver::implementation(name),
        _ => return None,
    })
}

/// The integer that a quantity is. One that reached the largest there is was perhaps larger, and
/// is, as upstream, none.
fn integer(quantity: Quantity) -> Option<i64> {
    let value = quantity.value();
    (quantity.is_integer() && value.unsigned_abs() < i64::MAX.unsigned_abs()).then_some(value)
}

fn quantity(value: &Value<'_>) -> Option<Quantity> {
    match value {
        Value::Opaque(opaque) => match &**opaque {
            Opaque::Quantity(quantity) => Some(*quantity),
            _ => None,
        },
        _ => None,
    }
}

fn one<'a>(args: &[Value<'a>], given: fn(Quantity) -> Given<'static>) -> Given<'a> {
    match args {
        [value] => quantity(value).map_or_else(no_overload, given),
        _ => no_overload(),
    }
}

fn combine<'a>(args: &[Value<'a>], with: fn(Quantity, Quantity) -> Quantity) -> Given<'a> {
    let other = match args.get(1) {
        Some(Value::Int(number)) => Some(Quantity::from_int(*number)),
        Some(value) => quantity(value),
        None => None,
    };
    match (args.first().and_then(quantity), other) {
        (Some(a), Some(b)) => Ok(Value::opaque(Opaque::Quantity(with(a, b)))),
        _ => no_overload(),
    }
}

/// Quantities and versions are ordered by functions of the same names.
fn order<'a>(args: &[Value<'a>], given: fn(Ordering) -> Value<'static>) -> Given<'a> {
    let [one, other] = args else {
        return no_overload();
    };
    if let (Some(a), Some(b)) = (quantity(one), quantity(other)) {
        return Ok(given(a.cmp(&b)));
    }
    match (semver::version(one), semver::version(other)) {
        (Some(a), Some(b)) => Ok(given(a.order(b))),
        _ => no_overload(),
    }
}
