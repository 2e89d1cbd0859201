//! ServiceCIDR: a network that cluster IPs are taken from.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::list_at;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check;
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("networking.k8s.io", "servicecidrs").rules(ServiceCidr)
}

struct ServiceCidr;

fn is_v6(cidr: Field<'_>) -> bool {
    cidr.str().contains(':')
}

impl Rules for ServiceCidr {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let cidrs = object.at(&["spec", "cidrs"]);
        let shown = || cidrs.value().cloned().unwrap_or_default();
        if cidrs.is_empty() {
            errors.push(cidrs.required("at least one CIDR required"));
            return;
        }
        if cidrs.len() > 2 {
            errors.push(cidrs.invalid_as(shown(), "may only hold up to 2 values"));
            return;
        }
        for cidr in cidrs.items() {
            errors
                .extend(validate::net::cidr(cidr.str()).into_iter().map(|text| cidr.invalid(text)));
        }
        if cidrs.len() == 2 && is_v6(cidrs.index(0)) == is_v6(cidrs.index(1)) {
            let text = "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/64";
            errors.push(cidrs.invalid_as(shown(), text));
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let (now, before) = (new.at(&["spec", "cidrs"]), old.at(&["spec", "cidrs"]));
        let grown = before.len() == 1
            && now.len() == 2
            && same(now.index(0).value(), before.index(0).value());
        if now.len() == before.len() {
            for index in 0..now.len() {
                check::immutable(now.index(index), before.index(index), errors);
            }
        } else if !grown {
            check::immutable(now, before, errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let cidrs: Vec<_> =
            list_at(object, &["spec", "cidrs"]).iter().filter_map(Value::as_str).collect();
        vec![table::name(object), cidrs.join(",").into(), table::age(object, now)]
    }
}
