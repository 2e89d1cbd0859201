//! The cluster's objects that pods refer to, from shared caches, and who waits for their change.
//!
//! Invariant: a miss in a cache is asked of the server once, because a pod may be seen before the
//! objects that were made before it.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use k8s_openapi::api::core::v1::{ConfigMap, Node, Pod, Secret, Service};
use parking_lot::Mutex;
use reconcile::{Cache, Caches, Key, Scope, Writer};
use tokio::sync::Notify;

use crate::pod;

/// The kind of a config object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum ObjectKind {
    /// A ConfigMap.
    ConfigMap,
    /// A Secret.
    Secret,
}

/// A config object that a pod refers to.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ObjectRef {
    kind: ObjectKind,
    namespace: String,
    name: String,
}

impl ObjectRef {
    /// A ConfigMap.
    pub(crate) fn config_map(namespace: &str, name: &str) -> Self {
        Self { kind: ObjectKind::ConfigMap, namespace: namespace.to_owned(), name: name.to_owned() }
    }

    /// A Secret.
    pub(crate) fn secret(namespace: &str, name: &str) -> Self {
        Self { kind: ObjectKind::Secret, namespace: namespace.to_owned(), name: name.to_owned() }
    }
}

type Waiters = Mutex<HashMap<ObjectRef, BTreeMap<String, Arc<Notify>>>>;

/// The objects as this node knows them.
pub(crate) struct Objects {
    /// Pods, of this node or of all.
    pub(crate) pods: Cache<Pod>,
    /// Nodes; this one is what matters.
    pub(crate) nodes: Cache<Node>,
    config_maps: Cache<ConfigMap>,
    secrets: Cache<Secret>,
    services: Cache<Service>,
    writer: Option<Writer>,
    waiters: Arc<Waiters>,
}

impl Objects {
    /// Starts what is needed of a process' shared caches. A process without other parts watches
    /// the pods of its node only.
    pub(crate) fn start(caches: &Caches, writer: Writer, node: &str, own_scope: bool) -> Self {
        let pods = if own_scope {
            let field_selector = format!("spec.nodeName={node}");
            caches.scoped(Scope { field_selector, ..Scope::default() })
        } else {
            caches.of::<Pod>()
        };
        let nodes = if own_scope {
            let field_selector = format!("metadata.name={node}");
            caches.scoped(Scope { field_selector, ..Scope::default() })
        } else {
            caches.of::<Node>()
        };
        Self::over(pods, nodes, caches.of(), caches.of(), caches.of(), Some(writer))
    }

    /// Over caches that are already there.
    pub(crate) fn over(
        pods: Cache<Pod>,
        nodes: Cache<Node>,
        config_maps: Cache<ConfigMap>,
        secrets: Cache<Secret>,
        services: Cache<Service>,
        writer: Option<Writer>,
    ) -> Self {
        let waiters = Arc::<Waiters>::default();
        let waking = waiters.clone();
        config_maps
            .subscribe(move |event| wake(&waking, ObjectKind::ConfigMap, &event.object().metadata));
        let waking = waiters.clone();
        secrets.subscribe(move |event| wake(&waking, ObjectKind::Secret, &event.object().metadata));
        Self { pods, nodes, config_maps, secrets, services, writer, waiters }
    }

    /// Waits until everything was listed once.
    pub(crate) async fn synced(&self) {
        self.pods.synced().await;
        self.nodes.synced().await;
        self.config_maps.synced().await;
        self.secrets.synced().await;
        self.services.synced().await;
    }

    /// A ConfigMap; `None` when it does not exist.
    pub(crate) async fn config_map(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<ConfigMap>>, String> {
        self.find(&self.config_maps, namespace, name).await
    }

    /// A Secret; `None` when it does not exist.
    pub(crate) async fn secret(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<Secret>>, String> {
        self.find(&self.secrets, namespace, name).await
    }

    async fn find<K: api::typed::Kind>(
        &self,
        cache: &Cache<K>,
        namespace: &str,
        name: &str,
    ) -> Result<Option<Arc<K>>, String> {
        if let Some(object) = cache.get(namespace, name) {
            return Ok(Some(object));
        }
        let Some(writer) = &self.writer else { return Ok(None) };
        let found = reconcile::or_gone(writer.get::<K>(&Key::new(namespace, name)).await);
        found.map(|object| object.map(Arc::new)).map_err(|failure| failure.to_string())
    }

    /// The services that a pod's environment may describe.
    pub(crate) fn services(&self, namespace: &str) -> Vec<Arc<Service>> {
        let mut services = self.services.list_in(namespace);
        if namespace != "default" {
            services.extend(self.services.get("default", "kubernetes"));
        }
        services
    }

    /// The runtime's handler for a RuntimeClass; the name itself when the class cannot be read.
    pub(crate) async fn runtime_handler(&self, class: &str) -> Result<String, String> {
        let Some(writer) = self.writer.as_ref().filter(|_| !class.is_empty()) else {
            return Ok(String::new());
        };
        let found =
            writer.get::<k8s_openapi::api::node::v1::RuntimeClass>(&Key::new("", class)).await;
        found.map(|class| class.handler).map_err(|failure| {
            format!("failed to get RuntimeHandler for RuntimeClass \"{class}\": {failure}")
        })
    }

    /// From now on `notify` is told when one of these objects changes.
    pub(crate) fn wait_for(
        &self,
        pod_uid: &str,
        objects: &BTreeSet<ObjectRef>,
        notify: &Arc<Notify>,
    ) {
        let mut waiters = self.waiters.lock();
        waiters.retain(|object, pods| {
            if !objects.contains(object) {
                pods.remove(pod_uid);
            }
            !pods.is_empty()
        });
        for object in objects {
            waiters.entry(object.clone()).or_default().insert(pod_uid.to_owned(), notify.clone());
        }
    }

    /// The objects whose change changes what a pod's volumes show.
    pub(crate) fn shown_by(pod: &Pod) -> BTreeSet<ObjectRef> {
        let namespace = pod::namespace(pod);
        let mut all: BTreeSet<_> = crate::volumes::references(pod).into_iter().collect();
        // A container that waits for a config object of its environment starts when it comes.
        for (_, container) in pod::containers(pod) {
            let (maps, secrets) = crate::env::referenced(&container);
            all.extend(maps.iter().map(|name| ObjectRef::config_map(namespace, name)));
            all.extend(secrets.iter().map(|name| ObjectRef::secret(namespace, name)));
        }
        all
    }
}

fn wake(
    waiters: &Waiters,
    kind: ObjectKind,
    meta: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta,
) {
    let key = ObjectRef {
        kind,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    };
    if let Some(pods) = waiters.lock().get(&key) {
        pods.values().for_each(|notify| notify.notify_one());
    }
}
