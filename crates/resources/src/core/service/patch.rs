//! What an update of a service takes from the stored one, and what it clears.
//!
//! Old clients do not send what the server allocated: it is filled in again. A change of type
//! gives back what the new type does not use, if the client left it as it was.

use api::Value;
use api::object::{at, list_at, remove, set, str_at};

use crate::cursor::same;

fn kind(object: &Value) -> &str {
    str_at(object, &["spec", "type"])
}

/// Whether a type has cluster IPs.
pub(crate) fn needs_cluster_ip(object: &Value) -> bool {
    matches!(kind(object), "ClusterIP" | "NodePort" | "LoadBalancer")
}

/// Whether a service has node ports.
pub(crate) fn needs_node_ports(object: &Value) -> bool {
    match kind(object) {
        "NodePort" => true,
        "LoadBalancer" => {
            let flag = at(object, &["spec", "allocateLoadBalancerNodePorts"]);
            flag.and_then(Value::as_bool).unwrap_or(true)
        }
        _ => false,
    }
}

/// Whether a service has a port for health checks of its load balancer.
pub(crate) fn needs_health_port(object: &Value) -> bool {
    kind(object) == "LoadBalancer" && str_at(object, &["spec", "externalTrafficPolicy"]) == "Local"
}

fn absent(object: &Value, field: &str) -> bool {
    match at(object, &["spec", field]) {
        None => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(value) => value == 0,
    }
}

fn copy(to: &mut Value, from: &Value, field: &str) {
    if let Some(value) = at(from, &["spec", field]) {
        set(to, &["spec", field], value.clone());
    }
}

/// Fills in what was allocated and is not said again.
pub(super) fn fill_from_old(new: &mut Value, old: &Value) {
    if needs_cluster_ip(old) && needs_cluster_ip(new) {
        if absent(new, "clusterIP") {
            copy(new, old, "clusterIP");
        }
        if absent(new, "clusterIPs")
            && str_at(new, &["spec", "clusterIP"]) == str_at(old, &["spec", "clusterIP"])
        {
            copy(new, old, "clusterIPs");
        }
        for field in ["ipFamilies", "ipFamilyPolicy"] {
            if absent(new, field) {
                copy(new, old, field);
            }
        }
    }
    if needs_node_ports(old) && needs_node_ports(new) {
        let known: Vec<Value> = list_at(old, &["spec", "ports"]).to_vec();
        if let Some(ports) = new["spec"]["ports"].as_array_mut() {
            node_ports_from_old(ports, &known);
        }
    }
    if needs_health_port(old) && needs_health_port(new) && absent(new, "healthCheckNodePort") {
        copy(new, old, "healthCheckNodePort");
    }
}

/// A port that says no node port keeps the one it had, unless another port has taken it.
fn node_ports_from_old(ports: &mut [Value], known: &[Value]) {
    let key = |port: &Value| (str_at(port, &["protocol"]).to_owned(), port["port"].clone());
    let mut used: Vec<(String, Value)> = ports
        .iter()
        .filter(|port| at(port, &["nodePort"]).is_some_and(|node| *node != 0))
        .map(|port| (key(port).0, port["nodePort"].clone()))
        .collect();
    for port in ports.iter_mut() {
        if at(port, &["nodePort"]).is_some_and(|node| *node != 0) {
            continue;
        }
        let before = known.iter().find(|old| key(old) == key(port));
        let Some(node) = before.and_then(|old| at(old, &["nodePort"])) else { continue };
        let taken = (key(port).0, node.clone());
        if !used.contains(&taken) {
            port["nodePort"] = node.clone();
            used.push(taken);
        }
    }
}

/// Clears what the new type does not use, where the client did not change it.
pub(super) fn clear_unused(new: &mut Value, old: &Value) {
    let unchanged =
        |new: &Value, field: &str| same(at(new, &["spec", field]), at(old, &["spec", field]));
    if needs_cluster_ip(old) && !needs_cluster_ip(new) {
        for field in ["clusterIP", "clusterIPs", "ipFamilies", "ipFamilyPolicy"] {
            if unchanged(new, field) {
                remove(new, &["spec", field]);
            }
        }
    }
    if needs_node_ports(old) && !needs_node_ports(new) {
        clear_node_ports(new, old);
    }
    if needs_health_port(old) && !needs_health_port(new) && unchanged(new, "healthCheckNodePort") {
        remove(new, &["spec", "healthCheckNodePort"]);
    }
    if kind(old) == "LoadBalancer" && kind(new) != "LoadBalancer" {
        for field in ["allocateLoadBalancerNodePorts", "loadBalancerClass"] {
            if unchanged(new, field) {
                remove(new, &["spec", field]);
            }
        }
    }
    let external = |object: &Value| {
        matches!(kind(object), "NodePort" | "LoadBalancer")
            || (kind(object) == "ClusterIP"
                && !list_at(object, &["spec", "externalIPs"]).is_empty())
    };
    if external(old) && !external(new) && unchanged(new, "externalTrafficPolicy") {
        remove(new, &["spec", "externalTrafficPolicy"]);
    }
    if needs_cluster_ip(old) && !needs_cluster_ip(new) && unchanged(new, "internalTrafficPolicy") {
        remove(new, &["spec", "internalTrafficPolicy"]);
    }
}

fn clear_node_ports(new: &mut Value, old: &Value) {
    let before: Vec<Value> = list_at(old, &["spec", "ports"])
        .iter()
        .filter_map(|port| at(port, &["nodePort"]).cloned())
        .collect();
    for port in new["spec"]["ports"].as_array_mut().into_iter().flatten() {
        if at(port, &["nodePort"]).is_some_and(|node| before.contains(node)) {
            remove(port, &["nodePort"]);
        }
    }
}
