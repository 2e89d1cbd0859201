//! The common update, done on `metadata.managedFields` as it is written.
//!
//! Most updates change a few fields that their writer owns or that nobody does. Reading the set of
//! every manager for that, and writing all of them again, costs more than the update itself. Here
//! only the set that grows is read. Where anything else is to be done (somebody loses a field, an
//! entry is of another version, a schema has changed) there is no answer, and the whole way is
//! gone: [`super::track_update`]. Both give the same result; a test compares them.

use api::schema::Schema;
use serde_json::{Map, Value};

use super::compare::{self, Comparison};
use super::managed::{self, MAX_UPDATERS, Manager, Operation};
use super::set::{self, Set};
use super::typed::{Shape, entry_schema, shape};
use super::{ApplyOptions, stripped, without_reset};

type Fields = Map<String, Value>;

const MANAGED: [&str; 2] = ["metadata", "managedFields"];

/// Brings the `managedFields` of `new`, which has none or those of `live` (through a subresource
/// they do not count), up to date. Does nothing and answers false when the update is not a common
/// one.
pub(super) fn track(
    live: &Value,
    new: &mut Value,
    schema: &Schema,
    options: &ApplyOptions<'_>,
) -> bool {
    let Some((own_index, taken)) = taken(live, new, schema, options) else { return false };
    let mut list = match api::object::remove(new, &MANAGED) {
        Some(Value::Array(list)) if !list.is_empty() && options.subresource.is_empty() => list,
        _ => managed::field(live).to_vec(),
    };
    if !taken.is_empty() {
        match own_index {
            Some(index) => {
                if let Some(Value::Object(fields)) = list[index].get_mut("fieldsV1") {
                    add(fields, taken);
                }
                list[index]["time"] = managed::time_text(options.now).into();
            }
            None => {
                let own = Manager::updater(options);
                list.push(managed::write_entry(own, options.api_version, options.now, taken));
            }
        }
        sort(&mut list);
    }
    api::object::set(new, &MANAGED, list);
    true
}

/// Which fields the writer takes, and the place of the entry that has the writer's. `None` when
/// more than that is to be done.
fn taken(
    live: &Value,
    new: &Value,
    schema: &Schema,
    options: &ApplyOptions<'_>,
) -> Option<(Option<usize>, Set)> {
    let list = managed::field(live);
    let entries = list.iter().map(RawEntry::read).collect::<Option<Vec<_>>>()?;
    if entries.is_empty() || !are_usual(&entries, schema, options) {
        return None;
    }
    let comparison = compare::compare(live, new, schema);
    let own = Manager::updater(options);
    let own_index = entries.iter().position(|entry| entry.is(&own));
    if loses_a_field(&entries, own_index, &comparison) {
        return None;
    }
    let changed = comparison.into_changed();
    let mut taken = without_reset(changed.clone(), options);
    taken.subtract(stripped());
    let dropped = changed.difference(&taken);
    if own_index.is_some_and(|own| touches(&dropped, entries[own].fields)) {
        return None;
    }
    (own_index.is_none() || is_written_one_way(&taken)).then_some((own_index, taken))
}

/// One entry, as far as it must be known.
struct RawEntry<'a> {
    name: &'a str,
    operation: Operation,
    api_version: &'a str,
    subresource: &'a str,
    fields: &'a Fields,
}

impl<'a> RawEntry<'a> {
    fn read(entry: &'a Value) -> Option<Self> {
        let text = |key: &str| entry.get(key).and_then(Value::as_str).unwrap_or_default();
        if text("fieldsType") != "FieldsV1" {
            return None;
        }
        Some(Self {
            name: text("manager"),
            operation: Operation::named(text("operation"))?,
            api_version: text("apiVersion"),
            subresource: text("subresource"),
            fields: entry.get("fieldsV1")?.as_object().filter(|fields| !fields.is_empty())?,
        })
    }

