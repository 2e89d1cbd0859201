//! Service: a stable address and name for a set of pods.
//!
//! Cluster IPs and node ports are taken around the store by [`alloc`]; what a change of type frees
//! is cleared before ([`patch`]).

pub(crate) mod alloc;
mod families;
mod patch;
mod ports;
mod validation;

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, entry, int_at, list_at, set, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;
use serde_json::json;

use crate::core::pod::defaults::{each, set_text};
use crate::core::pod::proxy::{Parent, Proxy};
use crate::cursor::Field;
use crate::deps::Deps;
use crate::kind::{Kind, label_name};
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    Kind::of("", "services")
        .named(label_name)
        .creates_on_update()
        .selectable(&["spec.clusterIP", "spec.type"])
        .handled("proxy", Proxy::new(deps, Parent::Service))
        .hooked(alloc::Allocation::new(deps))
        .rules(Service)
}

struct Service;

impl Rules for Service {
    fn default(&self, object: &mut Value) {
        if !entry(object, &["spec"]).is_object() {
            object["spec"] = json!({});
        }
        let spec = &mut object["spec"];
        set_text(spec, &["sessionAffinity"], "None");
        match str_at(spec, &["sessionAffinity"]) {
            "None" => {
                api::object::remove(spec, &["sessionAffinityConfig"]);
            }
            "ClientIP" => {
                let path = ["sessionAffinityConfig", "clientIP", "timeoutSeconds"];
                set_default(spec, &path, 10_800);
            }
            _ => {}
        }
        set_text(spec, &["type"], "ClusterIP");
        each(spec, &["ports"], |port| {
            set_text(port, &["protocol"], "TCP");
            let number = port["port"].clone();
            let target = at(port, &["targetPort"]);
            let unset = target.is_none_or(|target| target == "" || target == 0);
            if unset && !number.is_null() {
                port["targetPort"] = number;
            }
        });
        self::policies(spec);
        each(object, &["status", "loadBalancer", "ingress"], |ingress| {
            if !str_at(ingress, &["ip"]).is_empty() {
                set_text(ingress, &["ipMode"], "VIP");
            }
        });
    }

    fn prepare_create(&self, _ctx: &WriteContext<'_>, object: &mut Value) {
        sync_cluster_ips(object, None);
        drop_unused(object);
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        sync_cluster_ips(object, Some(old));
        patch::fill_from_old(object, old);
        patch::clear_unused(object, old);
        drop_unused(object);
    }

