//! All shared caches of a process: one reflector a resource, started when it is first asked for.

use std::collections::HashMap;
use std::sync::Arc;

use api::typed::{DecodeFn, Kind, PartialObject, ResourceType, decode_erased};
use base::drain::Drain;
use base::rng::SharedRng;
use parking_lot::Mutex;

use crate::cache::SharedCache;
use crate::reflector::Reflector;
use crate::typed::Cache;

/// Which objects of a resource a cache holds; the default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Scope {
    /// One namespace; all when empty.
    pub namespace: String,
    /// A label selector; all when empty.
    pub label_selector: String,
    /// A field selector (`spec.nodeName=n1`); all when empty.
    pub field_selector: String,
}

/// The caches of a process. Cheap to clone; all clones share.
#[derive(Clone)]
pub struct Caches(Arc<Hub>);

struct Hub {
    client: kube::Client,
    rng: SharedRng,
    drain: Drain,
    own_node: Option<Arc<str>>,
    running: Mutex<HashMap<Id, Running>>,
}

#[derive(PartialEq, Eq, Hash)]
struct Id {
    resource: ResourceType,
    scope: Scope,
    /// Whether objects are reduced to their metadata.
    partial: bool,
}

struct Running {
    cache: Arc<SharedCache>,
    stop: Drain,
}

impl Caches {
    /// A hub that reads through a client until the drain fires.
    #[must_use]
    pub fn new(client: kube::Client, rng: SharedRng, drain: Drain) -> Self {
        Self(Arc::new(Hub { client, rng, drain, own_node: None, running: Mutex::default() }))
    }

    /// Fresh caches that leave out of the pods of other nodes than this one what only their
    /// kubelets read: see [`reduce_pod`](api::typed::reduce_pod). A pod out of such a cache must
    /// not be written back whole.
    #[must_use]
    pub fn reduced(&self, own_node: &str) -> Self {
        let Hub { client, rng, drain, .. } = &*self.0;
        Self(Arc::new(Hub {
            client: client.clone(),
            rng: rng.clone(),
            drain: drain.clone(),
            own_node: Some(own_node.into()),
            running: Mutex::default(),
        }))
    }

    /// The cache of all objects of a type, started now when nobody has asked for it before. Must
    /// be called inside a tokio runtime.
    #[must_use]
    pub fn of<K: Kind>(&self) -> Cache<K> {
        self.scoped(Scope::default())
    }

    /// The cache of some objects of a type. A process that also needs all of them should take
    /// [`Caches::of`] and an index instead: each scope is a copy and a watch of its own.
    #[must_use]
    pub fn scoped<K: Kind>(&self, scope: Scope) -> Cache<K> {
        Cache::over(self.erased(K::resource(), scope, false, decode_erased::<K>))
    }

    /// A cache that holds at least the metadata of a resource known at run time only: the typed
    /// cache when there is one, otherwise one of [`PartialObject`]s without labels.
    #[must_use]
    pub fn metadata(&self, resource: ResourceType) -> Arc<SharedCache> {
        let typed = Id { resource, scope: Scope::default(), partial: false };
        if let Some(running) = self.0.running.lock().get(&typed) {
            return running.cache.clone();
        }
        self.erased(typed.resource, Scope::default(), true, PartialObject::decode_erased)
    }

    /// Stops the metadata cache of a resource that is no longer served. Typed caches stay: parts
    /// hold them.
    pub fn close_metadata(&self, resource: &ResourceType) {
        let id = Id { resource: resource.clone(), scope: Scope::default(), partial: true };
        if let Some(running) = self.0.running.lock().remove(&id) {
            running.stop.cancel();
        }
    }

    /// Waits until every cache that has been asked for is synced.
    pub async fn synced(&self) {
        let caches: Vec<_> =
            self.0.running.lock().values().map(|running| running.cache.clone()).collect();
        for cache in caches {
            cache.synced().await;
        }
    }

    /// The client that the caches read through.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.0.client
    }

    fn erased(
        &self,
        resource: ResourceType,
        scope: Scope,
        partial: bool,
        decode: DecodeFn,
    ) -> Arc<SharedCache> {
        let mut running = self.0.running.lock();
        let id = Id { resource, scope, partial };
        if let Some(running) = running.get(&id) {
            return running.cache.clone();
        }
        let cache = Arc::new(SharedCache::new(id.resource.clone()));
        let stop = self.0.drain.child_token();
        let reflector = Reflector {
            client: self.0.client.clone(),
            cache: cache.clone(),
            scope: id.scope.clone(),
            partial,
            decode,
            own_node: self.0.own_node.clone(),
            rng: self.0.rng.clone(),
        };
        let drain = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = drain.cancelled() => {}
                () = reflector.run() => {}
            }
        });
        running.insert(id, Running { cache: cache.clone(), stop });
        cache
    }
}
