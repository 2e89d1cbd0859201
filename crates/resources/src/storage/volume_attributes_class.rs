//! VolumeAttributesClass: properties of a volume that may change while it is in use.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::parameters;
use crate::check::required;
use crate::core::pod::validation::volume::driver_name;
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("storage.k8s.io", "volumeattributesclasses").rules(AttributesClass)
}

struct AttributesClass;

impl Rules for AttributesClass {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        if required(object.get("driverName"), errors) {
            driver_name(object.get("driverName"), errors);
        }
        parameters(object.get("parameters"), true, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        if new.get("driverName").str() != old.get("driverName").str() {
            errors.push(new.get("driverName").forbidden("updates to driverName are forbidden."));
        }
        if !same(new.get("parameters").value(), old.get("parameters").value()) {
            errors.push(new.get("parameters").forbidden("updates to parameters are forbidden."));
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let driver = str_at(object, &["driverName"]);
        vec![table::name(object), driver.into(), table::age(object, now)]
    }
}
