//! The node's status: pure, from the machine's facts and the runtime's word.

use std::collections::BTreeMap;

use container_runtime::{Image, RuntimeStatus, Version};
use k8s_openapi::api::core::v1::{
    ContainerImage, DaemonEndpoint, Node, NodeAddress, NodeCondition, NodeDaemonEndpoints,
    NodeRuntimeHandler, NodeRuntimeHandlerFeatures, NodeStatus, NodeSwapStatus, NodeSystemInfo,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::machine::Machine;
use crate::options::KubeletOptions;
use crate::quantity;

/// Images of a node are listed up to this many, the largest first.
const IMAGES_MAX: usize = 50;

/// What may be given to pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Allocatable {
    pub(crate) cpu_milli: i64,
    pub(crate) memory_bytes: i64,
    pub(crate) storage_bytes: i64,
    pub(crate) pods: i64,
}

/// What the node has, less what is reserved.
pub(crate) fn allocatable(options: &KubeletOptions, machine: &Machine) -> Allocatable {
    let less = |all: i64, reserved: u64| {
        all.saturating_sub(i64::try_from(reserved).unwrap_or(i64::MAX)).max(0)
    };
    let storage = super::machine::disk(&options.data_dir).map_or(0, |[_, all, ..]| all);
    Allocatable {
        cpu_milli: less(machine.cpus * 1000, options.reserved_cpu_milli),
        memory_bytes: less(machine.memory, options.reserved_memory_bytes),
        // A tenth stays free, so that eviction has something to go on.
        storage_bytes: i64::try_from(storage / 10 * 9).unwrap_or(i64::MAX),
        pods: i64::from(options.max_pods),
    }
}

/// How the node is at a moment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Health {
    /// Why it is not ready; nothing when it is.
    pub(crate) not_ready: Option<String>,
    /// Little memory is left.
    pub(crate) memory_pressure: bool,
    /// Little disk is left.
    pub(crate) disk_pressure: bool,
    /// Few processes are left.
    pub(crate) pid_pressure: bool,
}

/// What the runtime says of itself.
#[derive(Debug, Clone, Default)]
pub(crate) struct RuntimeSays {
    pub(crate) version: Version,
    pub(crate) status: RuntimeStatus,
    pub(crate) images: Vec<Image>,
}

impl RuntimeSays {
    /// Why pods cannot run now; nothing when they can.
    pub(crate) fn not_ready(&self) -> Option<String> {
        let bad = self.status.conditions.iter().filter(|one| !one.status);
        let texts: Vec<_> = bad
            .map(|one| match one.type_.as_str() {
                "NetworkReady" => format!(
                    "container runtime network not ready: NetworkReady=false reason:{} message:{}",
                    one.reason, one.message
                ),
                name => format!(
                    "container runtime not ready: {name}=false reason:{} message:{}",
                    one.reason, one.message
                ),
            })
            .collect();
        (!texts.is_empty()).then(|| format!("[{}]", texts.join(", ")))
    }
}

/// The whole status; what others wrote into `old` (extended resources, foreign conditions) stays.
pub(crate) fn node_status(
    options: &KubeletOptions,
    machine: &Machine,
    says: &RuntimeSays,
    health: &Health,
    old: Option<&Node>,
    now: &Time,
) -> NodeStatus {
    let before = old.and_then(|node| node.status.clone()).unwrap_or_default();
    let (capacity, free) = resources(options, machine);
    let mut conditions = own_conditions(health, &before, now);
    let foreign =
        before.conditions.iter().flatten().filter(|one| !OWN.contains(&one.type_.as_str()));
    conditions.extend(foreign.cloned());
    let port = options.server.as_ref().map(|server| i32::from(server.address.port()));
    NodeStatus {
        addresses: Some(addresses(options, machine)),
        // Of what others say that the node has, nothing is kept back: who adds an extended resource
        // to the capacity alone can use it. (`setters.go`, `MachineInfo`)
        allocatable: Some(joined(before.capacity.as_ref(), free)),
        capacity: Some(joined(before.capacity.as_ref(), capacity)),
        conditions: Some(conditions),
        daemon_endpoints: Some(NodeDaemonEndpoints {
            kubelet_endpoint: Some(DaemonEndpoint { port: port.unwrap_or(10_250) }),
        }),
        images: Some(images(&says.images)),
        node_info: Some(node_info(options, machine, &says.version)),
        runtime_handlers: Some(handlers(&says.status)),
        ..before
    }
}

