//! NetworkPolicy: which traffic pods may have.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set};
use api::validate;
use apiserver::resource::Resource;
use base::clock::Timestamp;

use crate::check::{label_selector, one_of_in_order, required};
use crate::core::pod::defaults::{each, set_text};
use crate::core::pod::validation::probe;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("networking.k8s.io", "networkpolicies").tracks_generation().rules(NetworkPolicy)
}

struct NetworkPolicy;

impl Rules for NetworkPolicy {
    fn default(&self, object: &mut Value) {
        for direction in ["ingress", "egress"] {
            each(object, &["spec", direction], |rule| {
                each(rule, &["ports"], |port| set_text(port, &["protocol"], "TCP"));
            });
        }
        if list_at(object, &["spec", "policyTypes"]).is_empty() {
            let egress = !list_at(object, &["spec", "egress"]).is_empty();
            let types: &[&str] = if egress { &["Ingress", "Egress"] } else { &["Ingress"] };
            set(object, &["spec", "policyTypes"], types.to_vec());
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        label_selector(spec.get("podSelector"), errors);
        for (direction, peers) in [("ingress", "from"), ("egress", "to")] {
            for rule in Field::get(spec, direction).items() {
                for port in rule.get("ports").items() {
                    self::port(port, errors);
                }
                for peer in Field::get(rule, peers).items() {
                    self::peer(peer, errors);
                }
            }
        }
        let types = spec.get("policyTypes");
        if types.len() > 2 {
            let text = "may not specify more than two policyTypes";
            errors.push(types.invalid_as(types.value().cloned().unwrap_or_default(), text));
            return;
        }
        for one in types.items() {
            one_of_in_order(one, &["Ingress", "Egress"], errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let selector = table::selector(at(object, &["spec", "podSelector"]));
        vec![table::name(object), selector.into(), table::age(object, now)]
    }
}

fn port(port: Field<'_>, errors: &mut ErrorList) {
    one_of_in_order(port.get("protocol"), &["TCP", "UDP", "SCTP"], errors);
    let (number, end) = (port.get("port"), port.get("endPort"));
    if number.is_set() {
        probe::port(number, errors);
    }
    let Some(last) = end.int() else { return };
    match number.int() {
        Some(first) => {
            if last < first {
                errors.push(end.invalid("must be greater than or equal to `port`"));
            }
            errors.extend(validate::port_number(last).into_iter().map(|text| end.invalid(text)));
        }
        None if number.is_set() => {
            errors.push(end.invalid("may not be specified when `port` is non-numeric"));
        }
        None => errors.push(end.invalid("may not be specified when `port` is not specified")),
    }
}

fn peer(peer: Field<'_>, errors: &mut ErrorList) {
    let selectors = ["podSelector", "namespaceSelector"];
    for field in selectors {
        label_selector(Field::get(peer, field), errors);
    }
    let selected = selectors.iter().any(|field| peer.get(field).is_set());
    let block = peer.get("ipBlock");
    if block.is_set() {
        ip_block(block, errors);
    }
    if selected && block.is_set() {
        errors.push(peer.forbidden("may not specify both ipBlock and another peer"));
    } else if !selected && !block.is_set() {
        errors.push(peer.required("must specify a peer"));
    }
}

fn ip_block(block: Field<'_>, errors: &mut ErrorList) {
    let cidr = block.get("cidr");
    if !required(cidr, errors) {
        return;
    }
    let texts = validate::net::cidr_legacy(cidr.str());
    let outer = validate::net::parse_cidr(cidr.str());
    errors.extend(texts.into_iter().map(|text| cidr.invalid(text)));
    for except in block.get("except").items() {
        errors.extend(
            validate::net::cidr_legacy(except.str()).into_iter().map(|text| except.invalid(text)),
        );
        if let (Some((outer, bits)), Some((inner, inner_bits))) =
            (outer, validate::net::parse_cidr(except.str()))
        {
            let inside = outer.is_ipv4() == inner.is_ipv4()
                && inner_bits > bits
                && validate::net::network_address(inner, bits)
                    == validate::net::network_address(outer, bits);
            if !inside {
                errors.push(except.invalid("must be a strict subset of `cidr`"));
            }
        }
    }
}
