//! Merging a configuration into an object, and taking out what its applier no longer wants.

use std::collections::{BTreeMap, BTreeSet};

use api::schema::{List, Schema};
use serde_json::{Map, Value};

use super::managed::{Entry, Manager};
use super::set::{self, Set};
use super::typed::{Shape, entry_schema, is_declared, item_element, object_set, shape};

/// The live object with what the configuration sets.
pub(super) fn merge(live: &Value, applied: &Value, schema: &Schema) -> Value {
    match (shape(schema, Some(applied)), live, applied) {
        (Shape::Map, Value::Object(live), Value::Object(applied)) => {
            let mut merged = live.clone();
            for (name, value) in applied {
                let child = entry_schema(schema, name);
                let value = match live.get(name) {
                    Some(old) => merge(old, value, child),
                    None => value.clone(),
                };
                merged.insert(name.clone(), value);
            }
            Value::Object(merged)
        }
        (Shape::List(list), Value::Array(live), Value::Array(applied)) => {
            Value::Array(lists(live, applied, list))
        }
        // An empty configuration of something granular takes nothing away.
        (Shape::Map | Shape::List(_), live, Value::Null) => live.clone(),
        _ => applied.clone(),
    }
}

/// The configuration's order, with the live object's other items where they were among them.
fn lists(live: &[Value], applied: &[Value], list: &List) -> Vec<Value> {
    let element = |item: &Value| item_element(list, item).ok();
    let left: Vec<_> = live.iter().map(element).collect();
    let right: Vec<_> = applied.iter().map(element).collect();
    let is_applied: BTreeSet<_> = right.iter().flatten().collect();
    let mut done: BTreeSet<&String> = BTreeSet::new();
    let mut merged = Vec::with_capacity(live.len() + applied.len());
    let (mut l, mut r) = (0, 0);
    while l < live.len() || r < applied.len() {
        if let Some(item) = live.get(l) {
            let name = left[l].as_ref();
            if name.is_none_or(|name| !is_applied.contains(name)) {
                merged.push(item.clone());
                l += 1;
                continue;
            }
            if name.is_some_and(|name| done.contains(name)) {
                l += 1;
                continue;
            }
        }
        let Some(item) = applied.get(r) else { break };
        let name = right[r].as_ref();
        let old = name.and_then(|name| left.iter().position(|other| other.as_ref() == Some(name)));
        merged.push(match old {
            Some(at) => merge(&live[at], item, &list.item),
            None => item.clone(),
        });
        done.extend(name);
        r += 1;
    }
    merged
}

/// Takes away what the applier set last time, sets no longer, and nobody else owns.
pub(super) fn prune(
    merged: Value,
    schema: &Schema,
    managers: &BTreeMap<Manager, Entry>,
    last: &Set,
) -> Value {
    if last.is_empty() {
        return merged;
    }
    let named = |set: &Set| with_named_fields(set, schema);
    let last = named(last);
    let pruned = remove(&merged, schema, &last, Emptied::Null);
    let managed = managers.values().fold(Set::default(), |all, entry| all.union(&entry.set));
    let all = named(&object_set(&merged, schema));
    // What others own comes back.
    let kept = named(&object_set(&pruned, schema)).union(&named(&managed));
    let pruned = remove(&merged, schema, &all.difference(&kept), Emptied::Null);
    // And what was never the applier's.
    let gone = all.difference(&named(&object_set(&pruned, schema)));
    remove(&merged, schema, &gone.intersection(&last), Emptied::Gone)
}

/// Adds the structs on the way to every path: they are the owner's as well.
fn with_named_fields(set: &Set, schema: &Schema) -> Set {
    let mut out = set.clone();
    add_named_fields(&mut out, schema);
    out
}

fn add_named_fields(set: &mut Set, schema: &Schema) {
    for (element, node) in set.nodes_mut() {
        let child = match (set::field_name(element), schema) {
            (Some(name), schema) => {
                if !node.below.is_empty() && is_declared(schema, name) {
                    node.member = true;
                }
                entry_schema(schema, name)
            }
            (None, Schema::List(list)) => &list.item,
            _ => continue,
        };
        add_named_fields(&mut node.below, child);
    }
}

/// What becomes of a map or list that nothing is left of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emptied {
    /// It stays as `null`: its path still counts as there.
    Null,
    /// It goes.
    Gone,
}

fn remove(value: &Value, schema: &Schema, gone: &Set, emptied: Emptied) -> Value {
    remove_inner(value, schema, gone, emptied).unwrap_or(Value::Null)
}

/// The value less the paths of a set; `None` when it goes with them.
fn remove_inner(value: &Value, schema: &Schema, gone: &Set, emptied: Emptied) -> Option<Value> {
    if gone.is_empty() {
        return Some(value.clone());
    }
    let nothing_left = (emptied == Emptied::Null).then_some(Value::Null);
    match (shape(schema, Some(value)), value) {
        (Shape::Map, Value::Object(map)) => {
            let mut kept = Map::new();
            for (name, child) in map {
                match gone.get(&set::field(name)) {
                    Some(node) if node.member => {}
                    Some(node) => {
                        let known = entry_schema(schema, name);
                        if let Some(child) = remove_inner(child, known, &node.below, emptied) {
                            kept.insert(name.clone(), child);
                        }
                    }
                    None => {
                        kept.insert(name.clone(), child.clone());
                    }
                }
            }
            if kept.is_empty() { nothing_left } else { Some(Value::Object(kept)) }
        }
        (Shape::List(list), Value::Array(items)) => {
            let mut kept = Vec::new();
            for item in items {
                let node = item_element(list, item).ok().and_then(|element| gone.get(&element));
                match node {
                    Some(node) if node.member => {}
                    Some(node) => {
                        kept.extend(remove_inner(item, &list.item, &node.below, emptied));
                    }
                    None => kept.push(item.clone()),
                }
            }
            if kept.is_empty() { nothing_left } else { Some(Value::Array(kept)) }
        }
        _ => Some(value.clone()),
    }
}
