//! Making strategic merge patches, above all the three-way one of `kubectl apply`.

use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use serde_json::{Map, Value, json};

use super::{
    DELETE_FROM, Misuse, PATCH, RETAIN_KEYS, SET_ORDER, are_maps, item_schema, key_of, merge,
    order, rules,
};

type JsonMap = Map<String, Value>;

/// Which differences are wanted.
#[derive(Debug, Clone, Copy)]
struct Wanted {
    changes: bool,
    deletions: bool,
    /// Whether `$setElementOrder` lists are made.
    order: bool,
    /// Whether the map at hand gets `$retainKeys`.
    retain_keys: bool,
}

/// The patch that turns `original` into `modified`.
///
/// # Errors
/// When an object or a list in it cannot be patched.
pub fn create_two_way_merge_patch(
    original: &Value,
    modified: &Value,
    schema: &Schema,
) -> ApiResult<Value> {
    let wanted = Wanted { changes: true, deletions: true, order: true, retain_keys: false };
    Ok(Value::Object(maps(as_map(original)?, as_map(modified)?, schema, wanted)?))
}

/// The patch of `kubectl apply`: what `modified` sets otherwise than `current`, and the deletion
/// of what `original` (the last applied configuration, if any) had and `modified` has not.
///
/// # Errors
/// When an object or a list in it cannot be patched. With `overwrite` false, also when somebody
/// changed since `original` what the patch would change: 409 with upstream's text.
pub fn create_three_way_merge_patch(
    original: Option<&Value>,
    modified: &Value,
    current: &Value,
    schema: &Schema,
    overwrite: bool,
) -> ApiResult<Value> {
    let empty = Value::Object(JsonMap::new());
    let (original, modified) = (as_map(original.unwrap_or(&empty))?, as_map(modified)?);
    let current = as_map(current)?;
    let delta = Wanted { changes: true, deletions: false, order: true, retain_keys: false };
    let delta = maps(current, modified, schema, delta)?;
    let deletions = Wanted { changes: false, deletions: true, order: true, retain_keys: false };
    let deletions = maps(original, modified, schema, deletions)?;
    let options = merge::Options { parallel_lists: false, ignore_unmatched_nulls: false };
    let mut patch = Value::Object(merge::maps(deletions, delta, schema, options)?);
    keep_order(&mut patch, schema);
    if !overwrite {
        let all = Wanted { changes: true, deletions: true, order: true, retain_keys: false };
        let changed = Value::Object(maps(original, current, schema, all)?);
        if conflicts(&patch, &changed, schema, None) {
            return Err(ApiError::new(
                409,
                "Conflict",
                format!(
                    "patch:\n{patch}\nconflicts with changes made from original to current:\n{changed}\n"
                ),
            ));
        }
    }
    Ok(patch)
}

/// Brings the items of merged lists into the order that the patch itself asks for: putting
/// deletions and changes together may have broken it, and servers refuse such a patch.
fn keep_order(patch: &mut Value, schema: &Schema) {
    match patch {
        Value::Object(map) => {
            let orders: Vec<_> = map
                .iter()
                .filter_map(|(name, order)| Some((name.strip_prefix(SET_ORDER)?, order)))
                .map(|(name, order)| (name.to_owned(), order.as_array().cloned()))
                .collect();
            for (name, order) in orders {
                if let (Some(Value::Array(items)), Some(order)) = (map.get_mut(&name), order) {
                    order::sort_by(items, &order, rules(schema, &name).key);
                }
            }
            for (name, value) in map {
                keep_order(value, rules(schema, name).schema);
            }
        }
        Value::Array(items) => {
            items.iter_mut().for_each(|item| keep_order(item, item_schema(schema)));
        }
        _ => {}
    }
}

fn as_map(value: &Value) -> Result<&JsonMap, Misuse> {
    value.as_object().ok_or(Misuse::BadJson)
}

