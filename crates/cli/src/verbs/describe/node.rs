//! Nodes: what they have, who uses it.

use api::Value;
use api::object::{at, labels, list_at, name, namespace, str_at};
use api::quantity::Quantity;

use super::page::{Page, or, plain};
use super::when::{since, time};

/// A node, its Lease, and the pods on it that have not ended.
pub(super) fn node(page: &mut Page, own: &Value, lease: &Value, pods: &[Value]) {
    page.field(0, "Name", name(own));
    let roles: Vec<_> = labels(own)
        .filter_map(|(key, value)| match key.strip_prefix("node-role.kubernetes.io/") {
            Some(role) => Some(role).filter(|role| !role.is_empty()),
            None => Some(value).filter(|_| key == "kubernetes.io/role"),
        })
        .collect();
    page.field(0, "Roles", or(&roles.join(","), "<none>"));
    page.marks(own);
    page.field(0, "CreationTimestamp", time(str_at(own, &["metadata", "creationTimestamp"])));
    let taints: Vec<_> = list_at(own, &["spec", "taints"]).iter().map(taint).collect();
    page.several("Taints", &taints);
    page.field(0, "Unschedulable", own["spec"]["unschedulable"] == true);
    page.line(0, "Lease:");
    page.field(1, "HolderIdentity", or(str_at(lease, &["spec", "holderIdentity"]), "<unset>"));
    for (title, field) in [("AcquireTime", "acquireTime"), ("RenewTime", "renewTime")] {
        let at = str_at(lease, &["spec", field]);
        page.field(1, title, if at.is_empty() { "<unset>".to_owned() } else { time(at) });
    }
    conditions(page, own);
    page.line(0, "Addresses:");
    for own in list_at(own, &["status", "addresses"]) {
        page.field(1, str_at(own, &["type"]), str_at(own, &["address"]));
    }
    for (title, field) in [("Capacity", "capacity"), ("Allocatable", "allocatable")] {
        page.line(0, format!("{title}:"));
        let all = at(own, &["status", field]).and_then(Value::as_object);
        for (resource, amount) in all.into_iter().flatten() {
            page.field(1, resource, plain(amount));
        }
    }
    system(page, own);
    page.field_if(0, "PodCIDR", str_at(own, &["spec", "podCIDR"]));
    let ranges: Vec<_> = list_at(own, &["spec", "podCIDRs"]).iter().map(plain).collect();
    page.field_if(0, "PodCIDRs", &ranges.join(","));
    page.field_if(0, "ProviderID", str_at(own, &["spec", "providerID"]));
    usage(page, own, pods);
}

/// `key=value:Effect`.
pub(crate) fn taint(own: &Value) -> String {
    let (key, value) = (str_at(own, &["key"]), str_at(own, &["value"]));
    let effect = str_at(own, &["effect"]);
    if value.is_empty() { format!("{key}:{effect}") } else { format!("{key}={value}:{effect}") }
}

fn conditions(page: &mut Page, own: &Value) {
    let all = list_at(own, &["status", "conditions"]);
    if all.is_empty() {
        return;
    }
    page.line(0, "Conditions:");
    page.line(1, "Type\tStatus\tLastHeartbeatTime\tLastTransitionTime\tReason\tMessage");
    page.line(1, "----\t------\t-----------------\t------------------\t------\t-------");
    for own in all {
        let part = |field: &str| str_at(own, &[field]);
        page.line(
            1,
            format!(
                "{} \t{} \t{} \t{} \t{} \t{}",
                part("type"),
                part("status"),
                time(part("lastHeartbeatTime")),
                time(part("lastTransitionTime")),
                part("reason"),
                part("message")
            ),
        );
    }
}

fn system(page: &mut Page, own: &Value) {
    page.line(0, "System Info:");
    for (title, field) in [
        ("Machine ID", "machineID"),
        ("System UUID", "systemUUID"),
        ("Boot ID", "bootID"),
        ("Kernel Version", "kernelVersion"),
        ("OS Image", "osImage"),
        ("Operating System", "operatingSystem"),
        ("Architecture", "architecture"),
        ("Container Runtime Version", "containerRuntimeVersion"),
        ("Kubelet Version", "kubeletVersion"),
    ] {
        page.field(1, title, str_at(own, &["status", "nodeInfo", field]));
    }
}