    fn is(&self, manager: &Manager) -> bool {
        self.operation == manager.operation
            && self.name == manager.name
            && self.api_version == manager.api_version
            && self.subresource == manager.subresource
    }
}

/// Whether nothing about the entries needs more than adding to one of them.
fn are_usual(entries: &[RawEntry<'_>], schema: &Schema, options: &ApplyOptions<'_>) -> bool {
    let updaters = entries
        .iter()
        .filter(|entry| entry.operation == Operation::Update && entry.subresource.is_empty());
    // One may come to them.
    updaters.count() < MAX_UPDATERS
        && entries.iter().enumerate().all(|(index, entry)| {
            let is_same = |other: &RawEntry<'_>| {
                (other.operation, other.name, other.subresource)
                    == (entry.operation, entry.name, entry.subresource)
            };
            entry.api_version == options.api_version
                && !entries[..index].iter().any(is_same)
                && fits(entry.fields, schema)
        })
}

/// Whether a set surely has the form that today's schema gives it: [`super::typed::reconcile`]
/// would leave it alone.
fn fits(fields: &Fields, schema: &Schema) -> bool {
    fields.iter().filter(|(element, _)| *element != ".").all(|(element, below)| {
        let name = set::field_name(element);
        let known = match (name, schema) {
            (Some(name), schema) => entry_schema(schema, name),
            (None, Schema::List(list)) => &list.item,
            _ => return true,
        };
        let below = below.as_object().filter(|below| below.keys().any(|element| element != "."));
        match (below, known) {
            (None, known) => name.is_none() || !matches!(shape(known, None), Shape::List(_)),
            // What these are walked as depends on their value.
            (Some(_), Schema::Any | Schema::Object) => false,
            (Some(below), known) => {
                !matches!(shape(known, None), Shape::Leaf) && fits(below, known)
            }
        }
    })
}

/// Whether somebody loses a field: one that is gone, or one that another writes now.
fn loses_a_field(entries: &[RawEntry<'_>], own: Option<usize>, comparison: &Comparison) -> bool {
    entries.iter().enumerate().any(|(index, entry)| {
        touches(&comparison.removed, entry.fields)
            || (Some(index) != own
                && (touches(&comparison.added, entry.fields)
                    || touches(&comparison.modified, entry.fields)))
    })
}

/// Whether a path of the set is one of the fields; also when that cannot be seen, because an
/// element may be written in more than one way.
fn touches(set: &Set, fields: &Fields) -> bool {
    set.nodes().any(|(element, node)| match fields.get(element) {
        Some(below) => {
            let below = below.as_object();
            let is_member = below.is_none_or(|below| below.is_empty() || below.contains_key("."));
            node.member && is_member || below.is_some_and(|below| touches(&node.below, below))
        }
        None => set::may_be_written_otherwise(element),
    })
}

fn is_written_one_way(set: &Set) -> bool {
    set.nodes().all(|(element, node)| {
        !set::may_be_written_otherwise(element) && is_written_one_way(&node.below)
    })
}

/// Adds the paths of a set to fields.
fn add(fields: &mut Fields, set: Set) {
    for (element, node) in set.into_nodes() {
        let Some(Value::Object(known)) = fields.get_mut(&*element) else {
            fields.insert(element.into_string(), node.into_fields_v1());
            continue;
        };
        let is_member = node.member || known.is_empty() || known.contains_key(".");
        add(known, node.below);
        if is_member && !known.is_empty() {
            known.insert(".".to_owned(), Value::Object(Fields::new()));
        }
    }
}

/// The order of [`managed::Managed::write`].
fn sort(list: &mut [Value]) {
    fn key(entry: &Value) -> (Option<Operation>, Option<&str>, [&str; 3]) {
        let text = |key: &str| entry.get(key).and_then(Value::as_str);
        let texts =
            ["manager", "apiVersion", "subresource"].map(|key| text(key).unwrap_or_default());
        (text("operation").and_then(Operation::named), text("time"), texts)
    }
    list.sort_by(|a, b| key(a).cmp(&key(b)));
}
