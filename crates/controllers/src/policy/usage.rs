//! What objects use of a quota. Pure.
//!
//! (Kubernetes `pkg/quota/v1/evaluator/core`)

use std::collections::BTreeMap;
use std::str::FromStr;

use api::quantity::Quantity;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, PodSpec, ResourceQuota, ResourceRequirements, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;

use crate::common::owner::annotation;
use crate::common::pods;

/// Amounts by resource name.
pub(crate) type Amounts = BTreeMap<String, Quantity>;

/// Adds an amount.
pub(crate) fn add(amounts: &mut Amounts, resource: &str, amount: Quantity) {
    let sum = amounts.entry(resource.to_owned()).or_insert_with(|| Quantity::from_int(0));
    *sum += amount;
}

fn parse(text: &Text) -> Quantity {
    // What the server stored has been validated.
    Quantity::from_str(&text.0).unwrap_or_else(|_| Quantity::from_int(0))
}

/// What a pod uses: one of `pods`, and what its containers ask for, until it has ended.
pub(crate) fn of_pod(pod: &Pod) -> Amounts {
    let mut amounts = Amounts::new();
    add(&mut amounts, "count/pods", Quantity::from_int(1));
    if pods::is_terminal(pod) {
        return amounts;
    }
    add(&mut amounts, "pods", Quantity::from_int(1));
    let Some(spec) = &pod.spec else { return amounts };
    for (resource, amount) in total(spec, |r| r.requests.as_ref()) {
        if ["cpu", "memory", "ephemeral-storage"].contains(&resource.as_str()) {
            add(&mut amounts, &resource, amount);
        }
        add(&mut amounts, &format!("requests.{resource}"), amount);
    }
    for (resource, amount) in total(spec, |r| r.limits.as_ref()) {
        add(&mut amounts, &format!("limits.{resource}"), amount);
    }
    amounts
}

/// What a pod asks for: the larger of what its init containers need one after the other and what
/// its containers and sidecars need together, and its overhead.
fn total(
    spec: &PodSpec,
    of: fn(&ResourceRequirements) -> Option<&BTreeMap<String, Text>>,
) -> Amounts {
    let list = |resources: Option<&ResourceRequirements>| -> Amounts {
        let listed = resources.and_then(of).into_iter().flatten();
        listed.map(|(name, text)| (name.clone(), parse(text))).collect()
    };
    let mut running = Amounts::new();
    for container in &spec.containers {
        for (name, amount) in list(container.resources.as_ref()) {
            add(&mut running, &name, amount);
        }
    }
    let (mut sidecars, mut peak) = (Amounts::new(), Amounts::new());
    for container in spec.init_containers.iter().flatten() {
        let own = list(container.resources.as_ref());
        if container.restart_policy.as_deref() == Some("Always") {
            for (name, amount) in &own {
                add(&mut running, name, *amount);
                add(&mut sidecars, name, *amount);
            }
            raise(&mut peak, &sidecars);
        } else {
            let mut together = sidecars.clone();
            own.iter().for_each(|(name, amount)| add(&mut together, name, *amount));
            raise(&mut peak, &together);
        }
    }
    raise(&mut running, &peak);
    for (name, amount) in list(spec.resources.as_ref()) {
        // What is said of the pod as a whole holds.
        running.insert(name, amount);
    }
    for (name, text) in spec.overhead.iter().flatten() {
        if running.contains_key(name) {
            add(&mut running, name, parse(text));
        }
    }
    running
}

fn raise(amounts: &mut Amounts, at_least: &Amounts) {
    for (name, amount) in at_least {
        let slot = amounts.entry(name.clone()).or_insert(*amount);
        *slot = (*slot).max(*amount);
    }
}

