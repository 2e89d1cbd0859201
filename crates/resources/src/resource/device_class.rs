//! DeviceClass: a kind of device that claims may ask for.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use apiserver::resource::Resource;
use base::clock::Timestamp;

use super::{GROUP, configuration, selectors};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "deviceclasses").tracks_generation().rules(DeviceClass)
}

struct DeviceClass;

impl Rules for DeviceClass {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        selectors(spec.get("selectors"), errors);
        configuration(spec.get("config"), errors);
        let name = spec.get("extendedResourceName");
        if name.is_set() {
            crate::check::label_key(name, errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        vec![table::name(object), table::age(object, now)]
    }
}