/// What was there, and in its place what the kubelet knows.
fn joined(
    before: Option<&BTreeMap<String, Quantity>>,
    own: BTreeMap<String, Quantity>,
) -> BTreeMap<String, Quantity> {
    let mut all = before.cloned().unwrap_or_default();
    all.extend(own);
    all
}

/// The conditions that the kubelet writes.
pub(crate) const OWN: [&str; 4] = ["MemoryPressure", "DiskPressure", "PIDPressure", "Ready"];

fn own_conditions(health: &Health, before: &NodeStatus, now: &Time) -> Vec<NodeCondition> {
    let pressure =
        |yes: bool, bad: (&'static str, &'static str), good: (&'static str, &'static str)| {
            let (reason, message) = if yes { bad } else { good };
            (yes, reason, message.to_owned())
        };
    let ready = match &health.not_ready {
        None => (true, "KubeletReady", "kubelet is posting ready status".to_owned()),
        Some(why) => (false, "KubeletNotReady", why.clone()),
    };
    let all = [
        pressure(
            health.memory_pressure,
            ("KubeletHasInsufficientMemory", "kubelet has insufficient memory available"),
            ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
        ),
        pressure(
            health.disk_pressure,
            ("KubeletHasDiskPressure", "kubelet has disk pressure"),
            ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
        ),
        pressure(
            health.pid_pressure,
            ("KubeletHasInsufficientPID", "kubelet has insufficient PID available"),
            ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
        ),
        ready,
    ];
    OWN.iter()
        .zip(all)
        .map(|(name, (holds, reason, message))| {
            let status = if holds { "True" } else { "False" };
            let old = before.conditions.iter().flatten().find(|one| one.type_ == *name);
            let since = old
                .filter(|old| old.status == status)
                .and_then(|old| old.last_transition_time.clone());
            NodeCondition {
                type_: (*name).to_owned(),
                status: status.to_owned(),
                reason: Some(reason.to_owned()),
                message: Some(message),
                last_heartbeat_time: Some(now.clone()),
                last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
            }
        })
        .collect()
}

fn addresses(options: &KubeletOptions, machine: &Machine) -> Vec<NodeAddress> {
    let address = |type_: &str, address: String| NodeAddress { type_: type_.to_owned(), address };
    let ips = options.node_ips.iter().map(|ip| address("InternalIP", ip.to_string()));
    let name = if machine.hostname.is_empty() {
        options.node_name.clone()
    } else {
        machine.hostname.clone()
    };
    ips.chain(std::iter::once(address("Hostname", name))).collect()
}

fn resources(
    options: &KubeletOptions,
    machine: &Machine,
) -> (BTreeMap<String, Quantity>, BTreeMap<String, Quantity>) {
    let free = allocatable(options, machine);
    let storage = super::machine::disk(&options.data_dir).map_or(0, |[_, all, ..]| all);
    let capacity = [
        ("cpu", quantity::whole(machine.cpus)),
        ("memory", quantity::of_bytes(machine.memory)),
        ("ephemeral-storage", quantity::of_bytes(i64::try_from(storage).unwrap_or(i64::MAX))),
        ("pods", quantity::whole(free.pods)),
    ];
    let allocatable = [
        ("cpu", quantity::of_milli(free.cpu_milli)),
        ("memory", quantity::of_bytes(free.memory_bytes)),
        ("ephemeral-storage", quantity::whole(free.storage_bytes)),
        ("pods", quantity::whole(free.pods)),
    ];
    let map =
        |all: [(&str, Quantity); 4]| all.map(|(name, amount)| (name.to_owned(), amount)).into();
    (map(capacity), map(allocatable))
}

