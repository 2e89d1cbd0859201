//! Whether this node takes a pod that was bound to it: pure, from the pods that are here.
//!
//! The scheduler has decided before; this catches what it could not know, and pods that were bound
//! past it. Reasons and texts are upstream's (`pkg/kubelet/lifecycle/predicate.go`).

use std::collections::BTreeMap;
use std::sync::Arc;

use container_runtime::Protocol;
use k8s_openapi::api::core::v1::{
    Node, NodeSelectorRequirement, NodeSelectorTerm, Pod, Toleration,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

use crate::config::{sandbox, security};
use crate::node::status::Allocatable;
use crate::status::Verdict;
use crate::{pod, quantity};

/// Judges a pod; `others` are those that the node has taken and that have not ended.
pub(crate) fn admit(
    pod: &Pod,
    others: &[Arc<Pod>],
    node: &Node,
    free: &Allocatable,
) -> Option<Verdict> {
    let rejected = |reason: &str, message: String| {
        Some(Verdict { reason: reason.to_owned(), message: format!("Pod was rejected: {message}") })
    };
    if pod::spec(pod).os.as_ref().is_some_and(|os| os.name != "linux") {
        return rejected(
            "PodOSNotSupported",
            "Failed to admit pod as the OS field doesn't match node OS".to_owned(),
        );
    }
    if let Some(message) = security::forbidden_sysctl(pod) {
        return rejected("SysctlForbidden", message);
    }
    if let Some((resource, asked, used, capacity)) = out_of(pod, others, node, free) {
        let text = format!(
            "Node didn't have enough resource: {resource}, requested: {asked}, used: {used}, capacity: {capacity}"
        );
        return rejected(&format!("OutOf{resource}"), text);
    }
    let predicate =
        |name: &str, why: &str| rejected(name, format!("Predicate {name} failed: {why}"));
    if !matches_node(pod, node) {
        return predicate("NodeAffinity", "node(s) didn't match Pod's node affinity/selector");
    }
    if ports_taken(pod, others) {
        return predicate(
            "NodePorts",
            "node(s) didn't have free ports for the requested pod ports",
        );
    }
    if !pod::is_static(pod) && has_untolerated_taint(pod, node) {
        return predicate("TaintToleration", "node(s) had taints that the pod didn't tolerate");
    }
    None
}

fn out_of(
    pod: &Pod,
    others: &[Arc<Pod>],
    node: &Node,
    free: &Allocatable,
) -> Option<(String, i64, i64, i64)> {
    let count = i64::try_from(others.len()).unwrap_or(i64::MAX);
    if count + 1 > free.pods {
        return Some(("pods".to_owned(), 1, count, free.pods));
    }
    let check = |name: &str, capacity: i64, read: fn(&Quantity) -> Option<i64>| {
        let asked = pod::request(pod, name, read);
        let used: i64 = others.iter().map(|other| pod::request(other, name, read)).sum();
        (asked > 0 && asked + used > capacity).then(|| (name.to_owned(), asked, used, capacity))
    };
    check("cpu", free.cpu_milli, quantity::milli)
        .or_else(|| check("memory", free.memory_bytes, quantity::value))
        .or_else(|| check("ephemeral-storage", free.storage_bytes, quantity::value))
        .or_else(|| extended(pod, others, node))
}

/// Resources of others' making (`example.com/gpu`), as far as the node has them.
fn extended(pod: &Pod, others: &[Arc<Pod>], node: &Node) -> Option<(String, i64, i64, i64)> {
    let known = node.status.as_ref().and_then(|status| status.allocatable.as_ref())?;
    known.iter().filter(|(name, _)| name.contains('/')).find_map(|(name, amount)| {
        let capacity = quantity::value(amount)?;
        let asked = pod::request(pod, name, quantity::value);
        let used: i64 = others.iter().map(|other| pod::request(other, name, quantity::value)).sum();
        (asked > 0 && asked + used > capacity).then(|| (name.clone(), asked, used, capacity))
    })
}

fn ports_taken(pod: &Pod, others: &[Arc<Pod>]) -> bool {
    let own = host_ports(pod);
    let taken: Vec<_> = others.iter().flat_map(|other| host_ports(other)).collect();
    own.iter().any(|(protocol, ip, port)| {
        taken.iter().any(|(other_protocol, other_ip, other_port)| {
            let anywhere = |ip: &str| ip.is_empty() || ip == "0.0.0.0" || ip == "::";
            protocol == other_protocol
                && port == other_port
                && (anywhere(ip) || anywhere(other_ip) || ip == other_ip)
        })
    })
}

fn host_ports(pod: &Pod) -> Vec<(Protocol, String, u16)> {
    if !pod::is_host_network(pod) {
        let mapped = sandbox::port_mappings(pod);
        return mapped.into_iter().map(|one| (one.protocol, one.host_ip, one.host_port)).collect();
    }
    let containers = pod::containers(pod);
    let ports = containers.iter().flat_map(|(_, container)| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let protocol = match port.protocol.as_deref() {
                Some("UDP") => Protocol::Udp,
                Some("SCTP") => Protocol::Sctp,
                _ => Protocol::Tcp,
            };
            let number = u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?;
            Some((protocol, port.host_ip.clone().unwrap_or_default(), number))
        })
        .collect()
}

fn matches_node(pod: &Pod, node: &Node) -> bool {
    let spec = pod::spec(pod);
    let labels = node.metadata.labels.clone().unwrap_or_default();
    let selected =
        spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity = spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref());
    let required =
        affinity.and_then(|one| one.required_during_scheduling_ignored_during_execution.as_ref());
    let name = node.metadata.name.as_deref().unwrap_or_default();
    selected
        && required.is_none_or(|required| {
            required.node_selector_terms.iter().any(|term| matches_term(term, &labels, name))
        })
}

