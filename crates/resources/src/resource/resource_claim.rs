//! ResourceClaim and ResourceClaimTemplate: a claim to devices, and what claims are made from.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at};
use api::status::ApiResult;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{GROUP, configuration, convert, default_claim, selectors};
use crate::check::{immutable, one_of, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// ResourceClaim.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "resourceclaims").rules(Claim { template: false })
}

/// ResourceClaimTemplate.
#[must_use]
pub fn template_kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "resourceclaimtemplates").rules(Claim { template: true })
}

struct Claim {
    template: bool,
}

impl Claim {
    fn path(&self) -> &'static [&'static str] {
        if self.template { &["spec", "spec"] } else { &["spec"] }
    }
}

impl Rules for Claim {
    fn default(&self, object: &mut Value) {
        default_claim(object, self.path());
    }

    fn convert(&self, mut object: Value, from: &str, to: &str) -> ApiResult<Value> {
        if from == "v1beta1" {
            convert::claim_to_v1(&mut object, self.path());
        }
        if to == "v1beta1" {
            convert::claim_to_v1beta1(&mut object, self.path());
        }
        Ok(object)
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        devices(object.at(self.path()).get("devices"), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("spec"), old.get("spec"), errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let (status, before) = (new.get("status"), old.get("status"));
        let reserved = status.get("reservedFor");
        if reserved.len() > 256 {
            errors.push(reserved.too_many(256));
        }
        let mut seen: Vec<&str> = Vec::new();
        for consumer in reserved.items() {
            for field in ["resource", "name", "uid"] {
                required(Field::get(consumer, field), errors);
            }
            let uid = consumer.get("uid");
            if seen.contains(&uid.str()) {
                errors.push(uid.duplicate());
            }
            seen.push(uid.str());
        }
        let allocation = status.get("allocation");
        if !reserved.is_empty() && !allocation.is_set() {
            let text = "may not be specified when `allocated` is not set";
            errors.push(reserved.forbidden(text));
        }
        if before.get("allocation").is_set() && allocation.is_set() {
            immutable(allocation, before.get("allocation"), errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        if self.template {
            return vec![table::name(object), table::age(object, now)];
        }
        let mut states: Vec<&str> = Vec::new();
        if api::object::is_deleting(object) {
            states.push("deleted");
        }
        if at(object, &["status", "allocation"]).is_some() {
            states.push("allocated");
        } else if !api::object::is_deleting(object) {
            states.push("pending");
        }
        if !list_at(object, &["status", "reservedFor"]).is_empty() {
            states.push("reserved");
        }
        vec![table::name(object), states.join(",").into(), table::age(object, now)]
    }
}

fn devices(devices: Field<'_>, errors: &mut ErrorList) {
    let requests = devices.get("requests");
    if requests.len() > 32 {
        errors.push(requests.too_many(32));
    }
    let mut names: Vec<String> = Vec::new();
    for request in requests.items() {
        name(request.get("name"), &mut names, "", errors);
        let (exact, first) = (request.get("exactly"), request.get("firstAvailable"));
        match (exact.is_set(), !first.is_empty()) {
            (false, false) => {
                let text = "exactly one of `exactly` or `firstAvailable` is required";
                errors.push(request.required(text));
            }
            (true, true) => {
                let value = request.value().cloned().unwrap_or_default();
                let text = "exactly one of `exactly` or `firstAvailable` is required, but multiple fields are set";
                errors.push(request.invalid_as(value, text));
            }
            (true, false) => exactly(exact, errors),
            (false, true) => {
                if first.len() > 8 {
                    errors.push(first.too_many(8));
                }
                let own = format!("{}/", request.get("name").str());
                for one in first.items() {
                    name(one.get("name"), &mut names, &own, errors);
                    exactly(one, errors);
                }
            }
        }
    }
    let known = |reference: &str| {
        names.iter().any(|name| name == reference || name.starts_with(&format!("{reference}/")))
    };
    for list in ["constraints", "config"] {
        for one in Field::get(devices, list).items() {
            for reference in one.get("requests").items() {
                if !known(reference.str()) {
                    let text = "must be the name of a request in the claim or the name of a request and a subrequest separated by '/'";
                    errors.push(reference.invalid(text));
                }
            }
        }
    }
    for constraint in devices.get("constraints").items() {
        let attributes = ["matchAttribute", "distinctAttribute"];
        if attributes.iter().all(|field| constraint.get(field).is_empty()) {
            errors.push(constraint.get("matchAttribute").required(""));
        }
    }
    configuration(devices.get("config"), errors);
}

fn name(field: Field<'_>, names: &mut Vec<String>, prefix: &str, errors: &mut ErrorList) {
    if !required(field, errors) {
        return;
    }
    rule(field, validate::dns1123_label, errors);
    let whole = format!("{prefix}{}", field.str());
    if names.contains(&whole) {
        errors.push(field.duplicate());
    }
    names.push(whole);
}

fn exactly(request: Field<'_>, errors: &mut ErrorList) {
    let class = request.get("deviceClassName");
    if required(class, errors) {
        rule(class, validate::dns1123_subdomain, errors);
    }
    selectors(request.get("selectors"), errors);
    let (mode, count) = (request.get("allocationMode"), request.get("count"));
    one_of(mode, &["All", "ExactCount"], errors);
    let number = count.int().unwrap_or_default();
    match mode.str() {
        "All" if number != 0 => {
            let text = format!("must not be specified when allocationMode is '{}'", mode.str());
            errors.push(count.invalid(text));
        }
        "ExactCount" if number <= 0 => {
            errors.push(count.invalid_as(number, "must be greater than zero"));
        }
        _ => {}
    }
}
