//! Keeps a data plane in step with the API's objects.
//!
//! One task. It takes what changed, makes one transaction of it, and looks again: what comes in
//! meanwhile goes together into the next. Nothing waits for a timer but a retry after a refusal.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base::drain::Drain;
use base::error::Chain;
use k8s_openapi::api::core::v1::{Node as NodeObject, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use parking_lot::Mutex;
use reconcile::{Cache, Caches, Scope as CacheScope};
use tokio::sync::{Notify, watch};

use crate::dataplane::{Dataplane, DataplaneError};
use crate::health::HealthPorts;
use crate::plan::{self, Node};
use crate::ruleset::{Delta, Ruleset, ServiceKey};

const ZONE: &str = "topology.kubernetes.io/zone";
const BY_SERVICE: &str = "kubernetes.io/service-name";
const RETRY_FIRST: Duration = Duration::from_millis(100);
const RETRY_LAST: Duration = Duration::from_secs(10);

/// What a proxy must know.
#[derive(Debug, Clone)]
pub struct Options {
    /// The node that it serves.
    pub node_name: String,
}

/// What others ask of a running proxy. Cheap to clone.
#[derive(Clone)]
pub struct ProxyHandle {
    dataplane: SharedDataplane,
    state: watch::Sender<State>,
}

impl std::fmt::Debug for ProxyHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyHandle").field("state", &*self.state.borrow()).finish()
    }
}

type SharedDataplane = Arc<tokio::sync::Mutex<Box<dyn Dataplane>>>;

/// Where the proxy stands.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    /// Whether the rules of all services have been in the kernel once.
    synced: bool,
    /// How many transactions the kernel took.
    transactions: u64,
}

impl ProxyHandle {
    /// Waits until the rules of every service are in.
    pub async fn synced(&self) {
        self.wait(|state| state.synced).await;
    }

    /// Waits until no new connection is sent to this address. Connections that are there stay.
    ///
    /// Returns only then: whoever cannot wait for ever puts a limit on it. An address that no
    /// service leads to needs no waiting.
    pub async fn endpoint_removed(&self, ip: IpAddr) {
        let mut state = self.state.subscribe();
        while self.dataplane.lock().await.leads_to(ip) {
            if state.changed().await.is_err() {
                return;
            }
        }
    }

    /// How many transactions the kernel took so far.
    #[must_use]
    pub fn transactions(&self) -> u64 {
        self.state.borrow().transactions
    }

    async fn wait(&self, until: impl FnMut(&State) -> bool) {
        let mut state = self.state.subscribe();
        // The sender is ours, so the channel cannot close while we wait.
        let _closed = state.wait_for(until).await;
    }
}

/// What changed since it was last taken.
#[derive(Debug, Default)]
struct Dirty {
    services: Mutex<BTreeSet<ServiceKey>>,
    wake: Notify,
}

impl Dirty {
    fn mark(&self, keys: impl IntoIterator<Item = ServiceKey>) {
        self.services.lock().extend(keys);
        self.wake.notify_one();
    }

    fn take(&self) -> BTreeSet<ServiceKey> {
        std::mem::take(&mut self.services.lock())
    }
}

/// Starts a proxy on a data plane. It runs until the drain fires and leaves the rules in place
/// then: traffic goes on without it.
pub fn start(
    options: Options,
    caches: &Caches,
    dataplane: Box<dyn Dataplane>,
    drain: Drain,
) -> ProxyHandle {
    let this_node = CacheScope {
        field_selector: format!("metadata.name={}", options.node_name),
        ..CacheScope::default()
    };
    let (services, slices) = (caches.of::<Service>(), caches.of::<EndpointSlice>());
    let nodes = caches.scoped::<NodeObject>(this_node);
    start_on(options, Sources { services, slices, nodes }, dataplane, drain)
}

/// Where the proxy reads.
struct Sources {
    services: Cache<Service>,
    slices: Cache<EndpointSlice>,
    nodes: Cache<NodeObject>,
}

