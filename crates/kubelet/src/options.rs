//! What a kubelet is told when it is made.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use crate::seams::{InProcessPart, ServerAccess};

/// A node's settings.
#[derive(Debug, Clone)]
pub struct KubeletOptions {
    /// The node's name.
    pub node_name: String,
    /// The node's addresses, the primary one first.
    pub node_ips: Vec<IpAddr>,
    /// Where pods' folders are made: `DATA/agent`.
    pub data_dir: PathBuf,
    /// Where containers' logs are: `/var/log/pods`.
    pub log_dir: PathBuf,
    /// Where the node's static pods are read from, if it has any.
    pub static_pod_dir: Option<PathBuf>,
    /// The addresses of the cluster's DNS service.
    pub cluster_dns: Vec<IpAddr>,
    /// The cluster's domain.
    pub cluster_domain: String,
    /// The node's own range of pod addresses, if it is known beforehand.
    pub pod_cidr: Option<String>,
    /// How many pods the node takes.
    pub max_pods: u32,
    /// Whether to make the Node object when it is not there.
    pub register: bool,
    /// Labels to register the node with.
    pub labels: BTreeMap<String, String>,
    /// Whether this process watches the pods of its node only, because no other part of it needs
    /// them all.
    pub own_scope: bool,
    /// The HTTPS server, if there is to be one.
    pub server: Option<ServerOptions>,
    /// The parts of the control plane in this process.
    pub parts: Vec<Arc<dyn InProcessPart>>,
    /// `gitVersion` of this program.
    pub version: String,
    /// Memory that is not for pods, bytes.
    pub reserved_memory_bytes: u64,
    /// CPU that is not for pods, thousandths of a core.
    pub reserved_cpu_milli: u64,
    /// A container's log is turned over at this size.
    pub log_size_max_bytes: u64,
    /// How many files of a container's log are kept.
    pub log_files_max: u32,
    /// Whether volumes are mounted (memory, `subPath`), as far as this process may. Without, they
    /// are plain folders.
    pub may_mount: bool,
}

/// The kubelet's own server.
#[derive(Clone)]
pub struct ServerOptions {
    /// Where it listens, port 10250.
    pub address: SocketAddr,
    /// Its certificate, and the verifier of clients' certificates.
    pub tls: Arc<rustls::ServerConfig>,
    /// Who may use it.
    pub access: Arc<dyn ServerAccess>,
}

impl std::fmt::Debug for ServerOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerOptions").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Default for KubeletOptions {
    fn default() -> Self {
        Self {
            node_name: "node".to_owned(),
            node_ips: Vec::new(),
            data_dir: PathBuf::from("/var/lib/ferry/agent"),
            log_dir: PathBuf::from("/var/log/pods"),
            static_pod_dir: None,
            cluster_dns: Vec::new(),
            cluster_domain: "cluster.local".to_owned(),
            pod_cidr: None,
            max_pods: 110,
            register: true,
            labels: BTreeMap::new(),
            own_scope: false,
            server: None,
            parts: Vec::new(),
            version: "v1.36.0+ferry0".to_owned(),
            reserved_memory_bytes: 0,
            reserved_cpu_milli: 0,
            log_size_max_bytes: 10 << 20,
            log_files_max: 5,
            may_mount: true,
        }
    }
}
