//! What ConfigMaps and Secrets share: keys, size, immutability.

use api::field::ErrorList;
use api::validate;

use crate::cursor::{Field, same};

/// How much the values of one object may weigh together.
pub(crate) const SIZE_MAX: usize = 1024 * 1024;

/// A key; `value` is the entry under it.
pub(crate) fn key(value: Field<'_>, key: &str, errors: &mut ErrorList) {
    errors
        .extend(validate::config_map_key(key).into_iter().map(|text| value.invalid_as(key, text)));
}

/// How many bytes a base64 text stands for.
#[must_use]
pub(crate) fn decoded_len(text: &str) -> usize {
    let padding = text.bytes().rev().take_while(|byte| *byte == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// An object with `immutable` keeps its values, and the flag.
pub(crate) fn frozen(
    new: Field<'_>,
    old: Field<'_>,
    fields: &[&'static str],
    errors: &mut ErrorList,
) {
    if !old.get("immutable").bool() {
        return;
    }
    let text = "field is immutable when `immutable` is set";
    if !new.get("immutable").bool() {
        errors.push(new.get("immutable").forbidden(text));
    }
    for field in fields {
        let (new, old) = (Field::get(new, field), Field::get(old, field));
        if !same(new.value(), old.value()) {
            errors.push(new.forbidden(text));
        }
    }
}
