//! CSINode: the storage drivers of a node.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::list_at;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{self, non_negative, required};
use crate::core::pod::validation::volume::driver_name;
use crate::cursor::{Field, rule, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("storage.k8s.io", "csinodes").needs_resource_version().rules(CsiNode)
}

struct CsiNode;

impl Rules for CsiNode {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let mut seen: Vec<&str> = Vec::new();
        for driver in object.at(&["spec", "drivers"]).items() {
            let (name, id) = (driver.get("name"), driver.get("nodeID"));
            if required(name, errors) {
                driver_name(name, errors);
                if seen.contains(&name.str()) {
                    errors.push(name.duplicate());
                }
                seen.push(name.str());
            }
            if required(id, errors) && id.str().len() > 192 {
                errors.push(id.invalid("must be 192 characters or less"));
            }
            non_negative(driver.at(&["allocatable", "count"]), errors);
            check::each(driver.get("topologyKeys"), validate::qualified_name, errors);
            let mut keys: Vec<&str> = Vec::new();
            for key in driver.get("topologyKeys").items() {
                if keys.contains(&key.str()) {
                    // Upstream shows the driver, not the key.
                    errors.push(driver.with(key.value()).duplicate());
                }
                keys.push(key.str());
            }
        }
        rule(object.at(&["metadata", "name"]), validate::dns1123_subdomain, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let path = ["spec", "drivers"];
        for driver in new.at(&path).items() {
            let name = driver.get("name").str();
            let before = old.at(&path).items().find(|one| one.get("name").str() == name);
            let kept = before.is_none_or(|before| {
                ["nodeID", "topologyKeys"]
                    .iter()
                    .all(|field| same(driver.get(field).value(), before.get(field).value()))
            });
            if !kept {
                let value = driver.value().cloned().unwrap_or_default();
                errors.push(driver.invalid_as(value, check::IMMUTABLE));
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = list_at(object, &["spec", "drivers"]).len();
        vec![table::name(object), count.into(), table::age(object, now)]
    }
}
