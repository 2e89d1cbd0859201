//! Applying a strategic merge patch.

use api::schema::Schema;
use serde_json::{Map, Value};

use super::{
    DELETE_FROM, Misuse, PATCH, RETAIN_KEYS, Rules, SET_ORDER, are_maps, into_map, item_schema,
    key_of, order, rules,
};

type JsonMap = Map<String, Value>;

/// How two patches, or a patch and an object, are merged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// Do what `$setElementOrder` and `$deleteFromPrimitiveList` say, or keep them.
    pub(super) parallel_lists: bool,
    /// Drop a `null` that deletes nothing, or keep it.
    pub(super) ignore_unmatched_nulls: bool,
}

pub(super) fn maps(
    mut original: JsonMap,
    mut patch: JsonMap,
    schema: &Schema,
    options: Options,
) -> Result<JsonMap, Misuse> {
    if let Some(directive) = patch.remove(PATCH) {
        return match directive.as_str() {
            Some("replace") => Ok(patch),
            Some("delete") => Ok(JsonMap::new()),
            Some("merge") => maps(original, patch, schema, options),
            _ => Err(Misuse::PatchType),
        };
    }
    if options.parallel_lists {
        retain_keys(&mut original, &mut patch)?;
        ordered_lists(&mut original, &mut patch, schema, options)?;
    }
    for (key, value) in patch {
        let deletes_from = key.strip_prefix(DELETE_FROM);
        if key.starts_with('$') && (deletes_from.is_none() || !options.parallel_lists) {
            original.insert(key, value);
            continue;
        }
        let is_deletion = deletes_from.is_some();
        let field = deletes_from.unwrap_or(&key);
        if value.is_null() {
            original.remove(field);
            if options.ignore_unmatched_nulls {
                continue;
            }
        }
        let merged = match original.remove(field) {
            None if is_deletion => continue,
            None => take(value, options),
            Some(old) => merge_field(old, value, &rules(schema, field), is_deletion, options)?,
        };
        if let Some(merged) = merged {
            original.insert(field.to_owned(), merged);
        }
    }
    Ok(original)
}

fn merge_field(
    old: Value,
    new: Value,
    rules: &Rules<'_>,
    is_deletion: bool,
    options: Options,
) -> Result<Option<Value>, Misuse> {
    Ok(Some(match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            Value::Object(maps(old, new, rules.schema, options)?)
        }
        (Value::Array(old), Value::Array(new)) if rules.merge || is_deletion => {
            Value::Array(lists(old, new, rules, is_deletion, options)?)
        }
        (old, Value::Array(_)) if is_deletion => old,
        (old, _) if is_deletion => old,
        (Value::Array(_), new @ Value::Array(_)) => new,
        (_, new) => return Ok(take(new, options)),
    }))
}

/// A value of the patch that meets nothing in the original: taken as it is, less its directives.
fn take(value: Value, options: Options) -> Option<Value> {
    if !options.parallel_lists {
        return Some(value);
    }
    match value {
        Value::Object(mut map) => {
            if map.remove(PATCH).is_some_and(|directive| directive == "delete") {
                return None;
            }
            let kept = map
                .into_iter()
                .filter(|(key, value)| {
                    !(is_directive(key) || (options.ignore_unmatched_nulls && value.is_null()))
                })
                .filter_map(|(key, value)| Some((key, take(value, options)?)))
                .collect();
            Some(Value::Object(kept))
        }
        Value::Array(items) => {
            Some(Value::Array(items.into_iter().filter_map(|item| take(item, options)).collect()))
        }
        other => Some(other),
    }
}

fn is_directive(key: &str) -> bool {
    key == RETAIN_KEYS || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER)
}

/// `$retainKeys`: what it does not list goes.
fn retain_keys(original: &mut JsonMap, patch: &mut JsonMap) -> Result<(), Misuse> {
    let Some(keys) = patch.remove(RETAIN_KEYS) else { return Ok(()) };
    let keys = keys.as_array().ok_or(Misuse::RetainKeys)?;
    let listed = |key: &str| keys.iter().any(|listed| listed.as_str() == Some(key));
    let contradicts =
        |(key, value): (&String, &Value)| !(value.is_null() || key.starts_with('$') || listed(key));
    if patch.iter().any(contradicts) {
        return Err(Misuse::RetainKeys);
    }
    original.retain(|key, _| listed(key));
    Ok(())
}

/// `$setElementOrder/FIELD`: merges the field's list and orders it as told.
fn ordered_lists(
    original: &mut JsonMap,
    patch: &mut JsonMap,
    schema: &Schema,
    options: Options,
) -> Result<(), Misuse> {
    let orders: Vec<String> =
        patch.keys().filter(|key| key.starts_with(SET_ORDER)).cloned().collect();
    for directive in orders {
        let wanted = match patch.remove(&directive) {
            Some(Value::Array(wanted)) => wanted,
            _ => return Err(Misuse::ElementOrder),
        };
        let field = &directive[SET_ORDER.len()..];
        let rules = rules(schema, field);
        let list = |value: Option<Value>| match value {
            None | Some(Value::Null) => Ok(None),
            Some(Value::Array(items)) => Ok(Some(items)),
            Some(_) => Err(Misuse::ElementOrder),
        };
        // A null in the patch deletes the list; there is nothing to order.
        if patch.get(field).is_some_and(Value::is_null) {
            continue;
        }
        let patched = list(patch.remove(field))?;
        let server = list(original.get(field).cloned())?;
        if let Some(items) = &patched {
            check_order(items, &wanted, rules.key)?;
        }
        let server_order = server.clone().unwrap_or_default();
        let merged = match (server, patched) {
            (None, None) => continue,
            (Some(server), None) => server,
            (None, Some(items)) => {
                items.into_iter().filter_map(|item| take(item, options)).collect()
            }
            (Some(server), Some(items)) => lists(server, items, &rules, false, options)?,
        };
        let key = if are_maps(&merged, &wanted)? { rules.key } else { None };
        let (spoken_of, others) = order::partition(merged, &wanted, key);
        let ordered = order::normalize(spoken_of, others, &wanted, &server_order, key);
        original.insert(field.to_owned(), Value::Array(ordered));
    }
    Ok(())
}

