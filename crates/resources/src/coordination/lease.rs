//! Lease: who holds something, and until when.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
use api::validate;
use apiserver::resource::Resource;
use base::clock::Timestamp;

use crate::check::{non_negative, positive};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("coordination.k8s.io", "leases")
        .needs_resource_version()
        .creates_on_update()
        .relaxed(None)
        .rules(Lease)
}

struct Lease;

impl Rules for Lease {
    fn validate(&self, lease: Field<'_>, errors: &mut ErrorList) {
        let spec = lease.get("spec");
        positive(spec.get("leaseDurationSeconds"), errors);
        non_negative(spec.get("leaseTransitions"), errors);
        let (strategy, preferred, holder) =
            (spec.get("strategy"), spec.get("preferredHolder"), spec.get("holderIdentity"));
        rule(strategy, validate::qualified_name, errors);
        if !preferred.is_empty() && strategy.is_empty() {
            let text = "may only be specified if `strategy` is defined";
            errors.push(preferred.forbidden(text));
        }
        if holder.is_set() && holder.is_empty() {
            errors.push(holder.invalid("must not be empty"));
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let holder = str_at(object, &["spec", "holderIdentity"]);
        vec![table::name(object), holder.into(), table::age(object, now)]
    }
}
