//! Endpoints: the addresses behind a Service, in the old form.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{int_at, list_at, str_at};
use api::validate;
use apiserver::resource::Resource;
use base::clock::Timestamp;

use crate::check::{required, required_one_of};
use crate::core::pod::defaults::{each, set_text};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "endpoints").creates_on_update().rules(Endpoints)
}

struct Endpoints;

impl Rules for Endpoints {
    fn default(&self, object: &mut Value) {
        each(object, &["subsets"], |subset| {
            each(subset, &["ports"], |port| set_text(port, &["protocol"], "TCP"));
        });
    }

    fn validate(&self, endpoints: Field<'_>, errors: &mut ErrorList) {
        for subset in endpoints.get("subsets").items() {
            let (ready, waiting) = (subset.get("addresses"), subset.get("notReadyAddresses"));
            if ready.is_empty() && waiting.is_empty() {
                errors.push(subset.required("must specify `addresses` or `notReadyAddresses`"));
            }
            for one in ready.items().chain(waiting.items()) {
                address(one, errors);
            }
            let ports = subset.get("ports");
            for port in ports.items() {
                self::port(port, ports.len() > 1, errors);
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let mut all: Vec<String> = Vec::new();
        for subset in list_at(object, &["subsets"]) {
            let ips = list_at(subset, &["addresses"]).iter().map(|one| str_at(one, &["ip"]));
            let ports = list_at(subset, &["ports"]);
            if ports.is_empty() {
                all.extend(ips.map(str::to_owned));
                continue;
            }
            for port in ports {
                let port = int_at(port, &["port"]).unwrap_or_default();
                for one in list_at(subset, &["addresses"]) {
                    let ip = str_at(one, &["ip"]);
                    all.push(if ip.contains(':') {
                        format!("[{ip}]:{port}")
                    } else {
                        format!("{ip}:{port}")
                    });
                }
            }
        }
        let text = if list_at(object, &["subsets"]).is_empty() || all.is_empty() {
            NONE.to_owned()
        } else {
            table::first_few(&all, 3, ",")
        };
        vec![table::name(object), text.into(), table::age(object, now)]
    }
}

fn address(address: Field<'_>, errors: &mut ErrorList) {
    let ip = address.get("ip");
    let texts = validate::net::ip_legacy(ip.str());
    let valid = texts.is_empty();
    errors.extend(texts.into_iter().map(|text| ip.invalid(text)));
    rule(address.get("hostname"), validate::dns1123_label, errors);
    rule(address.get("nodeName"), validate::dns1123_subdomain, errors);
    if valid {
        errors
            .extend(validate::net::endpoint_ip(ip.str()).into_iter().map(|text| ip.invalid(text)));
    }
}

fn port(port: Field<'_>, needs_name: bool, errors: &mut ErrorList) {
    let name = port.get("name");
    if needs_name && name.is_empty() {
        errors.push(name.required(""));
    }
    rule(name, validate::dns1123_label, errors);
    let number = port.get("port");
    let value = number.int().unwrap_or_default();
    errors.extend(
        validate::port_number(value).into_iter().map(|text| number.invalid_as(value, text)),
    );
    let protocol = port.get("protocol");
    if required(protocol, errors) {
        required_one_of(protocol, &["SCTP", "TCP", "UDP"], errors);
    }
}