/// What a Service uses.
pub(crate) fn of_service(service: &Service) -> Amounts {
    let mut amounts = Amounts::new();
    let one = Quantity::from_int(1);
    add(&mut amounts, "services", one);
    add(&mut amounts, "count/services", one);
    let Some(spec) = &service.spec else { return amounts };
    let ports = || spec.ports.iter().flatten();
    match spec.type_.as_deref() {
        Some("NodePort") => {
            let count = i64::try_from(ports().count()).unwrap_or(i64::MAX);
            add(&mut amounts, "services.nodeports", Quantity::from_int(count));
        }
        Some("LoadBalancer") => {
            add(&mut amounts, "services.loadbalancers", one);
            let count = if spec.allocate_load_balancer_node_ports == Some(false) {
                ports().filter(|port| port.node_port.is_some_and(|number| number != 0)).count()
            } else {
                ports().count()
            };
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            add(&mut amounts, "services.nodeports", Quantity::from_int(count));
        }
        _ => {}
    }
    amounts
}

/// What a claim uses.
pub(crate) fn of_claim(claim: &PersistentVolumeClaim) -> Amounts {
    let mut amounts = Amounts::new();
    let one = Quantity::from_int(1);
    let spec = claim.spec.as_ref();
    let class = annotation(&claim.metadata, "volume.beta.kubernetes.io/storage-class")
        .or_else(|| spec.and_then(|spec| spec.storage_class_name.as_deref()))
        .filter(|class| !class.is_empty());
    add(&mut amounts, "persistentvolumeclaims", one);
    add(&mut amounts, "count/persistentvolumeclaims", one);
    let prefix = class.map(|class| format!("{class}.storageclass.storage.k8s.io"));
    if let Some(prefix) = &prefix {
        add(&mut amounts, &format!("{prefix}/persistentvolumeclaims"), one);
    }
    let requests = spec
        .and_then(|spec| spec.resources.as_ref())
        .and_then(|resources| resources.requests.as_ref());
    if let Some(storage) = requests.and_then(|requests| requests.get("storage")).map(parse) {
        add(&mut amounts, "requests.storage", storage);
        if let Some(prefix) = &prefix {
            add(&mut amounts, &format!("{prefix}/requests.storage"), storage);
        }
    }
    amounts
}

/// Whether a quota is about a pod: its scopes and its scope selector.
pub(crate) fn is_about(quota: &ResourceQuota, pod: &Pod) -> bool {
    let Some(spec) = &quota.spec else { return false };
    let plain = spec.scopes.iter().flatten().all(|scope| in_scope(pod, scope, "Exists", &[]));
    let selected = spec.scope_selector.iter().flat_map(|s| s.match_expressions.iter().flatten());
    plain
        && selected.into_iter().all(|one| {
            in_scope(pod, &one.scope_name, &one.operator, one.values.as_deref().unwrap_or_default())
        })
}

/// Whether a quota has scopes; those are about pods (and some about claims) only.
pub(crate) fn is_scoped(quota: &ResourceQuota) -> bool {
    quota.spec.as_ref().is_some_and(|spec| {
        spec.scopes.as_ref().is_some_and(|scopes| !scopes.is_empty())
            || spec.scope_selector.is_some()
    })
}

fn in_scope(pod: &Pod, scope: &str, operator: &str, values: &[String]) -> bool {
    let Some(spec) = &pod.spec else { return false };
    let terminating = spec.active_deadline_seconds.is_some_and(|seconds| seconds >= 0);
    let best_effort = || {
        total(spec, |r| r.requests.as_ref()).values().all(|amount| amount.is_zero())
            && total(spec, |r| r.limits.as_ref()).values().all(|amount| amount.is_zero())
    };
    match scope {
        "Terminating" => terminating,
        "NotTerminating" => !terminating,
        "BestEffort" => best_effort(),
        "NotBestEffort" => !best_effort(),
        "PriorityClass" => {
            let class = spec.priority_class_name.as_ref().filter(|class| !class.is_empty());
            match operator {
                "In" => class.is_some_and(|class| values.contains(class)),
                "NotIn" => class.is_none_or(|class| !values.contains(class)),
                "DoesNotExist" => class.is_none(),
                _ => class.is_some(),
            }
        }
        "CrossNamespacePodAffinity" => crosses_namespaces(spec),
        _ => false,
    }
}