/// The patch's items must come in the order that it asks for.
fn check_order(items: &[Value], wanted: &[Value], key: Option<&str>) -> Result<(), Misuse> {
    let id = |item: &Value| key.and_then(|key| item.get(key)).unwrap_or(item).clone();
    let mut places = wanted.iter().map(id);
    for item in items.iter().filter(|item| item.get(PATCH).is_none()) {
        let item = id(item);
        if !places.any(|place| place == item) {
            return Err(Misuse::Other(format!(
                "The order in patch list:\n{}\n doesn't match {} list:\n{}\n",
                go_list(items),
                SET_ORDER.trim_end_matches('/'),
                go_list(wanted)
            )));
        }
    }
    Ok(())
}

/// A list as Go's `%v` prints it.
fn go_list(items: &[Value]) -> String {
    fn print(value: &Value) -> String {
        match value {
            Value::Null => "<nil>".to_owned(),
            Value::String(text) => text.clone(),
            Value::Array(items) => go_list(items),
            Value::Object(map) => {
                let entries: Vec<_> =
                    map.iter().map(|(key, value)| format!("{key}:{}", print(value))).collect();
                format!("map[{}]", entries.join(" "))
            }
            other => other.to_string(),
        }
    }
    format!("[{}]", items.iter().map(print).collect::<Vec<_>>().join(" "))
}

fn lists(
    original: Vec<Value>,
    patch: Vec<Value>,
    rules: &Rules<'_>,
    is_deletion: bool,
    options: Options,
) -> Result<Vec<Value>, Misuse> {
    if original.is_empty() && patch.is_empty() {
        return Ok(original);
    }
    if !are_maps(&original, &patch)? {
        return Ok(scalars(original, patch, is_deletion));
    }
    if is_deletion {
        return Err(Misuse::PrimitiveList);
    }
    let Some(key) = rules.key else {
        return Err(Misuse::Other(format!(
            "cannot merge lists without merge key for {}",
            item_schema(rules.schema).as_struct().map(|known| &*known.name).unwrap_or_default()
        )));
    };
    let server_order = original.clone();
    let (original, patch) = special_items(original, patch, key)?;
    let Some(patch) = patch else { return Ok(original) };
    let merged = items(original, patch.clone(), key, item_schema(rules.schema), options)?;
    let (spoken_of, others) = order::partition(merged, &patch, Some(key));
    Ok(order::normalize(spoken_of, others, &patch, &server_order, Some(key)))
}

fn scalars(original: Vec<Value>, patch: Vec<Value>, is_deletion: bool) -> Vec<Value> {
    if is_deletion {
        return original.into_iter().filter(|item| !patch.contains(item)).collect();
    }
    let server_order = original.clone();
    let mut merged: Vec<Value> = Vec::with_capacity(original.len() + patch.len());
    for item in original.into_iter().chain(patch.iter().cloned()) {
        if !merged.contains(&item) {
            merged.push(item);
        }
    }
    let (spoken_of, others) = order::partition(merged, &patch, None);
    order::normalize(spoken_of, others, &patch, &server_order, None)
}

/// Does what items with `$patch` say; gives back what is left of both lists. No patch is left
/// when the list is replaced.
fn special_items(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
) -> Result<(Vec<Value>, Option<Vec<Value>>), Misuse> {
    let mut plain = Vec::with_capacity(patch.len());
    let mut replace = false;
    for item in patch {
        match item.get(PATCH) {
            None => plain.push(item),
            Some(directive) => match directive.as_str() {
                Some("replace") => replace = true,
                Some("delete") => {
                    let id = key_of(&item, key)?;
                    original.retain(|old| old.get(key) != Some(id));
                }
                Some("merge") => {
                    return Err(Misuse::Other(
                        "merging lists cannot yet be specified in the patch".to_owned(),
                    ));
                }
                _ => return Err(Misuse::PatchType),
            },
        }
    }
    Ok(if replace { (plain, None) } else { (original, Some(plain)) })
}

fn items(
    mut original: Vec<Value>,
    patch: Vec<Value>,
    key: &str,
    schema: &Schema,
    options: Options,
) -> Result<Vec<Value>, Misuse> {
    for item in patch {
        let id = key_of(&item, key)?;
        match original.iter_mut().find(|old| old.get(key) == Some(id)) {
            Some(old) => {
                let merged = maps(into_map(old.take()), into_map(item), schema, options)?;
                *old = Value::Object(merged);
            }
            None => original.extend(take(item, options)),
        }
    }
    Ok(original)
}