    fn validate(&self, service: Field<'_>, errors: &mut ErrorList) {
        validation::service(service, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        validation::change(new, old, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        validation::status(new, errors);
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        warnings(new)
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let first = list_at(object, &["spec", "clusterIPs"]).first().and_then(Value::as_str);
        let ip = first.unwrap_or(str_at(object, &["spec", "clusterIP"]));
        vec![
            table::name(object),
            str_at(object, &["spec", "type"]).into(),
            if ip.is_empty() { NONE } else { ip }.into(),
            external_ip(object).into(),
            port_text(object).into(),
            table::age(object, now),
            table::labels(at(object, &["spec", "selector"])).into(),
        ]
    }
}

/// What is wrong with the addresses in the status of an Ingress.
pub(crate) fn ingress_addresses(list: Field<'_>, errors: &mut ErrorList) {
    validation::ingress_list(list, false, errors);
}

/// Policies that a type of service has when nothing is said.
fn policies(spec: &mut Value) {
    let kind = str_at(spec, &["type"]).to_owned();
    let external = match kind.as_str() {
        "NodePort" | "LoadBalancer" => true,
        "ClusterIP" => !list_at(spec, &["externalIPs"]).is_empty(),
        _ => false,
    };
    if external {
        set_text(spec, &["externalTrafficPolicy"], "Cluster");
    }
    if matches!(kind.as_str(), "ClusterIP" | "NodePort" | "LoadBalancer") {
        set_default(spec, &["internalTrafficPolicy"], "Cluster");
    }
    if kind == "LoadBalancer" {
        set_default(spec, &["allocateLoadBalancerNodePorts"], true);
    }
}

/// `clusterIP` and the first of `clusterIPs` are one: who sets one has set the other.
fn sync_cluster_ips(object: &mut Value, old: Option<&Value>) {
    let one = |object: &Value| str_at(object, &["spec", "clusterIP"]).to_owned();
    let many = |object: &Value| list_at(object, &["spec", "clusterIPs"]).to_vec();
    let (ip, ips) = (one(object), many(object));
    match old {
        None => {
            if !ip.is_empty() && ips.is_empty() {
                set(object, &["spec", "clusterIPs"], vec![ip]);
            }
        }
        Some(old) => {
            let (old_ip, old_ips) = (one(old), many(old));
            if ip != old_ip && ips == old_ips {
                // An old client that knows clusterIP only.
                if ip.is_empty() {
                    api::object::remove(object, &["spec", "clusterIPs"]);
                } else {
                    set(object, &["spec", "clusterIPs"], vec![ip]);
                }
            } else if ip == old_ip && ips != old_ips && ips.is_empty() && !ip.is_empty() {
                // A client that does not send the list at all.
                set(object, &["spec", "clusterIPs"], old_ips);
            }
        }
    }
}

/// Fields that a type does not use and upstream never stores.
fn drop_unused(object: &mut Value) {
    if str_at(object, &["spec", "type"]) == "ExternalName" {
        return;
    }
    if str_at(object, &["spec", "type"]) != "LoadBalancer"
        && at(object, &["status", "loadBalancer", "ingress"]).is_some()
    {
        set(object, &["status", "loadBalancer"], json!({}));
    }
}

fn external_ip(object: &Value) -> String {
    let texts = |path: &[&str]| -> Vec<String> {
        list_at(object, path).iter().filter_map(|ip| ip.as_str().map(str::to_owned)).collect()
    };
    let own = texts(&["spec", "externalIPs"]);
    match str_at(object, &["spec", "type"]) {
        "ExternalName" => str_at(object, &["spec", "externalName"]).to_owned(),
        "LoadBalancer" => {
            let mut all: Vec<String> = list_at(object, &["status", "loadBalancer", "ingress"])
                .iter()
                .map(|ingress| match str_at(ingress, &["ip"]) {
                    "" => str_at(ingress, &["hostname"]).to_owned(),
                    ip => ip.to_owned(),
                })
                .collect();
            all.sort();
            all.dedup();
            all.extend(own);
            if all.is_empty() { "<pending>".to_owned() } else { all.join(",") }
        }
        _ if own.is_empty() => NONE.to_owned(),
        _ => own.join(","),
    }
}

fn port_text(object: &Value) -> String {
    let ports: Vec<String> = list_at(object, &["spec", "ports"])
        .iter()
        .map(|port| {
            let number = |field| int_at(port, &[field]).unwrap_or_default();
            let protocol = str_at(port, &["protocol"]);
            match number("nodePort") {
                0 => format!("{}/{protocol}", number("port")),
                node => format!("{}:{node}/{protocol}", number("port")),
            }
        })
        .collect();
    if ports.is_empty() { NONE.to_owned() } else { ports.join(",") }
}

/// What there is to say of a Service: what is on its way out, and what has no effect.
fn warnings(service: &Value) -> Vec<String> {
    let spec = |field| str_at(service, &["spec", field]);
    let mut warnings: Vec<String> = Vec::new();
    let mut warn = |text: &str| warnings.push(text.to_owned());
    if api::object::annotation(service, "service.kubernetes.io/topology-aware-hints").is_some() {
        warn(
            "annotation service.kubernetes.io/topology-aware-hints is deprecated, please use service.kubernetes.io/topology-mode instead",
        );
    }
    let external = !list_at(service, &["spec", "externalIPs"]).is_empty();
    let by_name = spec("type") == "ExternalName";
    let headless = spec("clusterIP") == "None";
    if headless {
        if !spec("loadBalancerIP").is_empty() {
            warn("spec.loadBalancerIP is ignored for headless services");
        }
        if external {
            warn("spec.externalIPs is ignored for headless services");
        }
        if spec("sessionAffinity") != "None" {
            warn("spec.SessionAffinity is ignored for headless services");
        }
    }
    if external && !headless && !by_name {
        warn("spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    }
    if by_name && external {
        warn("spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    }
    if !by_name && !spec("externalName").is_empty() {
        warn("spec.externalName is ignored when spec.type is not \"ExternalName\"");
    }
    if spec("trafficDistribution") == "PreferClose" {
        warn("spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
    }
    warnings
}

#[cfg(test)]
mod tests;