fn maps(
    original: &JsonMap,
    modified: &JsonMap,
    schema: &Schema,
    wanted: Wanted,
) -> Result<JsonMap, Misuse> {
    let mut patch = JsonMap::new();
    for (key, new) in modified {
        let Some(old) = original.get(key) else {
            if wanted.changes {
                patch.insert(key.clone(), new.clone());
            }
            continue;
        };
        let rules = rules(schema, key);
        match (old, new) {
            (Value::Object(old), Value::Object(new)) => {
                let inner = Wanted { retain_keys: rules.retain_keys, ..wanted };
                let inner = maps(old, new, rules.schema, inner)?;
                if !inner.is_empty() {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            (Value::Array(old), Value::Array(new)) if rules.merge => {
                let inner = Wanted { retain_keys: rules.retain_keys, ..wanted };
                let lists = lists(old, new, item_schema(rules.schema), rules.key, inner)?;
                for (name, list) in [
                    (key.clone(), lists.patch),
                    (format!("{DELETE_FROM}{key}"), lists.deletions),
                    (format!("{SET_ORDER}{key}"), lists.order),
                ] {
                    if !list.is_empty() {
                        patch.insert(name, Value::Array(list));
                    }
                }
            }
            (old, new) => {
                if wanted.changes && old != new {
                    patch.insert(key.clone(), new.clone());
                }
            }
        }
    }
    if wanted.deletions {
        for key in original.keys().filter(|key| !modified.contains_key(*key)) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    if wanted.retain_keys {
        let retained: Vec<Value> = modified
            .iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, _)| Value::from(key.as_str()))
            .collect();
        let is_more = original.keys().any(|key| !modified.contains_key(key));
        if !retained.is_empty() && (!patch.is_empty() || is_more) {
            patch.insert(RETAIN_KEYS.to_owned(), Value::Array(retained));
        }
    }
    Ok(patch)
}

/// The parallel lists that change a merged list.
#[derive(Default)]
struct Lists {
    patch: Vec<Value>,
    deletions: Vec<Value>,
    order: Vec<Value>,
}

fn lists(
    original: &[Value],
    modified: &[Value],
    item: &Schema,
    key: Option<&str>,
    wanted: Wanted,
) -> Result<Lists, Misuse> {
    if original.is_empty() {
        let patch = if wanted.changes { modified.to_vec() } else { Vec::new() };
        return Ok(Lists { patch, ..Lists::default() });
    }
    if !are_maps(original, modified)? {
        return Ok(scalar_lists(original, modified, wanted));
    }
    let key = key.ok_or_else(|| {
        let name = item.as_struct().map(|known| &*known.name).unwrap_or_default();
        Misuse::Other(format!("cannot merge lists without merge key for {name}"))
    })?;
    let (mut patch, deletions) = map_lists(original, modified, item, key, wanted)?;
    order::sort_by(&mut patch, modified, Some(key));
    patch.extend(deletions);
    let same_order = is_same_order(original, modified, key);
    let mut lists = Lists { patch, ..Lists::default() };
    let has_patch = !lists.patch.is_empty();
    if wanted.order
        && ((wanted.changes && (has_patch || !same_order)) || (wanted.deletions && has_patch))
    {
        for item in modified {
            lists.order.push(json!({ key: key_of(item, key)? }));
        }
    }
    Ok(lists)
}

fn map_lists(
    original: &[Value],
    modified: &[Value],
    item: &Schema,
    key: &str,
    wanted: Wanted,
) -> Result<(Vec<Value>, Vec<Value>), Misuse> {
    let (mut patch, mut deletions) = (Vec::new(), Vec::new());
    for new in modified {
        let id = key_of(new, key)?;
        match original.iter().find(|old| old.get(key) == Some(id)) {
            Some(old) => {
                let mut inner = maps(as_map(old)?, as_map(new)?, item, wanted)?;
                if !inner.is_empty() {
                    inner.insert(key.to_owned(), id.clone());
                    patch.push(Value::Object(inner));
                }
            }
            None if wanted.changes => patch.push(new.clone()),
            None => {}
        }
    }
    if wanted.deletions {
        for old in original {
            let id = key_of(old, key)?;
            if !modified.iter().any(|new| new.get(key) == Some(id)) {
                deletions.push(json!({ PATCH: "delete", key: id }));
            }
        }
    }
    Ok((patch, deletions))
}

/// Whether the items that both lists have come in the same order.
fn is_same_order(original: &[Value], modified: &[Value], key: &str) -> bool {
    let common = |list: &[Value], other: &[Value]| -> Vec<Value> {
        list.iter()
            .filter_map(|item| item.get(key))
            .filter(|id| other.iter().any(|item| item.get(key) == Some(id)))
            .cloned()
            .collect()
    };
    common(original, modified) == common(modified, original)
}

fn scalar_lists(original: &[Value], modified: &[Value], wanted: Wanted) -> Lists {
    let missing_in = |list: &[Value], from: &[Value]| -> Vec<Value> {
        from.iter().filter(|item| !list.contains(item)).cloned().collect()
    };
    let mut lists = Lists::default();
    if wanted.changes {
        lists.patch = missing_in(original, modified);
    }
    if wanted.deletions {
        lists.deletions = missing_in(modified, original);
    }
    if wanted.order
        && ((wanted.deletions && !lists.deletions.is_empty())
            || (wanted.changes && original != modified))
    {
        lists.order = modified.to_vec();
    }
    lists
}

/// Whether two patches set something to different values.
fn conflicts(a: &Value, b: &Value, schema: &Schema, key: Option<&str>) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.iter().any(|(name, left)| {
            let Some(right) = b.get(name) else { return false };
            if name.starts_with(SET_ORDER) || name == RETAIN_KEYS {
                return false;
            }
            let rules = rules(schema, name);
            conflicts(left, right, rules.schema, if rules.merge { rules.key } else { None })
        }),
        (Value::Array(a), Value::Array(b)) => match key {
            Some(key) => a.iter().any(|left| {
                let same = |right: &&Value| right.get(key) == left.get(key);
                b.iter()
                    .find(same)
                    .is_some_and(|right| conflicts(left, right, item_schema(schema), None))
            }),
            None => a != b,
        },
        (a, b) => a != b,
    }
}
