//! A pod as the scheduler sees it: the object and what is asked of it again and again.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Pod, PodSpec};

use super::{Resources, ScoredRequests};

/// A pod with its requests worked out once.
#[derive(Debug, Clone)]
pub struct PodInfo {
    /// The object.
    pub pod: Arc<Pod>,
    /// `NAMESPACE/NAME`.
    pub key: String,
    /// What it asks for.
    pub requests: Resources,
    /// What it counts as when nodes are scored.
    pub scored: ScoredRequests,
    /// Host ports: protocol, address (`0.0.0.0` for all) and port.
    pub host_ports: Vec<HostPort>,
    /// `spec.priority`, 0 when unset.
    pub priority: i32,
}

/// A port on the node.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct HostPort {
    /// `TCP`, `UDP`, `SCTP`.
    pub protocol: String,
    /// The address, `0.0.0.0` for all.
    pub address: String,
    /// The port.
    pub port: i32,
}

impl HostPort {
    /// Whether two containers cannot have these ports at once.
    #[must_use]
    pub fn conflicts_with(&self, other: &Self) -> bool {
        self.port == other.port
            && self.protocol == other.protocol
            && (self.address == other.address
                || self.address == "0.0.0.0"
                || other.address == "0.0.0.0")
    }
}

impl PodInfo {
    /// Works out what the scheduler needs of a pod.
    #[must_use]
    pub fn new(pod: Arc<Pod>) -> Self {
        let requests = Resources::requested_by(&pod);
        let spec = pod.spec.as_ref();
        let host_ports = spec.map(host_ports).unwrap_or_default();
        let priority = spec.and_then(|spec| spec.priority).unwrap_or_default();
        let key = format!(
            "{}/{}",
            pod.metadata.namespace.as_deref().unwrap_or_default(),
            pod.metadata.name.as_deref().unwrap_or_default()
        );
        let scored = ScoredRequests::of(&requests);
        Self { pod, key, requests, scored, host_ports, priority }
    }

    /// The spec; an empty one for the impossible pod without.
    #[must_use]
    pub fn spec(&self) -> &PodSpec {
        static EMPTY: std::sync::OnceLock<PodSpec> = std::sync::OnceLock::new();
        self.pod.spec.as_ref().unwrap_or_else(|| EMPTY.get_or_init(PodSpec::default))
    }

    /// The pod's namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        self.pod.metadata.namespace.as_deref().unwrap_or_default()
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.pod.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }
}

fn host_ports(spec: &PodSpec) -> Vec<HostPort> {
    let sidecars = spec
        .init_containers
        .iter()
        .flatten()
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    spec.containers
        .iter()
        .chain(sidecars)
        .flat_map(|container| container.ports.iter().flatten())
        .filter_map(|port| {
            let number = port.host_port.filter(|number| *number > 0)?;
            let address = port.host_ip.clone().filter(|address| !address.is_empty());
            Some(HostPort {
                protocol: port.protocol.clone().unwrap_or_else(|| "TCP".to_owned()),
                address: address.unwrap_or_else(|| "0.0.0.0".to_owned()),
                port: number,
            })
        })
        .collect()
}
