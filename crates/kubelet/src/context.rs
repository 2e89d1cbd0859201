//! What all pod workers of a node share.

use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;

use base::clock::SharedClock;
use base::rng::SharedRng;
use container_runtime::{DnsConfig, RuntimeService};
use k8s_openapi::api::core::v1::Pod;
use reconcile::Writer;
use reconcile::recorder::Recorder;

use crate::allocation::Allocations;
use crate::config::dns::ClusterDns;
use crate::env::downward::Place;
use crate::images::Images;
use crate::node::machine::Machine;
use crate::objects::Objects;
use crate::options::KubeletOptions;
use crate::seams::EndpointGate;
use crate::status::Verdict;
use crate::volumes::token::Tokens;
use crate::{admit, node, pod, quantity};

/// The node, as its pod workers see it.
pub(crate) struct NodeContext {
    pub(crate) options: KubeletOptions,
    pub(crate) machine: Machine,
    pub(crate) runtime: Arc<dyn RuntimeService>,
    /// The scheme of container ids.
    pub(crate) runtime_name: String,
    pub(crate) images: Images,
    pub(crate) objects: Objects,
    pub(crate) allocations: Allocations,
    pub(crate) tokens: Tokens,
    /// None in tests without a server: nothing is reported.
    pub(crate) writer: Option<Writer>,
    pub(crate) recorder: Recorder,
    pub(crate) gate: Arc<dyn EndpointGate>,
    pub(crate) clock: SharedClock,
    pub(crate) rng: SharedRng,
    pub(crate) host_dns: DnsConfig,
    /// Whether this process may mount.
    pub(crate) may_mount: bool,
}

impl NodeContext {
    /// The folder of a pod.
    pub(crate) fn pod_dir(&self, uid: &str) -> PathBuf {
        self.options.data_dir.join("pods").join(uid)
    }

    /// Whether a pod fits beside others, as long as the node is known.
    pub(crate) fn judge(&self, pod: &Pod, others: &[Arc<Pod>]) -> Option<Verdict> {
        let node = self.objects.nodes.get("", &self.options.node_name)?;
        admit::admit(pod, others, &node, &node::status::allocatable(&self.options, &self.machine))
    }

    /// A pod of this node takes nothing any more.
    pub(crate) fn release(&self, uid: &str, gone: bool) {
        let judge = |pod: &Pod, others: &[Arc<Pod>]| self.judge(pod, others);
        self.allocations.release(uid, gone, self.clock.now(), &judge);
    }

    /// The node's addresses as text.
    pub(crate) fn host_ips(&self) -> Vec<String> {
        self.options.node_ips.iter().map(IpAddr::to_string).collect()
    }

    /// The resolver of the cluster.
    pub(crate) fn cluster_dns(&self) -> ClusterDns {
        ClusterDns {
            servers: self.options.cluster_dns.iter().map(IpAddr::to_string).collect(),
            domain: self.options.cluster_domain.clone(),
        }
    }

    /// Where a pod is, for the downward API.
    pub(crate) fn place(&self, pod: &Pod, pod_ips: Vec<String>) -> Place {
        let on_node = pod::is_host_network(pod);
        let host_ips = self.host_ips();
        let allocatable = node::status::allocatable(&self.options, &self.machine);
        Place {
            pod_ips: if on_node && pod_ips.is_empty() { host_ips.clone() } else { pod_ips },
            host_ips,
            allocatable_cpu: Some(quantity::of_milli(allocatable.cpu_milli)),
            allocatable_memory: Some(quantity::whole(allocatable.memory_bytes)),
            allocatable_storage: Some(quantity::whole(allocatable.storage_bytes)),
        }
    }

    /// The kubelet's name towards those whom it asks.
    pub(crate) fn probe_agent(&self) -> String {
        let version = self.options.version.trim_start_matches('v');
        let mut parts = version.split('.');
        format!("kube-probe/{}.{}", parts.next().unwrap_or("1"), parts.next().unwrap_or("36"))
    }
}
