//! Messages about usage.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::container::ContainerMetadata;
use crate::sandbox::PodSandboxMetadata;

/// CPU used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct CpuUsage {
    /// When it was read, nanoseconds since 1970.
    pub timestamp: i64,
    /// Since the start, over all cores.
    pub usage_core_nano_seconds: Option<u64>,
    /// Now, in billionths of a core; none until there are two readings.
    pub usage_nano_cores: Option<u64>,
}

/// Memory used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MemoryUsage {
    /// When it was read, nanoseconds since 1970.
    pub timestamp: i64,
    /// Usage without the inactive file cache; what eviction looks at.
    pub working_set_bytes: Option<u64>,
    /// Limit less working set; none without a limit.
    pub available_bytes: Option<u64>,
    /// All.
    pub usage_bytes: Option<u64>,
    /// Anonymous memory.
    pub rss_bytes: Option<u64>,
    /// Page faults.
    pub page_faults: Option<u64>,
    /// Page faults that read from disk.
    pub major_page_faults: Option<u64>,
}

/// A filesystem's use.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct FilesystemUsage {
    /// When it was read, nanoseconds since 1970.
    pub timestamp: i64,
    /// Where it lies (`fs_id.mountpoint` in the message).
    pub mountpoint: String,
    /// Bytes used.
    pub used_bytes: Option<u64>,
    /// Inodes used.
    pub inodes_used: Option<u64>,
}

/// Whose usage it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerAttributes {
    /// Id.
    pub id: String,
    /// Identity.
    pub metadata: ContainerMetadata,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A container's usage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ContainerStats {
    /// Whose.
    pub attributes: ContainerAttributes,
    /// CPU.
    pub cpu: Option<CpuUsage>,
    /// Memory.
    pub memory: Option<MemoryUsage>,
    /// Disk.
    pub writable_layer: Option<FilesystemUsage>,
}

/// Whose usage it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandboxAttributes {
    /// Id.
    pub id: String,
    /// Identity.
    pub metadata: PodSandboxMetadata,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
}

/// One interface's counters.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkInterfaceUsage {
    /// Name inside the sandbox.
    pub name: String,
    /// Bytes in.
    pub rx_bytes: Option<u64>,
    /// Errors in.
    pub rx_errors: Option<u64>,
    /// Bytes out.
    pub tx_bytes: Option<u64>,
    /// Errors out.
    pub tx_errors: Option<u64>,
}

/// Network used.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkUsage {
    /// When it was read, nanoseconds since 1970.
    pub timestamp: i64,
    /// The interface of the default route.
    pub default_interface: Option<NetworkInterfaceUsage>,
    /// The others.
    pub interfaces: Vec<NetworkInterfaceUsage>,
}

/// A sandbox's usage.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PodSandboxStats {
    /// Whose.
    pub attributes: PodSandboxAttributes,
    /// CPU of all its containers.
    pub cpu: Option<CpuUsage>,
    /// Memory of all its containers.
    pub memory: Option<MemoryUsage>,
    /// Network; none with host network.
    pub network: Option<NetworkUsage>,
    /// Processes.
    pub process_count: Option<u64>,
    /// Its containers.
    pub containers: Vec<ContainerStats>,
}
