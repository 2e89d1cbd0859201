//! Messages about pod sandboxes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::{LinuxContainerResources, SeLinuxOption, SecurityProfile};

/// What identifies a sandbox to the kubelet.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandboxMetadata {
    /// The pod's name.
    pub name: String,
    /// The pod's UID.
    pub uid: String,
    /// The pod's namespace.
    pub namespace: String,
    /// How often the sandbox was made anew.
    pub attempt: u32,
}

/// Everything needed to run a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandboxConfig {
    /// Identity.
    pub metadata: PodSandboxMetadata,
    /// Host name inside the sandbox; empty with host network.
    pub hostname: String,
    /// The folder under which the containers' `log_path`s lie.
    pub log_directory: String,
    /// What goes into the containers' resolv.conf.
    pub dns_config: Option<DnsConfig>,
    /// Host ports.
    pub port_mappings: Vec<PortMapping>,
    /// Labels, for filters.
    pub labels: BTreeMap<String, String>,
    /// Annotations, kept unread.
    pub annotations: BTreeMap<String, String>,
    /// The Linux part.
    pub linux: LinuxPodSandboxConfig,
}

/// DNS settings of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsConfig {
    /// `nameserver` lines.
    pub servers: Vec<String>,
    /// The `search` line.
    pub searches: Vec<String>,
    /// The `options` line.
    pub options: Vec<String>,
}

/// The transport of a port.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Protocol {
    /// TCP.
    #[default]
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
}

/// A port of the host that leads into the sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PortMapping {
    /// Transport.
    pub protocol: Protocol,
    /// Port inside.
    pub container_port: u16,
    /// Port of the host.
    pub host_port: u16,
    /// Address of the host; empty for all.
    pub host_ip: String,
}

/// Whose namespace of a kind a sandbox or container uses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum NamespaceMode {
    /// Shared by the pod's containers.
    #[default]
    Pod,
    /// The container's own.
    Container,
    /// The node's.
    Node,
    /// That of another container, named by `target_id`.
    Target,
}

/// The namespaces of a sandbox or container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamespaceOption {
    /// Network: `Pod` or `Node`.
    pub network: NamespaceMode,
    /// Processes. CRI's default of a kubelet is `Container`, that of this message is `Pod`.
    pub pid: NamespaceMode,
    /// System V IPC and POSIX queues: `Pod` or `Node`.
    pub ipc: NamespaceMode,
    /// The container whose PID namespace is entered with [`NamespaceMode::Target`].
    pub target_id: String,
    /// A user namespace, or none.
    pub userns_options: Option<UserNamespace>,
}

/// A user namespace of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct UserNamespace {
    /// `Pod` for its own, `Node` for none.
    pub mode: NamespaceMode,
    /// User ids.
    pub uids: Vec<IdMapping>,
    /// Group ids.
    pub gids: Vec<IdMapping>,
}

/// A range of mapped ids.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct IdMapping {
    /// First id on the host.
    pub host_id: u32,
    /// First id inside.
    pub container_id: u32,
    /// How many.
    pub length: u32,
}

/// The Linux part of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxPodSandboxConfig {
    /// The cgroup under which the sandbox's containers live, as a cgroupfs path.
    pub cgroup_parent: String,
    /// Users, namespaces and profiles.
    pub security_context: LinuxSandboxSecurityContext,
    /// Sysctls by dotted name.
    pub sysctls: BTreeMap<String, String>,
    /// What the sandbox itself costs.
    pub overhead: Option<LinuxContainerResources>,
    /// The sum of the containers' resources.
    pub resources: Option<LinuxContainerResources>,
}

/// Security of a sandbox.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxSandboxSecurityContext {
    /// Namespaces.
    pub namespace_options: NamespaceOption,
    /// SELinux label.
    pub selinux_options: Option<SeLinuxOption>,
    /// User of the sandbox's processes.
    pub run_as_user: Option<i64>,
    /// Group of the sandbox's processes.
    pub run_as_group: Option<i64>,
    /// Whether the sandbox's root is read-only.
    pub readonly_rootfs: bool,
    /// Supplemental groups.
    pub supplemental_groups: Vec<i64>,
    /// Whether a container of the sandbox will be privileged.
    pub privileged: bool,
    /// Seccomp of the sandbox.
    pub seccomp: Option<SecurityProfile>,
    /// AppArmor of the sandbox.
    pub apparmor: Option<SecurityProfile>,
}

/// Whether a sandbox is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PodSandboxState {
    /// It can run containers.
    Ready,
    /// It was stopped, or its shim died.
    #[default]
    NotReady,
}

/// A sandbox in a list.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandbox {
    /// Id.
    pub id: String,
    /// Identity.
    pub metadata: PodSandboxMetadata,
    /// State.
    pub state: PodSandboxState,
    /// When it was made, nanoseconds since 1970.
    pub created_at: i64,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The handler it runs on.
    pub runtime_handler: String,
}

/// A sandbox in full.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandboxStatus {
    /// Id.
    pub id: String,
    /// Identity.
    pub metadata: PodSandboxMetadata,
    /// State.
    pub state: PodSandboxState,
    /// When it was made, nanoseconds since 1970.
    pub created_at: i64,
    /// Addresses; none with host network.
    pub network: Option<PodSandboxNetworkStatus>,
    /// Namespaces.
    pub linux: LinuxPodSandboxStatus,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The handler it runs on.
    pub runtime_handler: String,
}

/// The namespaces that a sandbox was given.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LinuxPodSandboxStatus {
    /// Namespaces.
    pub namespaces: NamespaceOption,
}

/// A sandbox's addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandboxNetworkStatus {
    /// The first address.
    pub ip: String,
    /// Those of other families.
    pub additional_ips: Vec<String>,
}

/// Which sandboxes to list; what is empty does not restrict.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodSandboxFilter {
    /// Exactly this id.
    pub id: String,
    /// Only this state.
    pub state: Option<PodSandboxState>,
    /// All of these labels.
    pub label_selector: BTreeMap<String, String>,
}

impl PodSandboxFilter {
    /// Whether a sandbox passes.
    #[must_use]
    pub fn matches(&self, sandbox: &PodSandbox) -> bool {
        (self.id.is_empty() || self.id == sandbox.id)
            && self.state.is_none_or(|state| state == sandbox.state)
            && self.label_selector.iter().all(|(key, value)| sandbox.labels.get(key) == Some(value))
    }
}
