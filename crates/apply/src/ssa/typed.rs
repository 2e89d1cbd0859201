//! Objects seen through their schema: the set of fields that a configuration sets, what in it does
//! not fit, and how list items are told apart.

use std::borrow::Cow;

use api::schema::{List, ListType, Schema};
use serde_json::{Map, Value};

use super::set::{self, Set};

/// What a schema makes of a value: how it is walked.
pub(super) enum Shape<'a> {
    /// One value.
    Leaf,
    /// A map whose entries are owned one by one.
    Map,
    /// A list whose items are owned one by one.
    List(&'a List),
}

/// How a value of a schema is walked. Without a schema maps are walked, lists are not.
pub(super) fn shape<'a>(schema: &'a Schema, value: Option<&Value>) -> Shape<'a> {
    if schema.is_atomic() {
        return Shape::Leaf;
    }
    match schema {
        Schema::List(list) => Shape::List(list),
        Schema::Any | Schema::Object => {
            if value.is_some_and(Value::is_object) {
                Shape::Map
            } else {
                Shape::Leaf
            }
        }
        _ => Shape::Map,
    }
}

/// The schema of an entry; one that the schema does not know is any value.
pub(super) fn entry_schema<'a>(schema: &'a Schema, name: &str) -> &'a Schema {
    const ANY: &Schema = &Schema::Any;
    schema.child(name).unwrap_or(ANY)
}

/// Whether a name is a declared field of a struct, not an entry of a map.
pub(super) fn is_declared(schema: &Schema, name: &str) -> bool {
    schema.as_struct().is_some_and(|known| known.position(name).is_some())
}

/// The path element of a list item.
pub(super) fn item_element(list: &List, item: &Value) -> Result<String, String> {
    match &list.list_type {
        ListType::Set => match item {
            Value::Null => {
                Err("associative list without keys has an element that's an explicit null"
                    .to_owned())
            }
            Value::Object(_) | Value::Array(_) => {
                Err("associative list without keys has an element that's a map type".to_owned())
            }
            scalar => Ok(format!("v:{scalar}")),
        },
        ListType::Map(keys) => {
            let Value::Object(map) = item else {
                return Err("associative list with keys may not have non-map elements".to_owned());
            };
            let mut element = "k:{".to_owned();
            let mut sorted: Vec<&str> = keys.iter().map(|key| &**key).collect();
            sorted.sort_unstable();
            for (index, key) in sorted.into_iter().enumerate() {
                let value = match map.get(key) {
                    Some(value) => Cow::Borrowed(value),
                    None => key_default(list, key).ok_or_else(|| {
                        format!(
                            "associative list with keys has an element that omits key field {key:?} (and doesn't have default value)"
                        )
                    })?,
                };
                // Field names need no escapes.
                element.extend([if index == 0 { "\"" } else { ",\"" }, key, "\":"]);
                match &*value {
                    Value::String(text) if is_plain(text) => element.extend(["\"", text, "\""]),
                    value => element.push_str(&value.to_string()),
                }
            }
            element.push('}');
            Ok(element)
        }
        ListType::Atomic => Err("atomic lists have no path elements".to_owned()),
    }
}

/// Whether JSON writes a text as it is.
fn is_plain(text: &str) -> bool {
    text.bytes().all(|byte| byte >= b' ' && byte != b'"' && byte != b'\\')
}

fn key_default<'a>(list: &'a List, key: &str) -> Option<Cow<'a, Value>> {
    let field = list.item.as_struct()?.field(key)?;
    field.default.as_ref().map(Cow::Borrowed)
}

/// The set of fields that a configuration sets.
///
/// # Errors
/// What of it does not fit the schema, as upstream says it.
pub(super) fn configuration_set(object: &Value, schema: &Schema) -> Result<Set, Vec<String>> {
    let mut errors = Vec::new();
    let set = walk(object, schema, "", &mut errors);
    if errors.is_empty() { Ok(set) } else { Err(errors) }
}

/// The set of an object that is known to fit; what does not is left out.
pub(super) fn object_set(object: &Value, schema: &Schema) -> Set {
    walk(object, schema, "", &mut Vec::new())
}

fn walk(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<String>) -> Set {
    let mut set = Set::default();
    match (shape(schema, Some(value)), value) {
        (Shape::Map, Value::Object(map)) => {
            for (name, child) in map {
                let path = format!("{path}.{name}");
                let Some(known) = schema.child(name) else {
                    errors.push(format!("{path}: field not declared in schema"));
                    continue;
                };
                check_type(child, known, &path, errors);
                let below = walk(child, known, &path, errors);
                let is_leaf = matches!(shape(known, Some(child)), Shape::Leaf);
                let is_blank = child.is_null() || child.as_object().is_some_and(Map::is_empty);
                let member = is_leaf || is_blank || !is_declared(schema, name);
                set.insert_below(set::field(name), member, below);
            }
        }
        (Shape::List(list), Value::Array(items)) => {
            for (index, item) in items.iter().enumerate() {
                match item_element(list, item) {
                    Ok(element) => {
                        if set.is_member(&element) {
                            let shown = element_text(&element);
                            errors.push(format!("{path}: duplicate entries for key {shown}"));
                        }
                        let path = format!("{path}{}", element_text(&element));
                        check_type(item, &list.item, &path, errors);
                        let below = walk(item, &list.item, &path, errors);
                        set.insert_below(element, true, below);
                    }
                    Err(why) => errors.push(format!("{path}: element {index}: {why}")),
                }
            }
        }
        (Shape::Leaf, value) => check_inside(value, schema, path, errors),
        _ => {}
    }
    set
}

