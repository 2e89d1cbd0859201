//! What differs between two objects, as sets of paths.

use std::collections::BTreeMap;

use api::schema::{List, Schema};
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
    pub(super) fn changed(&self) -> Set {
        self.added.union(&self.modified)
    }
}

pub(super) fn compare(old: &Value, new: &Value, schema: &Schema) -> Comparison {
    let mut comparison = Comparison::default();
    let mut path = Vec::new();
    walk(Some(old), Some(new), schema, &mut path, &mut comparison);
    comparison
}

fn insert(set: &mut Set, path: &[String]) {
    let Some((last, parents)) = path.split_last() else { return };
    let set = parents.iter().fold(set, |set, element| &mut set.node(element).below);
    set.node(last).member = true;
}

fn walk(
    old: Option<&Value>,
    new: Option<&Value>,
    schema: &Schema,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    if old.is_none() && new.is_none() || old == new {
        return;
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
        return at_leaf(old, new, path, out);
    }
    match shape {
        Shape::Map => {
            let empty = Map::new();
            let old_map = old.and_then(Value::as_object).unwrap_or(&empty);
            let new_map = new.and_then(Value::as_object).unwrap_or(&empty);
            let only_new = new_map.keys().filter(|name| !old_map.contains_key(*name));
            let names = old_map.keys().chain(only_new);
            for name in names {
                path.push(set::field(name));
                let child = entry_schema(schema, name);
                walk(old_map.get(name), new_map.get(name), child, path, out);
                path.pop();
            }
        }
        Shape::List(list) => lists(old, new, list, path, out),
        Shape::Leaf => {}
    }
    if old.is_none() {
        insert(&mut out.added, path);
    } else if new.is_none() {
        insert(&mut out.removed, path);
    }
}

fn at_leaf(old: Option<&Value>, new: Option<&Value>, path: &[String], out: &mut Comparison) {
    let set = match (old, new) {
        (None, _) => &mut out.added,
        (_, None) => &mut out.removed,
        _ => &mut out.modified,
    };
    insert(set, path);
}

fn lists(
    old: Option<&Value>,
    new: Option<&Value>,
    list: &List,
    path: &mut Vec<String>,
    out: &mut Comparison,
) {
    let (old, new) = (by_element(old, list), by_element(new, list));
    for element in old.keys().chain(new.keys().filter(|element| !old.contains_key(*element))) {
        let old = old.get(element).map(Vec::as_slice).unwrap_or_default();
        let new = new.get(element).map(Vec::as_slice).unwrap_or_default();
        path.push(element.clone());
        match (old, new) {
            // Duplicates, which only old objects can have, are one value together.
            ([_, _, ..], _) | (_, [_, _, ..]) => {
                if old != new {
                    at_leaf(old.first().copied(), new.first().copied(), path, out);
                }
            }
            (old, new) => {
                let (old, new) = (old.first().copied(), new.first().copied());
                walk(old, new, &list.item, path, out);
            }
        }
        path.pop();
    }
}

fn by_element<'a>(value: Option<&'a Value>, list: &List) -> BTreeMap<String, Vec<&'a Value>> {
    let mut items: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for item in value.and_then(Value::as_array).into_iter().flatten() {
        if let Ok(element) = item_element(list, item) {
            items.entry(element).or_default().push(item);
        }
    }
    items
}
