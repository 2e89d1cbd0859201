//! What objects use of a ResourceQuota, and which quotas are about them. Pure.
//!
//! Admission charges by it when objects are made, the quota controller counts anew by it: the two
//! must never differ. (Kubernetes `pkg/quota/v1/evaluator/core`)

mod scope;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::resource::v1::{DeviceRequest, ResourceClaim};

use crate::names::GroupResource;
use crate::pod_resources::{self, add, parse};
use crate::quantity::Quantity;

pub use crate::pod_resources::Amounts;
pub use scope::is_in_scopes;

/// Resources of the core group that are counted under their plain names too.
const PLAIN: [&str; 4] = ["configmaps", "replicationcontrollers", "resourcequotas", "secrets"];

/// How many devices a request for all of them is charged; upstream's `AllocationResultsMaxSize`.
const ALL_DEVICES: i64 = 32;

const STORAGE_CLASS: &str = ".storageclass.storage.k8s.io/";
const DEVICE_CLASS: &str = ".deviceclass.resource.k8s.io/devices";

/// What a quota may be about.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A pod: its number, and what its containers ask for until it has ended.
    Pod(&'a Pod),
    /// A service: its number, its node ports and load balancers.
    Service(&'a Service),
    /// A claim of storage: its number and its size, also by class.
    Claim(&'a PersistentVolumeClaim),
    /// A claim of devices: its number and its devices by class.
    Devices(&'a ResourceClaim),
    /// Anything else: its number.
    Other(&'a GroupResource),
}

fn one() -> Quantity {
    Quantity::from_int(1)
}

fn number(count: usize) -> Quantity {
    Quantity::from_int(i64::try_from(count).unwrap_or(i64::MAX))
}

/// The name under which the number of a resource's objects is limited.
#[must_use]
pub fn count_name(resource: &GroupResource) -> String {
    format!("count/{resource}")
}

/// The names under which a resource without more to it is counted.
fn count_names(resource: &GroupResource) -> impl Iterator<Item = String> {
    let plain = resource.group.is_empty() && PLAIN.contains(&&*resource.resource);
    let plain = plain.then(|| resource.resource.to_string());
    std::iter::once(count_name(resource)).chain(plain)
}

/// The resource whose objects a limit counts and does not measure: `count/widgets.example.com`,
/// `secrets`. `None` for limits of pods, services and claims, which cost more than their number.
#[must_use]
pub fn counted_resource(limit: &str) -> Option<GroupResource> {
    let name = match limit.strip_prefix("count/") {
        Some(name) => name,
        None => PLAIN.contains(&limit).then_some(limit)?,
    };
    let measured = ["pods", "services", "persistentvolumeclaims", "resourceclaims.resource.k8s.io"];
    if measured.contains(&name) {
        return None;
    }
    let (resource, group) = name.split_once('.').unwrap_or((name, ""));
    Some(GroupResource::new(group, resource))
}

impl Item<'_> {
    /// What the object uses at a time.
    #[must_use]
    pub fn usage(&self, now: Timestamp) -> Amounts {
        match self {
            Self::Pod(pod) => of_pod(pod, now),
            Self::Service(service) => of_service(service),
            Self::Claim(claim) => of_claim(claim),
            Self::Devices(claim) => of_devices(claim),
            Self::Other(resource) => count_names(resource).map(|name| (name, one())).collect(),
        }
    }

    /// Whether a limit is of the kind that this object uses something of.
    #[must_use]
    pub fn is_limited_by(&self, limit: &str) -> bool {
        match self {
            Self::Pod(_) => is_pod_limit(limit),
            Self::Service(_) => matches!(
                limit,
                "count/services" | "services" | "services.nodeports" | "services.loadbalancers"
            ),
            Self::Claim(_) => {
                matches!(
                    limit,
                    "count/persistentvolumeclaims" | "persistentvolumeclaims" | "requests.storage"
                ) || limit.contains(STORAGE_CLASS)
            }
            Self::Devices(_) => {
                limit == "count/resourceclaims.resource.k8s.io" || limit.ends_with(DEVICE_CLASS)
            }
            Self::Other(resource) => count_names(resource).any(|name| name == limit),
        }
    }
}

fn is_pod_limit(limit: &str) -> bool {
    let rest = limit.strip_prefix("requests.").unwrap_or(limit);
    if matches!(limit, "count/pods" | "pods") || rest.starts_with("hugepages-") {
        return true;
    }
    let plain = rest.strip_prefix("limits.").unwrap_or(rest);
    matches!(plain, "cpu" | "memory" | "ephemeral-storage") || (rest != limit && is_extended(rest))
}

/// Whether a resource is none of Kubernetes' own.
#[must_use]
pub fn is_extended(resource: &str) -> bool {
    resource.contains('/')
        && !resource.contains("kubernetes.io/")
        && !resource.starts_with("requests.")
}

/// Whether a pod holds what it asked for: it has not ended, and it is not one that should be gone
/// for long, whose node nobody hears of.
fn holds(pod: &Pod, now: Timestamp) -> bool {
    let phase = pod.status.as_ref().and_then(|status| status.phase.as_deref());
    if matches!(phase, Some("Succeeded" | "Failed")) {
        return false;
    }
    let deleted = pod.metadata.deletion_timestamp.as_ref();
    match (deleted, pod.metadata.deletion_grace_period_seconds) {
        (Some(deleted), Some(grace)) => {
            let due = deleted.0.checked_add(SignedDuration::from_secs(grace));
            due.is_ok_and(|due| now <= due)
        }
        _ => true,
    }
}

fn of_pod(pod: &Pod, now: Timestamp) -> Amounts {
    let mut amounts = Amounts::from([("count/pods".to_owned(), one())]);
    if pod.spec.is_none() || !holds(pod, now) {
        return amounts;
    }
    add(&mut amounts, "pods", one());
    let (requests, limits) =
        (pod_resources::requests_in_use(pod), pod_resources::limits_in_use(pod));
    amounts.append(&mut compute_usage(&requests, &limits));
    amounts
}

/// Requests and limits under the names that quotas have for them.
fn compute_usage(requests: &Amounts, limits: &Amounts) -> Amounts {
    let mut amounts = Amounts::new();
    for (resource, amount) in requests {
        let own = matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage")
            || resource.starts_with("hugepages-");
        if own {
            add(&mut amounts, resource, *amount);
        }
        if own || is_extended(resource) {
            add(&mut amounts, &format!("requests.{resource}"), *amount);
        }
    }
    for (resource, amount) in limits {
        if matches!(resource.as_str(), "cpu" | "memory" | "ephemeral-storage") {
            add(&mut amounts, &format!("limits.{resource}"), *amount);
        }
    }
    amounts
}

/// What every container must say where a quota limits it. Backward compatibility of upstream's:
/// only for processor and memory, and not for pods that say it of the whole.
const DEMANDED: [&str; 6] =
    ["cpu", "limits.cpu", "limits.memory", "memory", "requests.cpu", "requests.memory"];

/// What a pod leaves out that the limits demand: `must specify memory for: a,b`.
#[must_use]
pub fn missing(pod: &Pod, limits: &[&str]) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let whole = spec.resources.as_ref();
    if whole.is_some_and(|all| all.requests.is_some() || all.limits.is_some()) {
        return None;
    }
    let containers = spec.containers.iter().chain(spec.init_containers.iter().flatten());
    let said: Vec<(&str, Amounts)> = containers
        .map(|container| {
            let resources = container.resources.clone().unwrap_or_default();
            let listed = |list: Option<std::collections::BTreeMap<String, _>>| -> Amounts {
                list.into_iter().flatten().map(|(name, text)| (name, parse(&text))).collect()
            };
            let usage = compute_usage(&listed(resources.requests), &listed(resources.limits));
            (container.name.as_str(), usage)
        })
        .collect();
    let mut texts = Vec::new();
    for demanded in DEMANDED.iter().filter(|name| limits.contains(name)) {
        let mut without: Vec<&str> = said
            .iter()
            .filter(|(_, usage)| !usage.contains_key(*demanded))
            .map(|(name, _)| *name)
            .collect();
        without.sort_unstable();
        without.dedup();
        if !without.is_empty() {
            texts.push(format!("{demanded} for: {}", without.join(",")));
        }
    }
    (!texts.is_empty()).then(|| format!("must specify {}", texts.join("; ")))
}

fn of_service(service: &Service) -> Amounts {
    let mut amounts = Amounts::from([
        ("count/services".to_owned(), one()),
        ("services".to_owned(), one()),
        ("services.loadbalancers".to_owned(), Quantity::from_int(0)),
        ("services.nodeports".to_owned(), Quantity::from_int(0)),
    ]);
    let Some(spec) = &service.spec else { return amounts };
    let ports = || spec.ports.iter().flatten();
    match spec.type_.as_deref() {
        Some("NodePort") => add(&mut amounts, "services.nodeports", number(ports().count())),
        Some("LoadBalancer") => {
            let given = |port: &&k8s_openapi::api::core::v1::ServicePort| {
                port.node_port.is_some_and(|port| port != 0)
            };
            let count = match spec.allocate_load_balancer_node_ports {
                Some(false) => ports().filter(given).count(),
                _ => ports().count(),
            };
            add(&mut amounts, "services.loadbalancers", one());
            add(&mut amounts, "services.nodeports", number(count));
        }
        _ => {}
    }
    amounts
}

/// The class of a claim, in its old form or its new one.
fn storage_class(claim: &PersistentVolumeClaim) -> Option<&str> {
    let annotations = claim.metadata.annotations.as_ref();
    let old = annotations.and_then(|all| all.get("volume.beta.kubernetes.io/storage-class"));
    let own = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_ref());
    old.or(own).map(String::as_str).filter(|class| !class.is_empty())
}

fn of_claim(claim: &PersistentVolumeClaim) -> Amounts {
    let mut amounts = Amounts::from([
        ("count/persistentvolumeclaims".to_owned(), one()),
        ("persistentvolumeclaims".to_owned(), one()),
    ]);
    let class = storage_class(claim);
    if let Some(class) = class {
        add(&mut amounts, &format!("{class}{STORAGE_CLASS}persistentvolumeclaims"), one());
    }
    let spec = claim.spec.as_ref().and_then(|spec| spec.resources.as_ref());
    let asked = spec.and_then(|resources| resources.requests.as_ref()?.get("storage"));
    // A claim that is being shrunk back holds what it was given.
    let status = claim.status.as_ref();
    let held = status.and_then(|status| status.allocated_resources.as_ref()?.get("storage"));
    if let Some(size) = asked.into_iter().chain(held).map(parse).max() {
        add(&mut amounts, "requests.storage", size);
        if let Some(class) = class {
            add(&mut amounts, &format!("{class}{STORAGE_CLASS}requests.storage"), size);
        }
    }
    amounts
}

fn of_devices(claim: &ResourceClaim) -> Amounts {
    let mut amounts = Amounts::from([("count/resourceclaims.resource.k8s.io".to_owned(), one())]);
    for request in claim.spec.devices.iter().flat_map(|all| all.requests.iter().flatten()) {
        for (class, count) in devices(request) {
            add(&mut amounts, &format!("{class}{DEVICE_CLASS}"), Quantity::from_int(count));
        }
    }
    amounts
}

/// The devices of a request by class; of alternatives the costliest of each class.
fn devices(request: &DeviceRequest) -> Vec<(&str, i64)> {
    let count = |mode: Option<&str>, count: Option<i64>| match mode {
        Some("All") => ALL_DEVICES,
        _ => count.unwrap_or(1),
    };
    if let Some(exactly) = &request.exactly {
        let wanted = count(exactly.allocation_mode.as_deref(), exactly.count);
        return vec![(&exactly.device_class_name, wanted)];
    }
    let mut most: Vec<(&str, i64)> = Vec::new();
    for one in request.first_available.iter().flatten() {
        let wanted = count(one.allocation_mode.as_deref(), one.count);
        match most.iter_mut().find(|(class, _)| *class == one.device_class_name) {
            Some((_, known)) => *known = wanted.max(*known),
            None => most.push((&one.device_class_name, wanted)),
        }
    }
    most
}

#[cfg(test)]
mod tests;
