//! Containers without a readiness probe count as ready once their declared TCP ports listen, or
//! after half a second: a rollout does not send requests to a program that is still starting.
//!
//! The kernel tells nobody when a port begins to listen, so this asks, first often, then rarely.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use k8s_openapi::api::core::v1::Container;
use parking_lot::Mutex;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::seams::LISTEN_WAIT;

/// Which containers of a pod are known to listen, or have had their time.
#[derive(Debug, Clone, Default)]
pub(crate) struct Listening {
    done: Arc<Mutex<HashSet<String>>>,
    asked: Arc<Mutex<HashSet<String>>>,
}

impl Listening {
    /// Whether a container counts as listening.
    pub(crate) fn is_done(&self, container: &Container, id: &str) -> bool {
        ports(container).is_empty() || self.done.lock().contains(id)
    }

    /// Begins to ask, unless that was begun. `age`: how long the container has been running.
    pub(crate) fn ask(
        &self,
        container: &Container,
        id: &str,
        host: IpAddr,
        age: Duration,
        wake: &Arc<Notify>,
    ) {
        if self.is_done(container, id) || !self.asked.lock().insert(id.to_owned()) {
            return;
        }
        let left = LISTEN_WAIT.saturating_sub(age);
        if left.is_zero() {
            self.done.lock().insert(id.to_owned());
            return;
        }
        let addresses: Vec<_> =
            ports(container).iter().map(|port| SocketAddr::new(host, *port)).collect();
        let (done, wake, id) = (self.done.clone(), wake.clone(), id.to_owned());
        tokio::spawn(async move {
            let _late = tokio::time::timeout(left, all_listen(&addresses)).await;
            done.lock().insert(id);
            wake.notify_one();
        });
    }

    /// Forgets containers that are gone.
    pub(crate) fn keep(&self, is_known: impl Fn(&str) -> bool) {
        self.done.lock().retain(|id| is_known(id));
        self.asked.lock().retain(|id| is_known(id));
    }
}

fn ports(container: &Container) -> Vec<u16> {
    let all = container.ports.iter().flatten();
    all.filter(|port| matches!(port.protocol.as_deref(), None | Some("TCP")))
        .filter_map(|port| u16::try_from(port.container_port).ok())
        .collect()
}

async fn all_listen(addresses: &[SocketAddr]) {
    for address in addresses {
        let mut wait = Duration::from_millis(2);
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(wait).await;
            wait = (wait * 3 / 2).min(Duration::from_millis(50));
        }
    }
}
