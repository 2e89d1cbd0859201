//! The metadata of every object there is, kept by one watch a resource; resources come and go
//! with custom resource definitions and aggregated APIs.

use std::collections::HashMap;
use std::sync::Arc;

use api::names::{GroupResource, split_api_version};
use api::typed::ResourceType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use parking_lot::Mutex;
use reconcile::{Caches, Change, Failure, Writer};

use crate::cluster::discovery;

type Listener = Box<dyn Fn(&ResourceType, &Change) + Send + Sync>;

/// All resources that can be watched and deleted, watched.
pub(crate) struct Inventory {
    caches: Caches,
    watched: Mutex<HashMap<ResourceType, ()>>,
    listeners: Mutex<Arc<Vec<Listener>>>,
}

impl Inventory {
    /// An inventory that watches nothing yet.
    pub(crate) fn new(caches: Caches) -> Self {
        Self { caches, watched: Mutex::default(), listeners: Mutex::default() }
    }

    /// Tells a listener of every change from now on. Listeners are added before the first
    /// [`Inventory::refresh`], so that they are told of everything.
    pub(crate) fn listen(&self, listener: Listener) {
        let mut listeners = self.listeners.lock();
        match Arc::get_mut(&mut listeners) {
            Some(listeners) => listeners.push(listener),
            None => tracing::error!("a listener came too late to the inventory"),
        }
    }

    /// Watches what is served, and no longer what is not. Says whether a group did not answer.
    pub(crate) async fn refresh(&self, writer: &Writer) -> Result<bool, Failure> {
        let found = discovery::discover(writer).await?;
        let wanted: Vec<ResourceType> = found
            .resources
            .iter()
            .filter(|one| {
                one.can(&["list", "watch", "delete"]) && &*one.resource.plural != "events"
            })
            .map(|one| one.resource.clone())
            .collect();
        let incomplete = !found.failed.is_empty();
        let gone: Vec<ResourceType> = {
            let watched = self.watched.lock();
            watched.keys().filter(|one| !wanted.contains(one)).cloned().collect()
        };
        if !incomplete {
            for resource in gone {
                self.watched.lock().remove(&resource);
                self.caches.close_metadata(&resource);
            }
        }
        // All are known before the first is watched: an object that comes in meanwhile must find the
        // resource of its owner, or it would never be told of the owner's end.
        let new: Vec<ResourceType> = {
            let mut watched = self.watched.lock();
            let mut is_new = |one: &ResourceType| watched.insert(one.clone(), ()).is_none();
            wanted.into_iter().filter(|one| is_new(one)).collect()
        };
        for resource in new {
            self.watch(resource);
        }
        Ok(incomplete)
    }

    fn watch(&self, resource: ResourceType) {
        let listeners = self.listeners.lock().clone();
        self.caches.metadata(resource.clone()).subscribe(Box::new(move |change| {
            for listener in listeners.iter() {
                listener(&resource, change);
            }
        }));
    }

    /// How many objects of a resource a namespace has; `None` when no such resource is watched.
    pub(crate) fn count(&self, resource: &GroupResource, namespace: &str) -> Option<usize> {
        let found = self
            .watched
            .lock()
            .keys()
            .find(|one| one.plural == resource.resource && one.group == resource.group)
            .cloned()?;
        let cache = self.caches.metadata(found);
        cache.has_synced().then(|| cache.list(namespace).len())
    }

    /// The resource of the kind that a reference names, in the version that the server prefers.
    pub(crate) fn locate(&self, reference: &OwnerReference) -> Option<ResourceType> {
        let (group, _) = split_api_version(&reference.api_version);
        let watched = self.watched.lock();
        let named = |resource: &&ResourceType| *resource.kind == *reference.kind;
        let own = watched.keys().filter(named).find(|resource| &*resource.group == group);
        // A reference of old names the alias of a kind that has a group of its own now.
        let is_alias = discovery::ALIASES.contains(&group);
        let moved = |resource: &&ResourceType| {
            is_alias && matches!(&*resource.group, "apps" | "networking.k8s.io")
        };
        own.or_else(|| watched.keys().filter(named).find(moved)).cloned()
    }
}
