//! What differs between two objects, as sets of paths.

use std::collections::{BTreeMap, HashSet};

use api::schema::{List, ListType, Schema};
use serde_json::{Map, Value};

use super::set::{self, Set};
use super::typed::{Shape, entry_schema, item_element, shape};

/// The differences between an old and a new object.
#[derive(Debug, Clone, Default)]
pub(super) struct Comparison {
    /// Paths that only the new one has.
    pub(super) added: Set,
    /// Paths whose value is another one.
    pub(super) modified: Set,
    /// Paths that only the old one has.
    pub(super) removed: Set,
}

impl Comparison {
    /// What the writer of the new object set.
    pub(super) fn into_changed(self) -> Set {
        let mut changed = self.added;
        changed.extend(&self.modified);
        changed
    }

    fn is_empty(&self) -> bool {
        self.added.is_empty() && self.modified.is_empty() && self.removed.is_empty()
    }

    /// Puts what differs below an element, and whether the element itself does.
    fn insert(&mut self, element: String, own: Option<Change>, below: Self) {
        if own.is_none() && below.is_empty() {
            return;
        }
        let element: Box<str> = element.into();
        for (change, set, below) in [
            (Change::Modified, &mut self.modified, below.modified),
            (Change::Removed, &mut self.removed, below.removed),
            (Change::Added, &mut self.added, below.added),
        ] {
            let member = own == Some(change);
            if member || !below.is_empty() {
                set.insert_below(element.clone(), member, below);
            }
        }
    }
}

/// How a value itself differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Modified,
    Removed,
}

fn change(old: Option<&Value>, new: Option<&Value>) -> Change {
    match (old, new) {
        (None, _) => Change::Added,
        (_, None) => Change::Removed,
        _ => Change::Modified,
    }
}

pub(super) fn compare(old: &Value, new: &Value, schema: &Schema) -> Comparison {
    let mut comparison = Comparison::default();
    walk(Some(old), Some(new), schema, &mut comparison);
    comparison
}

/// Notes in `out` what differs below the values; answers how they differ themselves.
fn walk(
    old: Option<&Value>,
    new: Option<&Value>,
    schema: &Schema,
    out: &mut Comparison,
) -> Option<Change> {
    if old.is_none() && new.is_none() {
        return None;
    }
    let is_blank = |value: Option<&Value>| match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(_) => false,
    };
    let walkable = |value: Option<&Value>, shape: &Shape<'_>| match (value, shape) {
        (None | Some(Value::Null), _) => true,
        (Some(value), Shape::Map) => value.is_object(),
        (Some(value), Shape::List(_)) => value.is_array(),
        (Some(_), Shape::Leaf) => false,
    };
    let shape = shape(schema, new.or(old));
    let leaf = matches!(shape, Shape::Leaf)
        || (is_blank(old) && is_blank(new))
        || !walkable(old, &shape)
        || !walkable(new, &shape);
    if leaf {
        return (old != new).then(|| change(old, new));
    }
    match shape {
        Shape::Map => {
            let empty = Map::new();
            let old = old.and_then(Value::as_object).unwrap_or(&empty);
            let new = new.and_then(Value::as_object).unwrap_or(&empty);
            let only_new = new.keys().filter(|name| !old.contains_key(*name));
            for name in old.keys().chain(only_new) {
                let child = entry_schema(schema, name);
                let mut below = Comparison::default();
                let own = walk(old.get(name), new.get(name), child, &mut below);
                if own.is_some() || !below.is_empty() {
                    out.insert(set::field(name), own, below);
                }
            }
        }
        Shape::List(list) => lists(old, new, list, out),
        Shape::Leaf => {}
    }
    match (old, new) {
        (Some(_), Some(_)) => None,
        (old, new) => Some(change(old, new)),
    }
}

fn lists(old: Option<&Value>, new: Option<&Value>, list: &List, out: &mut Comparison) {
    if old == new {
        return;
    }
    if items(old).is_empty() && has_no_duplicates(items(new), list) {
        for item in items(new) {
            let Ok(element) = item_element(list, item) else { continue };
            let mut below = Comparison::default();
            let own = walk(None, Some(item), &list.item, &mut below);
            out.insert(element, own, below);
        }
        return;
    }
    let (old, new) = (by_element(old, list), by_element(new, list));
    for element in old.keys().chain(new.keys().filter(|element| !old.contains_key(*element))) {
        let old = old.get(element).map(Vec::as_slice).unwrap_or_default();
        let new = new.get(element).map(Vec::as_slice).unwrap_or_default();
        let mut below = Comparison::default();
        let own = match (old, new) {
            // Duplicates, which only old objects can have, are one value together.
            ([_, _, ..], _) | (_, [_, _, ..]) => {
                (old != new).then(|| change(old.first().copied(), new.first().copied()))
            }
            (old, new) => walk(old.first().copied(), new.first().copied(), &list.item, &mut below),
        };
        out.insert(element.clone(), own, below);
    }
}

fn items(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// Whether the items surely are all different ones: each has a first key of its own.
fn has_no_duplicates(items: &[Value], list: &List) -> bool {
    let ListType::Map(keys) = &list.list_type else { return false };
    let Some(key) = keys.first() else { return false };
    let mut seen = HashSet::with_capacity(items.len());
    items
        .iter()
        .all(|item| item.get(&**key).and_then(Value::as_str).is_some_and(|key| seen.insert(key)))
}

fn by_element<'a>(value: Option<&'a Value>, list: &List) -> BTreeMap<String, Vec<&'a Value>> {
    let mut found: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in items(value) {
        if let Ok(element) = item_element(list, item) {
            found.entry(element).or_default().push(item);
        }
    }
    found
}
