//! ConfigMap: configuration that is no secret, as texts and bytes under keys.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::at;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::keyed::{self, SIZE_MAX};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "configmaps").rules(ConfigMap)
}

struct ConfigMap;

impl Rules for ConfigMap {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let (data, binary) = (object.get("data"), object.get("binaryData"));
        let mut size = 0;
        for (key, value) in data.entries() {
            keyed::key(value, key, errors);
            if binary.has(key) {
                let text = "duplicate of key present in binaryData";
                errors.push(value.invalid_as(key, text));
            }
            size += value.str().len();
        }
        for (key, value) in binary.entries() {
            keyed::key(value, key, errors);
            size += keyed::decoded_len(value.str());
        }
        if size > SIZE_MAX {
            errors.push(object.too_long(SIZE_MAX));
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        keyed::frozen(new, old, &["data", "binaryData"], errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let keys =
            |field| at(object, &[field]).and_then(Value::as_object).map_or(0, |map| map.len());
        let keys = keys("data") + keys("binaryData");
        vec![table::name(object), keys.to_string().into(), table::age(object, now)]
    }
}
