//! Lists and sets: Kubernetes' own functions and those of the extensions.

use std::cmp::Ordering;

use super::operators;
use super::{Builtin, Context, Given, no_overload};
use crate::error::EvalError;
use crate::syntax::ast::ops;
use crate::value::{List, Value};

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "isSorted" => is_sorted,
        "sum" => sum,
        "min" => |_, args| extreme(args, "min", Ordering::is_gt),
        "max" => |_, args| extreme(args, "max", Ordering::is_lt),
        "slice" => slice,
        "flatten" => flatten,
        "lists.range" => range,
        "reverse" => reverse,
        "distinct" => distinct,
        "sort" => |_, args| sort_by(args, &args[0]),
        "@sortByAssociatedKeys" => |_, args| sort_by(args, &args[1]),
        "sets.contains" => |_, args| sets(args, |a, b| all_in(b, a)),
        "sets.equivalent" => |_, args| sets(args, |a, b| Ok(all_in(a, b)? && all_in(b, a)?)),
        "sets.intersects" => |_, args| sets(args, intersects),
        _ => return None,
    })
}

fn list<'v, 'a>(value: &'v Value<'a>) -> Result<&'v List<'a>, EvalError> {
    match value {
        Value::List(list) => Ok(list),
        _ => Err(EvalError::no_such_overload()),
    }
}

fn compare(one: &Value<'_>, other: &Value<'_>) -> Result<Ordering, EvalError> {
    one.order(other)?.ok_or_else(|| EvalError::new("NaN values cannot be ordered"))
}

fn is_sorted<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let items = list(&args[0])?.items()?;
    for pair in items.windows(2) {
        if compare(&pair[0], &pair[1])?.is_gt() {
            return Ok(Value::Bool(false));
        }
    }
    Ok(Value::Bool(true))
}

fn sum<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let add = operators::implementation(ops::ADD).expect("addition is an operator");
    let mut total: Option<Value<'a>> = None;
    for item in list(&args[0])?.iter() {
        let item = item?;
        total = Some(match total {
            None => item,
            Some(total) => add(context, &[total, item])?,
        });
    }
    // What an empty list is a list of is not known here; all zeros are equal.
    Ok(total.unwrap_or(Value::Int(0)))
}

fn extreme<'a>(args: &[Value<'a>], name: &str, replaces: fn(Ordering) -> bool) -> Given<'a> {
    let mut found: Option<Value<'a>> = None;
    for item in list(&args[0])?.iter() {
        let item = item?;
        found = Some(match found {
            Some(known) if !replaces(compare(&known, &item)?) => known,
            _ => item,
        });
    }
    found.ok_or_else(|| EvalError::new(format!("{name} called on empty list")))
}

/// The place of an item, by the order in which items are tried.
pub(super) fn position<'a>(
    items: &List<'a>,
    wanted: &Value<'a>,
    places: impl Iterator<Item = usize>,
) -> Given<'a> {
    for place in places {
        if items.get(place)?.is_some_and(|item| item.equals(wanted).unwrap_or(false)) {
            return Ok(Value::Int(i64::try_from(place).unwrap_or(i64::MAX)));
        }
    }
    Ok(Value::Int(-1))
}

fn slice<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let [items, Value::Int(start), Value::Int(end)] = args else {
        return no_overload();
    };
    let items = list(items)?.items()?;
    let length = items.len();
    let range = || format!("cannot slice({start}, {end}), ");
    let (Ok(from), Ok(to)) = (usize::try_from(*start), usize::try_from(*end)) else {
        return Err(EvalError::new(format!("{}negative indexes not supported", range())));
    };
    if from > to {
        return Err(EvalError::new(format!(
            "{}start index must be less than or equal to end index",
            range()
        )));
    }
    if to > length {
        return Err(EvalError::new(format!("{}list is length {length}", range())));
    }
    Ok(Value::list(items[from..to].to_vec()))
}

fn flatten<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let depth = match args.get(1) {
        None => 1,
        Some(Value::Int(depth)) => *depth,
        Some(_) => return no_overload(),
    };
    if depth < 0 {
        return Err(EvalError::new("level must be non-negative"));
    }
    let mut out = Vec::new();
    flatten_into(list(&args[0])?, depth, &mut out)?;
    Ok(Value::list(out))
}

fn flatten_into<'a>(
    items: &List<'a>,
    depth: i64,
    out: &mut Vec<Value<'a>>,
) -> Result<(), EvalError> {
    for item in items.iter() {
        match item? {
            Value::List(inner) if depth > 0 => flatten_into(&inner, depth - 1, out)?,
            other => out.push(other),
        }
    }
    Ok(())
}

fn range<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let [Value::Int(count)] = args else {
        return no_overload();
    };
    context.room_for_items(u64::try_from(*count).unwrap_or(0))?;
    Ok(Value::list((0..*count).map(Value::Int).collect()))
}

fn reverse<'a>(_: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let mut items = list(&args[0])?.items()?;
    items.reverse();
    Ok(Value::list(items))
}

fn distinct<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let items = list(&args[0])?.items()?;
    // Each item is compared with each: that must be affordable before it is done.
    context.room_for_items((items.len() as u64).saturating_mul(items.len() as u64) / 10)?;
    let mut out: Vec<Value<'a>> = Vec::new();
    for item in items {
        let mut known = false;
        for other in &out {
            if other.equals(&item)? {
                known = true;
                break;
            }
        }
        if !known {
            out.push(item);
        }
    }
    Ok(Value::list(out))
}

/// The items of a list in the order of their keys.
fn sort_by<'a>(args: &[Value<'a>], keys: &Value<'a>) -> Given<'a> {
    let items = list(&args[0])?.items()?;
    let keys = list(keys)?.items()?;
    if items.len() != keys.len() {
        return Err(EvalError::new(format!(
            "@sortByAssociatedKeys() expected a list of the same size as the associated keys list, but got {} and {} elements respectively.",
            items.len(),
            keys.len()
        )));
    }
    if let Some(first) = keys.first()
        && keys.iter().any(|key| key.type_of() != first.type_of())
    {
        return Err(EvalError::new("list elements must have the same type"));
    }
    let mut pairs: Vec<(Value<'a>, Value<'a>)> = keys.into_iter().zip(items).collect();
    let mut problem = None;
    pairs.sort_by(|(one, _), (other, _)| {
        compare(one, other).unwrap_or_else(|error| {
            problem = Some(error);
            Ordering::Equal
        })
    });
    match problem {
        Some(_) => Err(EvalError::new("list elements must be comparable")),
        None => Ok(Value::list(pairs.into_iter().map(|(_, item)| item).collect())),
    }
}

fn sets<'a>(
    args: &[Value<'a>],
    holds: fn(&List<'a>, &List<'a>) -> Result<bool, EvalError>,
) -> Given<'a> {
    let [one, other] = args else {
        return no_overload();
    };
    Ok(Value::Bool(holds(list(one)?, list(other)?)?))
}

fn has<'a>(items: &List<'a>, wanted: &Value<'a>) -> Result<bool, EvalError> {
    for item in items.iter() {
        if item?.equals(wanted)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn all_in<'a>(one: &List<'a>, other: &List<'a>) -> Result<bool, EvalError> {
    for item in one.iter() {
        if !has(other, &item?)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn intersects<'a>(one: &List<'a>, other: &List<'a>) -> Result<bool, EvalError> {
    for item in one.iter() {
        if has(other, &item?)? {
            return Ok(true);
        }
    }
    Ok(false)
}
