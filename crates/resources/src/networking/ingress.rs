//! Ingress: which host and path leads to which Service.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{list_at, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{required, required_fields};
use crate::core::service::ingress_addresses;
use crate::cursor::{Field, given, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("networking.k8s.io", "ingresses").tracks_generation().rules(Ingress)
}

struct Ingress;

const CLASS_ANNOTATION: &str = "kubernetes.io/ingress.class";
const PATH_TYPES: [&str; 3] = ["Exact", "ImplementationSpecific", "Prefix"];

impl Rules for Ingress {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        if spec.get("rules").is_empty() && !spec.get("defaultBackend").is_set() {
            let value = spec.get("rules").value().cloned().unwrap_or_else(|| serde_json::json!([]));
            let text = "either `defaultBackend` or `rules` must be specified";
            errors.push(spec.invalid_as(value, text));
        }
        if spec.get("defaultBackend").is_set() {
            backend(spec.get("defaultBackend"), errors);
        }
        for one in spec.get("rules").items() {
            self::rule_of(one, errors);
        }
        for tls in spec.get("tls").items() {
            for host in tls.get("hosts").items() {
                let texts = if host.str().contains('*') {
                    validate::wildcard_dns1123_subdomain(host.str())
                } else {
                    validate::dns1123_subdomain(host.str())
                };
                errors.extend(texts.into_iter().map(|text| host.invalid(text)));
            }
            rule(tls.get("secretName"), validate::dns1123_subdomain, errors);
        }
        given(spec.get("ingressClassName"), validate::dns1123_subdomain, errors);
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        let annotations = new.at(&["metadata", "annotations"]);
        let old_way = annotations.key(CLASS_ANNOTATION);
        let class = new.at(&["spec", "ingressClassName"]);
        if annotations.has(CLASS_ANNOTATION) && class.is_set() && class.str() != old_way.str() {
            let text = "must match `ingressClassName` when both are specified";
            errors.push(annotations.get(CLASS_ANNOTATION).invalid_as(old_way.str(), text));
        }
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        ingress_addresses(new.at(&["status", "loadBalancer", "ingress"]), errors);
    }

    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let annotated = api::object::annotation(new, CLASS_ANNOTATION).is_some();
        if old.is_none() && annotated {
            return vec![format!(
                "annotation {CLASS_ANNOTATION:?} is deprecated, please use 'spec.ingressClassName' instead"
            )];
        }
        Vec::new()
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let hosts: Vec<String> = list_at(object, &["spec", "rules"])
            .iter()
            .map(|rule| str_at(rule, &["host"]).to_owned())
            .filter(|host| !host.is_empty())
            .collect();
        let hosts =
            if hosts.is_empty() { "*".to_owned() } else { table::first_few(&hosts, 3, ",") };
        let mut addresses: Vec<&str> = list_at(object, &["status", "loadBalancer", "ingress"])
            .iter()
            .map(|one| match str_at(one, &["ip"]) {
                "" => str_at(one, &["hostname"]),
                ip => ip,
            })
            .filter(|address| !address.is_empty())
            .collect();
        addresses.sort_unstable();
        addresses.dedup();
        let tls = !list_at(object, &["spec", "tls"]).is_empty();
        vec![
            table::name(object),
            table::text_or(object, &["spec", "ingressClassName"], NONE),
            hosts.into(),
            addresses.join(",").into(),
            if tls { "80, 443" } else { "80" }.into(),
            table::age(object, now),
        ]
    }
}

fn rule_of(one: Field<'_>, errors: &mut ErrorList) {
    let host = one.get("host");
    if !host.is_empty() {
        if validate::net::parse_ip(host.str()).is_some() {
            errors.push(host.invalid("must be a DNS name, not an IP address"));
        }
        if host.str().contains('*') {
            rule(host, validate::wildcard_dns1123_subdomain, errors);
        } else {
            rule(host, validate::dns1123_subdomain, errors);
        }
    }
    let http = one.get("http");
    if !http.is_set() {
        return;
    }
    let paths = http.get("paths");
    if paths.is_empty() {
        errors.push(paths.required(""));
    }
    for path in paths.items() {
        self::path(path, errors);
        backend(path.get("backend"), errors);
    }
}

fn path(entry: Field<'_>, errors: &mut ErrorList) {
    let (kind, path) = (entry.get("pathType"), entry.get("path"));
    if !kind.is_set() {
        errors.push(kind.required("pathType must be specified"));
        return;
    }
    match kind.str() {
        "Exact" | "Prefix" => {
            if !path.str().starts_with('/') {
                errors.push(path.invalid("must be an absolute path"));
            }
            for sequence in ["//", "/./", "/../", "%2f", "%2F"] {
                if path.str().contains(sequence) {
                    errors.push(path.invalid(format!("must not contain '{sequence}'")));
                }
            }
            for suffix in ["/..", "/."] {
                if path.str().ends_with(suffix) {
                    errors.push(path.invalid(format!("cannot end with '{suffix}'")));
                }
            }
        }
        "ImplementationSpecific" => {
            if !path.is_empty() && !path.str().starts_with('/') {
                errors.push(path.invalid("must be an absolute path"));
            }
        }
        _ => errors.push(kind.not_supported(&PATH_TYPES)),
    }
}

fn backend(backend: Field<'_>, errors: &mut ErrorList) {
    let (service, resource) = (backend.get("service"), backend.get("resource"));
    match (service.is_set(), resource.is_set()) {
        (true, true) => {
            let text = "cannot set both resource and service backends";
            errors.push(backend.invalid_as("", text));
        }
        (false, false) => {
            errors.push(backend.required("resource or service backend is required"));
        }
        (false, true) => required_fields(resource, &["kind", "name"], errors),
        (true, false) => {
            let name = service.get("name");
            if required(name, errors) {
                rule(name, validate::dns1123_label, errors);
            }
            let (named, number) = (service.at(&["port", "name"]), service.at(&["port", "number"]));
            let value = number.int().unwrap_or_default();
            if !named.is_empty() && value != 0 {
                let text = "cannot set both port name & port number";
                errors.push(service.get("port").invalid_as("", text));
            } else if !named.is_empty() {
                rule(named, validate::port_name, errors);
            } else if value != 0 {
                errors.extend(
                    validate::port_number(value).into_iter().map(|text| number.invalid(text)),
                );
            } else {
                let text = "port name or number is required";
                errors.push(service.get("port").required(text));
            }
        }
    }
}