fn start_on(
    options: Options,
    sources: Sources,
    dataplane: Box<dyn Dataplane>,
    drain: Drain,
) -> ProxyHandle {
    let dirty = Arc::new(Dirty::default());
    sources.slices.add_index(BY_SERVICE, |slice, emit| {
        if let Some(key) = plan::service_of(slice) {
            emit(&format!("{}/{}", key.namespace, key.name));
        }
    });
    let marks = dirty.clone();
    sources.services.subscribe(move |event| marks.mark([plan::key_of(event.object())]));
    let marks = dirty.clone();
    sources.slices.subscribe(move |event| {
        let before = event.old().and_then(|old| plan::service_of(old));
        marks.mark(before.into_iter().chain(plan::service_of(event.object())));
    });
    let (marks, all) = (dirty.clone(), sources.services.clone());
    sources.nodes.subscribe(move |event| {
        let zone = |node: &NodeObject| node.metadata.labels.as_ref()?.get(ZONE).cloned();
        if event.old().map(|old| zone(old)) != Some(zone(event.object())) {
            marks.mark(all.list().iter().map(|service| plan::key_of(service)));
        }
    });
    let handle = ProxyHandle {
        dataplane: Arc::new(tokio::sync::Mutex::new(dataplane)),
        state: watch::Sender::new(State::default()),
    };
    let worker = Worker {
        node_name: options.node_name,
        sources,
        dirty,
        all: Ruleset::default(),
        handle: handle.clone(),
        health: HealthPorts::default(),
    };
    tokio::spawn(async move {
        tokio::select! {
            () = drain.cancelled() => {}
            _panicked = base::task::contain("proxy", worker.run()) => {}
        }
    });
    handle
}

struct Worker {
    node_name: String,
    sources: Sources,
    dirty: Arc<Dirty>,
    all: Ruleset,
    handle: ProxyHandle,
    health: HealthPorts,
}

impl Worker {
    async fn run(mut self) {
        self.sources.services.synced().await;
        self.sources.slices.synced().await;
        self.sources.nodes.synced().await;
        // Whatever an earlier process left is replaced by the first transaction.
        let (mut whole, mut retry) = (true, RETRY_FIRST);
        loop {
            let delta = self.plan_dirty();
            let done = if whole { self.replace().await } else { self.sync(delta).await };
            match done {
                Ok(()) => {
                    (whole, retry) = (false, RETRY_FIRST);
                    self.handle.state.send_modify(|state| {
                        *state = State { synced: true, transactions: state.transactions + 1 };
                    });
                    self.health.update(self.all.health()).await;
                    self.dirty.wake.notified().await;
                }
                Err(error) => {
                    // Somebody flushed our table, or the kernel is out of memory: the whole set
                    // of rules makes good for both.
                    tracing::warn!(error = %Chain(&error), "service rules are programmed anew");
                    if whole {
                        tokio::time::sleep(retry).await;
                        retry = (retry * 2).min(RETRY_LAST);
                    }
                    whole = true;
                }
            }
        }
    }

    /// Plans every service that changed; what that changes is in the delta and in `self.all`.
    fn plan_dirty(&mut self) -> Delta {
        let node = self.node();
        let mut delta = Delta::default();
        for key in self.dirty.take() {
            let rules = self.sources.services.get(&key.namespace, &key.name).map(|service| {
                let name = format!("{}/{}", key.namespace, key.name);
                let slices = self.sources.slices.by_index(BY_SERVICE, &name);
                let slices: Vec<&EndpointSlice> = slices.iter().map(Arc::as_ref).collect();
                plan::plan_service(&service, &slices, &node)
            });
            self.all.set(&key, rules, &mut delta);
        }
        delta
    }

    fn node(&self) -> Node {
        let object = self.sources.nodes.get("", &self.node_name);
        let zone = object.and_then(|node| node.metadata.labels.as_ref()?.get(ZONE).cloned());
        Node { name: self.node_name.clone(), zone }
    }

    async fn replace(&mut self) -> Result<(), DataplaneError> {
        let all = std::mem::take(&mut self.all);
        let (all, done) = self
            .blocking(move |dataplane| {
                let done = dataplane.replace(&all);
                (all, done)
            })
            .await;
        self.all = all;
        done
    }

    async fn sync(&self, delta: Delta) -> Result<(), DataplaneError> {
        if delta.is_empty() {
            return Ok(());
        }
        self.blocking(move |dataplane| dataplane.sync(&delta)).await
    }

    /// Netlink blocks for as long as the kernel works, which for ten thousand services is not
    /// nothing.
    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Dataplane) -> T + Send + 'static,
    ) -> T {
        let dataplane = self.handle.dataplane.clone();
        let done =
            tokio::task::spawn_blocking(move || work(dataplane.blocking_lock().as_mut())).await;
        match done.map_err(tokio::task::JoinError::try_into_panic) {
            Ok(done) => done,
            Err(Ok(panic)) => std::panic::resume_unwind(panic),
            // The runtime is being shut down, and this task with it.
            Err(Err(_cancelled)) => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests;