fn crosses_namespaces(spec: &PodSpec) -> bool {
    let Some(affinity) = &spec.affinity else { return false };
    let value = serde_json::to_value(affinity).unwrap_or_default();
    fn crosses(value: &serde_json::Value) -> bool {
        match value {
            serde_json::Value::Object(map) => {
                map.get("namespaces").is_some_and(|n| n.as_array().is_some_and(|a| !a.is_empty()))
                    || map.contains_key("namespaceSelector")
                    || map.values().any(crosses)
            }
            serde_json::Value::Array(list) => list.iter().any(crosses),
            _ => false,
        }
    }
    ["podAffinity", "podAntiAffinity"].iter().any(|kind| value.get(kind).is_some_and(crosses))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(amounts: &Amounts) -> String {
        let words: Vec<_> =
            amounts.iter().map(|(name, amount)| format!("{name}={amount}")).collect();
        words.join(" ")
    }

    #[test]
    fn a_pod_uses_the_larger_of_start_and_run() {
        let pod: Pod = serde_json::from_str(
            r#"{"spec":{
                "initContainers":[
                    {"name":"i","resources":{"requests":{"cpu":"2"}}},
                    {"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}}],
                "containers":[
                    {"name":"a","resources":{"requests":{"cpu":"500m","memory":"1Gi"},"limits":{"cpu":"1"}}},
                    {"name":"b","resources":{"requests":{"cpu":"500m"}}}]}}"#,
        )
        .unwrap();
        assert_eq!(
            said(&of_pod(&pod)),
            "count/pods=1 cpu=2 limits.cpu=1 memory=1Gi pods=1 requests.cpu=2 requests.memory=1Gi"
        );
    }

    #[test]
    fn services_and_claims() {
        let service: Service =
            serde_json::from_str(r#"{"spec":{"type":"NodePort","ports":[{"port":1},{"port":2}]}}"#)
                .unwrap();
        assert_eq!(said(&of_service(&service)), "count/services=1 services=1 services.nodeports=2");
        let claim: PersistentVolumeClaim = serde_json::from_str(
            r#"{"spec":{"storageClassName":"fast","resources":{"requests":{"storage":"5Gi"}}}}"#,
        )
        .unwrap();
        let amounts = of_claim(&claim);
        assert_eq!(amounts["fast.storageclass.storage.k8s.io/requests.storage"].to_string(), "5Gi");
        assert_eq!(amounts["requests.storage"].to_string(), "5Gi");
    }

    #[test]
    fn scopes_choose_pods() {
        let check = |spec: &str, pod: &str, expected: bool| {
            let quota: ResourceQuota =
                serde_json::from_str(&format!(r#"{{"spec":{spec}}}"#)).unwrap();
            let pod: Pod = serde_json::from_str(&format!(r#"{{"spec":{pod}}}"#)).unwrap();
            assert_eq!(is_about(&quota, &pod), expected, "{spec}");
        };
        let plain = r#"{"containers":[]}"#;
        check(r#"{"scopes":["BestEffort","NotTerminating"]}"#, plain, true);
        check(r#"{"scopes":["NotBestEffort"]}"#, plain, false);
        check(
            r#"{"scopes":["Terminating"]}"#,
            r#"{"containers":[],"activeDeadlineSeconds":5}"#,
            true,
        );
        let high = r#"{"scopeSelector":{"matchExpressions":[
            {"scopeName":"PriorityClass","operator":"In","values":["high"]}]}}"#;
        check(high, plain, false);
        check(high, r#"{"containers":[],"priorityClassName":"high"}"#, true);
    }
}
