//! Equality and order. Numbers compare by what they are worth, whatever their type; values of
//! types that have nothing in common are not equal.

use std::cmp::Ordering;
use std::collections::HashMap;

use super::{Key, List, Map, Value};
use crate::error::EvalError;
use crate::schema::ListKind;

impl<'a> Value<'a> {
    /// Whether two values are equal.
    pub(crate) fn equals(&self, other: &Value<'a>) -> Result<bool, EvalError> {
        Ok(match (self, other) {
            (Self::Null, Self::Null) | (Self::Variables, Self::Variables) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::String(a), Self::String(b)) => **a == **b,
            (Self::Bytes(a), Self::Bytes(b)) => a == b,
            (Self::Timestamp(a), Self::Timestamp(b)) => a == b,
            (Self::Duration(a), Self::Duration(b)) => a == b,
            (Self::Type(a), Self::Type(b)) => a.name() == b.name(),
            (Self::List(a), Self::List(b)) => lists(a, b)?,
            (Self::Map(a), Self::Map(b)) => maps(a, b)?,
            (Self::Optional(None), Self::Optional(None)) => true,
            (Self::Optional(Some(a)), Self::Optional(Some(b))) => a.equals(b)?,
            (Self::Opaque(a), Self::Opaque(b)) => a.equals(b),
            _ => numbers(self, other) == Some(Some(Ordering::Equal)),
        })
    }

    /// The order of two values.
    pub(crate) fn order(&self, other: &Value<'_>) -> Result<Option<Ordering>, EvalError> {
        Ok(Some(match (self, other) {
            (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
            (Value::String(a), Value::String(b)) => (**a).cmp(&**b),
            (Value::Bytes(a), Value::Bytes(b)) => a.cmp(b),
            (Value::Timestamp(a), Value::Timestamp(b)) => a.cmp(b),
            (Value::Duration(a), Value::Duration(b)) => a.cmp(b),
            _ => return numbers(self, other).ok_or_else(EvalError::no_such_overload),
        }))
    }
}

/// The order of two numbers: none at all when one is no number, no order when one is NaN.
#[expect(clippy::cast_precision_loss, reason = "the bounds are rounded, as upstream's are")]
fn numbers(one: &Value<'_>, other: &Value<'_>) -> Option<Option<Ordering>> {
    let whole = |value: &Value<'_>| match value {
        Value::Int(value) => Some((i128::from(*value), i64::MIN as f64, i64::MAX as f64)),
        Value::Uint(value) => Some((i128::from(*value), 0.0, u64::MAX as f64)),
        _ => None,
    };
    let compare = |value: &Value<'_>, double: f64| {
        whole(value).map(|(value, least, most)| whole_to_double(value, least, most, double))
    };
    match (one, other) {
        (Value::Double(a), Value::Double(b)) => Some(a.partial_cmp(b)),
        (Value::Double(a), b) => compare(b, *a).map(|order| order.map(Ordering::reverse)),
        (a, Value::Double(b)) => compare(a, *b),
        (a, b) => Some(Some(whole(a)?.0.cmp(&whole(b)?.0))),
    }
}

/// Compares as doubles do, which is upstream's rule: a number that a double cannot hold is rounded,
/// one beyond the range of its type is compared by that.
#[expect(clippy::cast_precision_loss, reason = "rounding is the rule")]
fn whole_to_double(whole: i128, least: f64, most: f64, double: f64) -> Option<Ordering> {
    if double < least {
        Some(Ordering::Greater)
    } else if double > most {
        Some(Ordering::Less)
    } else {
        (whole as f64).partial_cmp(&double)
    }
}

fn lists<'a>(one: &List<'a>, other: &List<'a>) -> Result<bool, EvalError> {
    if one.len() != other.len() {
        return Ok(false);
    }
    match one.kind() {
        ListKind::Atomic => {
            for (a, b) in one.iter().zip(other.iter()) {
                if !a?.equals(&b?)? {
                    return Ok(false);
                }
            }
            Ok(true)
        }
        // The order of sets and of lists with keys does not matter.
        ListKind::Set | ListKind::Map(_) => all_in(one, other),
    }
}

/// What tells an item apart: its own value in a set, the values of its keys in a list with keys.
/// `None` when that can be no key.
fn identity(item: &Value<'_>, kind: &ListKind) -> Option<Vec<Key>> {
    match kind {
        ListKind::Map(keys) => keys
            .iter()
            .map(|key| {
                let name = crate::schema::escape(key)?;
                match item.field(&name) {
                    Ok(Some(value)) => Key::of(&value),
                    // A key that is left out is one like any other.
                    Ok(None) => Some(Key::Text("".into())),
                    Err(_) => None,
                }
            })
            .collect(),
        _ => Key::of(item).map(|key| vec![key]),
    }
}

/// The items of a list by what tells them apart; the places of those that have nothing such.
struct Index(HashMap<Vec<Key>, usize>, Vec<usize>);

impl Index {
    fn of(items: &[Value<'_>], kind: &ListKind) -> Self {
        let mut index = Self(HashMap::new(), Vec::new());
        for (place, item) in items.iter().enumerate() {
            index.add(item, place, kind);
        }
        index
    }

    fn add(&mut self, item: &Value<'_>, place: usize, kind: &ListKind) {
        match identity(item, kind) {
            Some(identity) => drop(self.0.insert(identity, place)),
            None => self.1.push(place),
        }
    }

    /// The place of the item that is told apart as this one is.
    fn find<'a>(
        &self,
        items: &[Value<'a>],
        item: &Value<'a>,
        kind: &ListKind,
    ) -> Result<Option<usize>, EvalError> {
        if let Some(identity) = identity(item, kind) {
            return Ok(self.0.get(&identity).copied());
        }
        for place in &self.1 {
            if items[*place].equals(item)? {
                return Ok(Some(*place));
            }
        }
        Ok(None)
    }
}

/// Whether each item of one list is in the other, whatever the order.
fn all_in<'a>(one: &List<'a>, other: &List<'a>) -> Result<bool, EvalError> {
    let kind = one.kind();
    let others = other.items()?;
    let index = Index::of(&others, kind);
    for item in one.iter() {
        let item = item?;
        match index.find(&others, &item, kind)? {
            Some(place) if others[place].equals(&item)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn maps<'a>(one: &Map<'a>, other: &Map<'a>) -> Result<bool, EvalError> {
    let entries = one.entries()?;
    if entries.len() != other.keys().len() {
        return Ok(false);
    }
    for (key, value) in entries {
        match other.find(&key)? {
            Some(found) if value.equals(&found)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

/// Joins lists as their type says: sets take what is new, lists with keys put items in the place of
/// those with the same keys.
pub(crate) fn join<'a>(one: &List<'a>, other: &List<'a>) -> Result<Value<'a>, EvalError> {
    let mut items = one.items()?;
    let kind = one.kind();
    if *kind == ListKind::Atomic {
        items.extend(other.items()?);
        return Ok(Value::list(items));
    }
    let mut index = Index::of(&items, kind);
    for item in other.iter() {
        let item = item?;
        match index.find(&items, &item, kind)? {
            Some(place) => items[place] = item,
            None => {
                index.add(&item, items.len(), kind);
                items.push(item);
            }
        }
    }
    Ok(Value::List(one.with(items)))
}
