//! IPAddress: an address of the service network that is in use, named by itself.

use std::net::IpAddr;
use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{immutable, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("networking.k8s.io", "ipaddresses")
        .named(canonical_ip)
        .selectable(&["spec.parentRef"])
        .rules(IpAddress)
}

/// The name is the address in canonical form.
fn canonical_ip(name: &str, _prefix: bool) -> Vec<String> {
    match name.parse::<IpAddr>() {
        Ok(ip) if ip.to_string() == name => Vec::new(),
        Ok(_) => vec!["must be a canonical form IP address".to_owned()],
        Err(_) => vec!["must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)".to_owned()],
    }
}

struct IpAddress;

impl Rules for IpAddress {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let parent = object.at(&["spec", "parentRef"]);
        if !parent.is_set() {
            errors.push(parent.required(""));
            return;
        }
        rule(parent.get("group"), validate::dns1123_subdomain, errors);
        for field in ["resource", "name"] {
            let field = Field::get(parent, field);
            if required(field, errors) {
                rule(field, |text| validate::path_segment(text, false), errors);
            }
        }
        rule(parent.get("namespace"), |text| validate::path_segment(text, false), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.at(&["spec", "parentRef"]), old.at(&["spec", "parentRef"]), errors);
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let part = |field: &str| str_at(object, &["spec", "parentRef", field]);
        let mut text = part("resource").to_owned();
        if text.is_empty() {
            NONE.clone_into(&mut text);
        } else {
            if !part("group").is_empty() {
                text = format!("{text}.{}", part("group"));
            }
            if !part("namespace").is_empty() {
                text = format!("{text}/{}", part("namespace"));
            }
            text = format!("{text}/{}", part("name"));
        }
        vec![table::name(object), text.into()]
    }
}
