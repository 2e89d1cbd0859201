//! Messages about the runtime itself.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The versions of a runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// Of the kubelet's runtime API.
    pub version: String,
    /// As `ferry` or `containerd`; the scheme of `containerID`.
    pub runtime_name: String,
    /// Of the runtime.
    pub runtime_version: String,
    /// `v1`.
    pub runtime_api_version: String,
}

/// One condition of a runtime: `RuntimeReady` or `NetworkReady`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeCondition {
    /// Its name (`type` in the message).
    pub type_: String,
    /// Whether it holds.
    pub status: bool,
    /// One word why not.
    pub reason: String,
    /// A sentence why not.
    pub message: String,
}

/// The state of a runtime.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeStatus {
    /// `RuntimeReady` and `NetworkReady`.
    pub conditions: Vec<RuntimeCondition>,
    /// The handlers that `run_pod_sandbox` takes; the empty name is the default.
    pub runtime_handlers: Vec<RuntimeHandler>,
    /// What a person may want to know.
    pub info: BTreeMap<String, String>,
}

impl RuntimeStatus {
    /// Whether a condition is there and holds.
    #[must_use]
    pub fn holds(&self, condition: &str) -> bool {
        self.conditions.iter().any(|c| c.type_ == condition && c.status)
    }
}

/// A handler and what it can do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeHandler {
    /// Its name.
    pub name: String,
    /// Whether it makes submounts read-only.
    pub recursive_read_only_mounts: bool,
    /// Whether it has user namespaces.
    pub user_namespaces: bool,
}

/// What the kubelet tells a runtime while it runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RuntimeConfig {
    /// The node's pod ranges, comma-separated.
    pub pod_cidr: String,
}

/// Who manages cgroups.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum CgroupDriver {
    /// Files under /sys/fs/cgroup.
    #[default]
    Cgroupfs,
    /// systemd's units.
    Systemd,
}
