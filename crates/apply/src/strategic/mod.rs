//! Strategic merge patch: a merge patch that knows by the schema which lists are merged and by
//! which key, with directives for the rest (`$patch`, `$retainKeys`, `$setElementOrder/…`,
//! `$deleteFromPrimitiveList/…`).
//!
//! [`strategic_merge_patch`] applies one; [`create_three_way_merge_patch`] makes the one that
//! `kubectl apply` sends.

mod diff;
mod merge;
mod order;

use api::schema::{Field, Schema};
use api::status::{ApiError, ApiResult};
use serde_json::{Map, Value};

pub use diff::{create_three_way_merge_patch, create_two_way_merge_patch};

pub(crate) const PATCH: &str = "$patch";
pub(crate) const RETAIN_KEYS: &str = "$retainKeys";
pub(crate) const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
pub(crate) const SET_ORDER: &str = "$setElementOrder/";

/// Applies a strategic merge patch to an object of a schema.
///
/// # Errors
/// 400 or 422 for a patch that makes no sense, as upstream has it.
pub fn strategic_merge_patch(object: &Value, patch: &Value, schema: &Schema) -> ApiResult<Value> {
    let (Value::Object(object), Value::Object(patch)) = (object, patch) else {
        return Err(Misuse::BadJson.into());
    };
    let options = merge::Options { parallel_lists: true, ignore_unmatched_nulls: true };
    let merged = merge::maps(object.clone(), patch.clone(), schema, options)?;
    Ok(Value::Object(merged))
}

/// How a patch is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misuse {
    BadJson,
    PrimitiveList,
    RetainKeys,
    ElementOrder,
    ListOfLists,
    PatchType,
    /// Anything else: upstream lets it through as an unknown error.
    Other(String),
}

impl From<Misuse> for ApiError {
    fn from(misuse: Misuse) -> Self {
        match misuse {
            Misuse::BadJson => Self::bad_request("invalid JSON document"),
            Misuse::PrimitiveList => Self::bad_request("invalid patch format of primitive list"),
            Misuse::RetainKeys => Self::bad_request("invalid patch format of retainKeys"),
            Misuse::ElementOrder => {
                Self::bad_request("invalid patch format of setElementOrder list")
            }
            Misuse::ListOfLists | Misuse::PatchType => crate::unprocessable(),
            Misuse::Other(text) => Self::new(500, "", text),
        }
    }
}

/// What the schema says about merging a field.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules<'a> {
    /// The field's own schema.
    pub(crate) schema: &'a Schema,
    /// The strategy is `merge`: lists are merged.
    pub(crate) merge: bool,
    /// The strategy has `retainKeys`.
    pub(crate) retain_keys: bool,
    /// The key of merged lists of maps.
    pub(crate) key: Option<&'a str>,
}

/// The rules of a field of a struct or of an entry of a map.
pub(crate) fn rules<'a>(parent: &'a Schema, name: &str) -> Rules<'a> {
    const ANY: &Schema = &Schema::Any;
    let field: Option<&Field> = parent.as_struct().and_then(|known| known.field(name));
    match field {
        Some(field) => Rules {
            schema: &field.schema,
            merge: field.patch.merge,
            retain_keys: field.patch.retain_keys,
            key: field.patch.merge_key.as_deref(),
        },
        None => Rules {
            schema: parent.child(name).unwrap_or(ANY),
            merge: false,
            retain_keys: false,
            key: None,
        },
    }
}

/// The schema of a list's items.
pub(crate) fn item_schema(schema: &Schema) -> &Schema {
    const ANY: &Schema = &Schema::Any;
    schema.as_list().map_or(ANY, |list| &list.item)
}

/// Whether all items of both lists are maps (`true`), or all are scalars (`false`).
pub(crate) fn are_maps(a: &[Value], b: &[Value]) -> Result<bool, Misuse> {
    let mut all = a.iter().chain(b);
    let Some(first) = all.next() else { return Ok(false) };
    if first.is_array() {
        return Err(Misuse::ListOfLists);
    }
    let maps = first.is_object();
    if all.any(|item| item.is_object() != maps || item.is_array()) {
        return Err(Misuse::Other("list element types are not identical".to_owned()));
    }
    Ok(maps)
}

/// The value of the merge key of an item.
pub(crate) fn key_of<'a>(item: &'a Value, key: &str) -> Result<&'a Value, Misuse> {
    item.get(key).ok_or_else(|| {
        Misuse::Other(format!("map: {item} does not contain declared merge key: {key}"))
    })
}

/// The map behind a value that is known to be one.
pub(crate) fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests;