fn matches_term(term: &NodeSelectorTerm, labels: &BTreeMap<String, String>, name: &str) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    // A term that says nothing matches nothing.
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|one| matches(one, labels.get(&one.key).map(String::as_str)))
        && fields.iter().all(|one| matches(one, (one.key == "metadata.name").then_some(name)))
}

fn matches(requirement: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let listed = value.is_some_and(|value| values.iter().any(|one| one == value));
    let number =
        || -> Option<(i64, i64)> { Some((value?.parse().ok()?, values.first()?.parse().ok()?)) };
    match requirement.operator.as_str() {
        "In" => listed,
        "NotIn" => !listed,
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => number().is_some_and(|(have, want)| have > want),
        "Lt" => number().is_some_and(|(have, want)| have < want),
        _ => false,
    }
}

fn has_untolerated_taint(pod: &Pod, node: &Node) -> bool {
    let spec = pod::spec(pod);
    let tolerations: Vec<&Toleration> = spec.tolerations.iter().flatten().collect();
    let taints = node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default();
    taints.iter().filter(|taint| taint.effect == "NoExecute").any(|taint| {
        !tolerations.iter().any(|toleration| {
            let key = toleration.key.as_deref().unwrap_or_default();
            let effect = toleration.effect.as_deref().unwrap_or_default();
            let exists = toleration.operator.as_deref() == Some("Exists");
            (effect.is_empty() || effect == taint.effect)
                && ((key.is_empty() && exists) || key == taint.key)
                && (exists
                    || toleration.value.as_deref().unwrap_or_default()
                        == taint.value.as_deref().unwrap_or_default())
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn pod(spec: Value) -> Arc<Pod> {
        Arc::new(serde_json::from_value(json!({"metadata": {"name": "p"}, "spec": spec})).unwrap())
    }

    fn check(spec: Value, others: &[Value], expected: Option<(&str, &str)>) {
        let node = serde_json::from_value(json!({
            "metadata": {"name": "n", "labels": {"disk": "ssd", "cpus": "8"}},
            "spec": {"taints": [{"key": "bad", "effect": "NoExecute"}, {"key": "x", "effect": "NoSchedule"}]},
            "status": {"allocatable": {"example.com/gpu": "1"}}}))
        .unwrap();
        let free =
            Allocatable { cpu_milli: 1000, memory_bytes: 1 << 30, storage_bytes: 1 << 30, pods: 3 };
        let others: Vec<_> = others.iter().cloned().map(pod).collect();
        let mut spec = spec;
        if spec["tolerations"].is_null() {
            spec["tolerations"] = json!([{"key": "bad", "operator": "Exists"}]);
        }
        let got = admit(&pod(spec), &others, &node, &free);
        let expected = expected.map(|(reason, message)| Verdict {
            reason: reason.into(),
            message: format!("Pod was rejected: {message}"),
        });
        assert_eq!(got, expected);
    }

    fn cpu(amount: &str) -> Value {
        json!({"containers": [{"name": "c", "resources": {"requests": {"cpu": amount}}}]})
    }

    fn port(port: u16, ip: &str) -> Value {
        json!({"containers": [{"name": "c", "ports": [{"containerPort": 80, "hostPort": port, "hostIP": ip}]}]})
    }

    #[test]
    fn reasons_and_texts() {
        check(cpu("400m"), &[cpu("600m")], None);
        check(
            cpu("500m"),
            &[cpu("600m")],
            Some((
                "OutOfcpu",
                "Node didn't have enough resource: cpu, requested: 500, used: 600, capacity: 1000",
            )),
        );
        check(
            cpu("0"),
            &[cpu("0"), cpu("0"), cpu("0")],
            Some((
                "OutOfpods",
                "Node didn't have enough resource: pods, requested: 1, used: 3, capacity: 3",
            )),
        );
        let ports = "Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports";
        check(port(80, ""), &[port(80, "127.0.0.1")], Some(("NodePorts", ports)));
        check(port(80, "127.0.0.2"), &[port(80, "127.0.0.1")], None);
        let affinity =
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        check(
            json!({"containers": [], "nodeSelector": {"disk": "hdd"}}),
            &[],
            Some(("NodeAffinity", affinity)),
        );
        let taints =
            "Predicate TaintToleration failed: node(s) had taints that the pod didn't tolerate";
        check(json!({"containers": [], "tolerations": []}), &[], Some(("TaintToleration", taints)));
        check(
            json!({"containers": [], "securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}),
            &[],
            Some(("SysctlForbidden", "forbidden sysctl: \"kernel.msgmax\" not allowlisted")),
        );
    }

    #[test]
    fn affinity_terms() {
        let with = |expression: Value| {
            json!({"containers": [], "affinity": {"nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution":
                    {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}}}})
        };
        check(with(json!({"key": "disk", "operator": "In", "values": ["ssd"]})), &[], None);
        check(with(json!({"key": "cpus", "operator": "Gt", "values": ["4"]})), &[], None);
        check(with(json!({"key": "none", "operator": "DoesNotExist"})), &[], None);
        let affinity =
            "Predicate NodeAffinity failed: node(s) didn't match Pod's node affinity/selector";
        check(
            with(json!({"key": "cpus", "operator": "Lt", "values": ["4"]})),
            &[],
            Some(("NodeAffinity", affinity)),
        );
    }
}