fn usage(page: &mut Page, own: &Value, pods: &[Value]) {
    let there = |resource: &str| quantity(at(own, &["status", "allocatable", resource]));
    let share = |used: Quantity, resource: &str| {
        let whole = there(resource).as_f64();
        let percent = if whole > 0.0 { used.as_f64() / whole * 100.0 } else { 0.0 };
        format!("{used} ({percent:.0}%)", percent = percent.floor())
    };
    page.field(0, "Non-terminated Pods", format!("({} in total)", pods.len()));
    page.line(
        1,
        "Namespace\tName\t\tCPU Requests\tCPU Limits\tMemory Requests\tMemory Limits\tAge",
    );
    page.line(
        1,
        "---------\t----\t\t------------\t----------\t---------------\t-------------\t---",
    );
    for pod in pods {
        let part = |kind: &str, resource: &str| share(of_pod(pod, kind, resource), resource);
        page.line(
            1,
            format!(
                "{}\t{}\t\t{}\t{}\t{}\t{}\t{}",
                namespace(pod),
                name(pod),
                part("requests", "cpu"),
                part("limits", "cpu"),
                part("requests", "memory"),
                part("limits", "memory"),
                since(str_at(pod, &["metadata", "creationTimestamp"]))
            ),
        );
    }
    page.line(0, "Allocated resources:");
    page.line(1, "(Total limits may be over 100 percent, i.e., overcommitted.)");
    page.line(1, "Resource\tRequests\tLimits");
    page.line(1, "--------\t--------\t------");
    let mut names = vec!["cpu", "memory", "ephemeral-storage"];
    let all = at(own, &["status", "allocatable"]).and_then(Value::as_object);
    for resource in all.into_iter().flatten().map(|(resource, _)| resource.as_str()) {
        if !names.contains(&resource) && resource != "pods" {
            names.push(resource);
        }
    }
    for resource in names {
        let sum = |kind: &str| {
            let amounts: Vec<_> = pods.iter().map(|pod| of_pod(pod, kind, resource)).collect();
            share(total(&amounts, resource), resource)
        };
        page.line(1, format!("{resource}\t{}\t{}", sum("requests"), sum("limits")));
    }
}

fn quantity(value: Option<&Value>) -> Quantity {
    value.and_then(|own| plain(own).parse().ok()).unwrap_or_else(|| Quantity::from_int(0))
}

/// Sums in the form that the resource is written in: cores in thousandths, the rest in bytes.
fn total(amounts: &[Quantity], resource: &str) -> Quantity {
    if let [only] = amounts {
        return *only;
    }
    if amounts.iter().all(|own| own.is_zero()) {
        Quantity::from_int(0)
    } else if resource == "cpu" {
        Quantity::from_milli(amounts.iter().map(|own| own.milli_value()).sum())
    } else {
        Quantity::from_bytes(amounts.iter().map(|own| own.value()).sum())
    }
}

/// What a pod asks for: the sum of its containers, or its largest init container.
fn of_pod(pod: &Value, kind: &str, resource: &str) -> Quantity {
    let of = |list: &str, sidecars: bool| -> Vec<Quantity> {
        list_at(pod, &["spec", list])
            .iter()
            .filter(|own| (str_at(own, &["restartPolicy"]) == "Always") == sidecars)
            .map(|own| quantity(at(own, &["resources", kind, resource])))
            .collect()
    };
    let mut running = of("containers", false);
    running.extend(of("initContainers", true));
    let sum = total(&running, resource);
    of("initContainers", false)
        .into_iter()
        .fold(sum, |most, own| if own.as_f64() > most.as_f64() { own } else { most })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_a_pod_asks_for() {
        let container = |cpu: &str| json!({"resources": {"requests": {"cpu": cpu}}});
        let check = |pod: Value, expected: &str| {
            assert_eq!(of_pod(&pod, "requests", "cpu").to_string(), expected);
        };
        check(json!({"spec": {"containers": [container("100m")]}}), "100m");
        check(json!({"spec": {"containers": [container("100m"), container("1")]}}), "1100m");
        check(
            json!({"spec": {"containers": [container("100m")], "initContainers": [container("2")]}}),
            "2",
        );
        check(json!({"spec": {"containers": [{}]}}), "0");
    }
}