fn images(all: &[Image]) -> Vec<ContainerImage> {
    let mut all: Vec<_> = all.iter().collect();
    all.sort_by_key(|image| (std::cmp::Reverse(image.size), image.id.clone()));
    all.truncate(IMAGES_MAX);
    all.into_iter()
        .map(|image| ContainerImage {
            names: Some(
                image.repo_digests.iter().chain(&image.repo_tags).take(5).cloned().collect(),
            ),
            size_bytes: i64::try_from(image.size).ok(),
        })
        .collect()
}

fn node_info(options: &KubeletOptions, machine: &Machine, version: &Version) -> NodeSystemInfo {
    NodeSystemInfo {
        architecture: machine.architecture.to_owned(),
        boot_id: machine.boot_id.clone(),
        container_runtime_version: format!(
            "{}://{}",
            version.runtime_name, version.runtime_version
        ),
        kernel_version: machine.kernel.clone(),
        kube_proxy_version: String::new(),
        kubelet_version: options.version.clone(),
        machine_id: machine.machine_id.clone(),
        operating_system: "linux".to_owned(),
        os_image: machine.os_image.clone(),
        system_uuid: machine.system_uuid.clone(),
        swap: (machine.swap > 0).then_some(NodeSwapStatus { capacity: Some(machine.swap) }),
    }
}

fn handlers(status: &RuntimeStatus) -> Vec<NodeRuntimeHandler> {
    let all = status.runtime_handlers.iter();
    all.map(|handler| NodeRuntimeHandler {
        name: Some(handler.name.clone()),
        features: Some(NodeRuntimeHandlerFeatures {
            recursive_read_only_mounts: Some(handler.recursive_read_only_mounts),
            user_namespaces: Some(handler.user_namespaces),
        }),
    })
    .collect()
}

/// Whether two statuses differ in more than the time of the heartbeat.
pub(crate) fn differs(old: &NodeStatus, new: &NodeStatus) -> bool {
    let without_time = |status: &NodeStatus| {
        let mut status = status.clone();
        for condition in status.conditions.iter_mut().flatten() {
            condition.last_heartbeat_time = None;
        }
        status
    };
    without_time(old) != without_time(new)
}

/// The labels that every node has.
pub(crate) fn labels(options: &KubeletOptions, machine: &Machine) -> BTreeMap<String, String> {
    let mut labels = options.labels.clone();
    for (key, value) in [
        ("kubernetes.io/hostname", options.node_name.as_str()),
        ("kubernetes.io/os", "linux"),
        ("kubernetes.io/arch", machine.architecture),
        ("beta.kubernetes.io/os", "linux"),
        ("beta.kubernetes.io/arch", machine.architecture),
    ] {
        labels.insert(key.to_owned(), value.to_owned());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resources_of_others_are_free_as_long_as_the_node_has_them() {
        let old: Node = serde_json::from_value(json!({"status": {
            "capacity": {"cpu": "999", "example.com/disk": "5"},
            "allocatable": {"cpu": "999", "example.com/gone": "3"},
        }}))
        .unwrap();
        let (options, machine) = (KubeletOptions::default(), Machine::read());
        let (says, health) = (RuntimeSays::default(), Health::default());
        let now = Time(base::clock::Timestamp::UNIX_EPOCH);
        let new = node_status(&options, &machine, &says, &health, Some(&old), &now);
        for resources in [new.capacity.unwrap(), new.allocatable.unwrap()] {
            assert_eq!(resources["example.com/disk"].0, "5");
            assert_ne!(resources["cpu"].0, "999");
            assert!(!resources.contains_key("example.com/gone"));
        }
    }
}
