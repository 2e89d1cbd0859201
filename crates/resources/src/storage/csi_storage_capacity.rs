//! CSIStorageCapacity: how much storage of a class is left in a part of the cluster.

use std::sync::Arc;

use api::field::ErrorList;
use api::validate;
use apiserver::resource::{Resource, WriteContext};

use crate::check::{immutable, label_selector, quantity_non_negative, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("storage.k8s.io", "csistoragecapacities").needs_resource_version().rules(Capacity)
}

struct Capacity;

impl Rules for Capacity {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let class = object.get("storageClassName");
        if required(class, errors) {
            rule(class, validate::dns1123_subdomain, errors);
        }
        label_selector(object.get("nodeTopology"), errors);
        quantity_non_negative(object.get("capacity"), errors);
        quantity_non_negative(object.get("maximumVolumeSize"), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        for field in ["nodeTopology", "storageClassName"] {
            immutable(Field::get(new, field), Field::get(old, field), errors);
        }
    }
}
