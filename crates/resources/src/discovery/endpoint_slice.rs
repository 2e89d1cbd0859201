//! EndpointSlice: up to a thousand of the endpoints behind a Service, of one address family.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, int_at, list_at, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{immutable, one_of, required, required_one_of};
use crate::core::pod::defaults::{each, set_text};
use crate::cursor::{Field, given, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, UNSET};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("discovery.k8s.io", "endpointslices").tracks_generation().rules(EndpointSlice)
}

struct EndpointSlice;

impl Rules for EndpointSlice {
    fn default(&self, object: &mut Value) {
        each(object, &["ports"], |port| {
            api::object::set_default(port, &["name"], "");
            set_text(port, &["protocol"], "TCP");
        });
    }

    fn validate(&self, slice: Field<'_>, errors: &mut ErrorList) {
        let kind = slice.get("addressType");
        required_one_of(kind, &["FQDN", "IPv4", "IPv6"], errors);
        endpoints(slice.get("endpoints"), kind.str(), errors);
        ports(slice.get("ports"), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("addressType"), old.get("addressType"), errors);
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let fqdn = str_at(new, &["addressType"]) == "FQDN";
        let text = "spec.addressType: FQDN endpoints are deprecated";
        fqdn.then(|| text.to_owned()).into_iter().collect()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let ports: Vec<String> = list_at(object, &["ports"])
            .iter()
            .map(|port| match (int_at(port, &["port"]), at(port, &["name"])) {
                (Some(number), _) => number.to_string(),
                (None, Some(name)) => name.as_str().unwrap_or_default().to_owned(),
                (None, None) => "*".to_owned(),
            })
            .collect();
        let addresses: Vec<String> = list_at(object, &["endpoints"])
            .iter()
            .flat_map(|endpoint| list_at(endpoint, &["addresses"]))
            .filter_map(|address| address.as_str().map(str::to_owned))
            .collect();
        let shown = |all: &[String]| -> Value {
            if all.is_empty() { UNSET.into() } else { table::first_few(all, 3, ",").into() }
        };
        vec![
            table::name(object),
            str_at(object, &["addressType"]).into(),
            shown(&ports),
            shown(&addresses),
            table::age(object, now),
        ]
    }
}

fn endpoints(list: Field<'_>, kind: &str, errors: &mut ErrorList) {
    if list.len() > 1000 {
        errors.push(list.too_many(1000));
        return;
    }
    for endpoint in list.items() {
        let addresses = endpoint.get("addresses");
        if addresses.is_empty() {
            errors.push(addresses.required("must contain at least 1 address"));
        } else if addresses.len() > 100 {
            errors.push(addresses.too_many(100));
        }
        for address in addresses.items() {
            let texts = match kind {
                "FQDN" => validate::dns1123_subdomain(address.str()),
                _ => self::address(address.str(), kind == "IPv6"),
            };
            errors.extend(texts.into_iter().map(|text| address.invalid(text)));
        }
        given(endpoint.get("nodeName"), validate::dns1123_subdomain, errors);
        topology(endpoint.get("deprecatedTopology"), errors);
        hints(endpoint.get("hints"), errors);
        given(endpoint.get("hostname"), validate::dns1123_label, errors);
    }
}

fn address(text: &str, v6: bool) -> Vec<String> {
    let Some(ip) = validate::net::parse_ip_sloppy(text) else {
        return validate::net::ip_legacy(text);
    };
    if ip.is_ipv6() != v6 {
        let family = if v6 { "IPv6" } else { "IPv4" };
        return vec![format!("must be an {family} address")];
    }
    validate::net::endpoint_ip(text)
}

fn topology(map: Field<'_>, errors: &mut ErrorList) {
    if map.len() > 16 {
        errors.push(map.too_many(16));
    }
    errors.extend(validate::labels(map.value(), &map.path()));
}

fn hints(hints: Field<'_>, errors: &mut ErrorList) {
    for (field, check) in [
        ("forZones", validate::label_value as fn(&str) -> Vec<String>),
        ("forNodes", validate::dns1123_subdomain),
    ] {
        let list = Field::get(hints, field);
        if list.len() > 8 {
            errors.push(list.too_many(8));
            continue;
        }
        let mut seen: Vec<&str> = Vec::new();
        for one in list.items() {
            let name = one.get("name");
            if seen.contains(&name.str()) {
                errors.push(name.duplicate());
            }
            seen.push(name.str());
            errors.extend(check(name.str()).into_iter().map(|text| name.invalid(text)));
        }
    }
}

fn ports(list: Field<'_>, errors: &mut ErrorList) {
    if list.len() > 20_000 {
        errors.push(list.too_many(20_000));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for port in list.items() {
        let name = port.get("name");
        rule(name, validate::dns1123_label, errors);
        if seen.contains(&name.str()) {
            errors.push(name.duplicate());
        }
        seen.push(name.str());
        let protocol = port.get("protocol");
        if required(protocol, errors) {
            one_of(protocol, &["SCTP", "TCP", "UDP"], errors);
        }
        rule(port.get("appProtocol"), validate::qualified_name, errors);
    }
}
