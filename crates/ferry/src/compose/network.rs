//! The pod network as the runtime sees it: not there until the node has its range of addresses.

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use async_trait::async_trait;
use container_native::{Attach, Network};
use container_runtime::Protocol;
use net::delivery::Undelivered;
use net::netns::NetNs;
use net::pod_network::{self, HostPort, PodNetwork};
use parking_lot::Mutex;
use tokio::sync::watch;

/// How long the last bytes of a pod may take to arrive. The kernel sends them again after 0.2 s,
/// and again after 0.4 s more.
const SETTLE: Duration = Duration::from_secs(1);

/// The pod network, once it is up.
#[derive(Debug)]
pub(crate) struct NodeNetwork {
    state: watch::Sender<State>,
    /// Which sandboxes still run, when the runtime has said so before the network was up.
    retained: Mutex<Option<Vec<String>>>,
}

#[derive(Debug, Clone)]
enum State {
    /// The node has no range of addresses yet.
    Waiting,
    /// It is up.
    Up(PodNetwork),
    /// It cannot be brought up, for this reason.
    Failed(String),
}

impl Default for NodeNetwork {
    fn default() -> Self {
        Self { state: watch::Sender::new(State::Waiting), retained: Mutex::default() }
    }
}

impl NodeNetwork {
    /// The network is up.
    pub(crate) async fn set(&self, network: PodNetwork) -> Result<(), String> {
        let retained = self.retained.lock().take();
        if let Some(ids) = retained {
            network.retain(ids).await.map_err(|error| error.to_string())?;
        }
        self.state.send_replace(State::Up(network));
        Ok(())
    }

    /// The network cannot be brought up.
    pub(crate) fn fail(&self, why: String) {
        self.state.send_replace(State::Failed(why));
    }

    async fn up(&self) -> Result<PodNetwork, String> {
        let mut state = self.state.subscribe();
        let decided = state.wait_for(|state| !matches!(state, State::Waiting)).await;
        match &*decided.map_err(|_| "the node stops".to_owned())? {
            State::Up(network) => Ok(network.clone()),
            State::Failed(why) => Err(why.clone()),
            State::Waiting => Err("the node has no range of addresses yet".to_owned()),
        }
    }
}

#[async_trait]
impl Network for NodeNetwork {
    async fn attach(&self, request: &Attach) -> Result<Vec<IpAddr>, String> {
        let network = self.up().await?;
        let netns = NetNs::open(&request.netns).map_err(|error| error.to_string())?;
        let ports = request.port_mappings.iter().filter_map(host_port).collect();
        let attached = network
            .attach(&request.sandbox_id, netns, ports)
            .await
            .map_err(|error| base::error::Chain(&error).to_string())?;
        Ok(attached.ips)
    }

    async fn settle(&self, netns: &Path) {
        // A namespace that is gone has nothing more to say.
        let Ok(namespace) = NetNs::open(netns) else { return };
        let settled = async { Undelivered::of(&namespace)?.none().await };
        match tokio::time::timeout(SETTLE, settled).await {
            Ok(Ok(())) => {}
            // Peers that take nothing any more do not keep the pod.
            Err(_) => tracing::debug!(netns = %netns.display(), "a pod goes with words unsaid"),
            Ok(Err(error)) => {
                let error = base::error::Chain(&error);
                tracing::warn!(%error, "whether a pod's last answers arrived is not known");
            }
        }
    }

    async fn detach(&self, sandbox_id: &str) -> Result<(), String> {
        let network = self.up().await?;
        network.detach(sandbox_id).await.map_err(|error| base::error::Chain(&error).to_string())
    }

    async fn retain(&self, sandbox_ids: &[String]) -> Result<(), String> {
        let up = match &*self.state.borrow() {
            State::Up(network) => Some(network.clone()),
            _ => None,
        };
        match up {
            Some(network) => {
                network.retain(sandbox_ids.to_vec()).await.map_err(|error| error.to_string())
            }
            None => {
                *self.retained.lock() = Some(sandbox_ids.to_vec());
                Ok(())
            }
        }
    }

    async fn status(&self) -> Result<(), String> {
        match &*self.state.borrow() {
            State::Up(_) => Ok(()),
            State::Waiting => Err("the node has no range of addresses yet".to_owned()),
            State::Failed(why) => Err(why.clone()),
        }
    }
}

/// A CRI port mapping as the pod network takes it; `None` where it asks for no host port.
fn host_port(mapping: &container_runtime::PortMapping) -> Option<HostPort> {
    (mapping.host_port > 0).then(|| HostPort {
        host_ip: mapping.host_ip.parse().ok(),
        host_port: mapping.host_port,
        container_port: mapping.container_port,
        protocol: match mapping.protocol {
            Protocol::Tcp => pod_network::Protocol::Tcp,
            Protocol::Udp => pod_network::Protocol::Udp,
            Protocol::Sctp => pod_network::Protocol::Sctp,
        },
    })
}