/// Unknown fields are errors inside of atomic values too.
fn check_inside(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            for (name, child) in map {
                let path = format!("{path}.{name}");
                match schema.child(name) {
                    Some(known) => {
                        check_type(child, known, &path, errors);
                        check_inside(child, known, &path, errors);
                    }
                    None if schema.as_struct().is_some() => {
                        errors.push(format!("{path}: field not declared in schema"));
                    }
                    None => {}
                }
            }
        }
        Value::Array(items) => {
            let Some(list) = schema.as_list() else { return };
            for (index, item) in items.iter().enumerate() {
                let path = format!("{path}[{index}]");
                check_type(item, &list.item, &path, errors);
                check_inside(item, &list.item, &path, errors);
            }
        }
        _ => {}
    }
}

fn element_text(element: &str) -> String {
    let mut set = Set::default();
    set.node(element).member = true;
    set.paths().concat()
}

fn check_type(value: &Value, schema: &Schema, path: &str, errors: &mut Vec<String>) {
    if value.is_null() {
        return;
    }
    let expected = match schema {
        Schema::Any | Schema::Object | Schema::IntOrString | Schema::Quantity => return,
        Schema::String | Schema::Bytes | Schema::Time | Schema::MicroTime => {
            (value.is_string(), "string")
        }
        Schema::Bool => (value.is_boolean(), "boolean"),
        Schema::Int32 | Schema::Int64 | Schema::Double => {
            (value.is_number(), "numeric (int or float)")
        }
        Schema::List(_) => (value.is_array(), "list"),
        Schema::Map(_) | Schema::Struct(_) | Schema::Def(_) | Schema::DefAs(..) => {
            (value.is_object(), "map")
        }
    };
    if let (false, expected) = expected {
        // Go's three ways to print a value: its type, its syntax, and plainly.
        let found = match expected {
            "numeric (int or float)" => go_type(value).to_owned(),
            "string" => format!("&value.valueUnstructured{{Value:{}}}", go_syntax(value)),
            _ => format!("&{{{}}}", go_plain(value)),
        };
        errors.push(format!("{path}: expected {expected}, got {found}"));
    }
}

fn go_type(value: &Value) -> &'static str {
    match value {
        Value::Null => "<nil>",
        Value::Bool(_) => "bool",
        Value::Number(number) if number.is_f64() => "float64",
        Value::Number(_) => "int64",
        Value::String(_) => "string",
        Value::Array(_) => "[]interface {}",
        Value::Object(_) => "map[string]interface {}",
    }
}

fn go_syntax(value: &Value) -> String {
    let list = |items: Vec<String>| format!("{}{{{}}}", go_type(value), items.join(", "));
    match value {
        Value::Null => "interface {}(nil)".to_owned(),
        Value::Array(items) => list(items.iter().map(go_syntax).collect()),
        Value::Object(map) => {
            list(map.iter().map(|(key, value)| format!("{key:?}:{}", go_syntax(value))).collect())
        }
        other => other.to_string(),
    }
}

fn go_plain(value: &Value) -> String {
    let list = |items: Vec<String>| items.join(" ");
    match value {
        Value::Null => "<nil>".to_owned(),
        Value::String(text) => text.clone(),
        Value::Array(items) => format!("[{}]", list(items.iter().map(go_plain).collect())),
        Value::Object(map) => {
            let entries = map.iter().map(|(key, value)| format!("{key}:{}", go_plain(value)));
            format!("map[{}]", list(entries.collect()))
        }
        other => other.to_string(),
    }
}

/// Makes a set fit a schema whose lists and maps became atomic, or granular, since it was made.
pub(super) fn reconcile(set: &mut Set, live: &Value, schema: &Schema) {
    for (element, node) in set.nodes_mut() {
        let (child, known) = match (set::field_name(element), schema) {
            (Some(name), schema) => (live.get(name), entry_schema(schema, name)),
            (None, Schema::List(list)) => (find_item(live, list, element), &list.item),
            _ => continue,
        };
        match shape(known, child) {
            // Was granular, is one value now: who owned a part owns it.
            Shape::Leaf => {
                if !node.below.is_empty() {
                    node.below = Set::default();
                    node.member = true;
                }
            }
            _ if node.member && node.below.is_empty() => {
                // Was one value, is granular now: who owned it owns all parts. An item of a list
                // and an empty map look the same and stay.
                let Some(child) = child else { continue };
                if set::field_name(element).is_some() && is_filled(child) {
                    let parts = object_set(child, known);
                    if !parts.is_empty() {
                        node.below = parts;
                        node.member = false;
                    }
                }
            }
            _ => {
                if let Some(child) = child {
                    reconcile(&mut node.below, child, known);
                }
            }
        }
    }
}

fn is_filled(value: &Value) -> bool {
    match value {
        Value::Array(items) => !items.is_empty(),
        Value::Object(_) | Value::Null => false,
        _ => false,
    }
}

fn find_item<'a>(live: &'a Value, list: &List, element: &str) -> Option<&'a Value> {
    live.as_array()?
        .iter()
        .find(|item| item_element(list, item).is_ok_and(|known| known == element))
}
