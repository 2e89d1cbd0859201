//! From a pod's change to the owner that it concerns.

use std::sync::Arc;

use api::typed::Kind;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use reconcile::{Cache, Event, Expectations, Key, Queue, Watches};

use super::owner::{controller_of, namespace, uid};
use super::pods::{index_by_controller, is_deleting};

/// How a kind of owner relates to pods.
pub(crate) struct PodOwners<K> {
    pub(crate) owners: Cache<K>,
    pub(crate) pods: Cache<Pod>,
    pub(crate) expectations: Arc<Expectations>,
    /// Whether an owner's selector selects a pod.
    pub(crate) selects: fn(&K, &Pod) -> bool,
}

impl<K: Kind> PodOwners<K> {
    /// Watches the owners and their pods: creations and deletions that were expected are noted,
    /// owners of changed pods are queued, and so is whoever may adopt an orphan.
    pub(crate) fn watch(self, watches: &mut Watches) {
        index_by_controller(&self.pods);
        let expectations = self.expectations.clone();
        watches.on(&self.owners, move |event, queue| {
            if let Event::Deleted(owner) = event {
                expectations.forget(&Key::of(owner.meta()));
            }
            queue.add(Key::of(event.object().meta()));
        });
        watches.on(&self.pods.clone(), move |event, queue| self.pod(event, queue));
    }

    fn pod(&self, event: &Event<Pod>, queue: &Queue) {
        match event {
            // A process that starts finds pods that are being deleted already.
            Event::Added(pod) if is_deleting(pod) => self.gone(pod, queue),
            Event::Added(pod) => {
                if let Some(key) = self.owner_of(pod) {
                    self.expectations.creation_seen(&key);
                    queue.add(key);
                } else {
                    self.orphan(pod, queue);
                }
            }
            Event::Updated { old, new } => {
                if is_deleting(new) && !is_deleting(old) {
                    self.gone(new, queue);
                }
                let moved = reference(old) != reference(new);
                if moved && let Some(key) = self.owner_of(old) {
                    queue.add(key);
                }
                if let Some(key) = self.owner_of(new) {
                    queue.add(key);
                } else if moved || old.metadata.labels != new.metadata.labels {
                    self.orphan(new, queue);
                }
            }
            Event::Deleted(pod) => self.gone(pod, queue),
        }
    }

    fn gone(&self, pod: &Pod, queue: &Queue) {
        if let Some(key) = self.owner_of(pod) {
            self.expectations.deletion_seen(&key, uid(&pod.metadata));
            queue.add(key);
        }
    }

    fn orphan(&self, pod: &Pod, queue: &Queue) {
        if controller_of(&pod.metadata).is_some() {
            return;
        }
        for owner in self.owners.list_in(namespace(&pod.metadata)) {
            if (self.selects)(&owner, pod) {
                queue.add(Key::of(owner.meta()));
            }
        }
    }

    fn owner_of(&self, pod: &Pod) -> Option<Key> {
        owner_key(&self.owners, pod)
    }
}

fn reference(pod: &Pod) -> Option<&str> {
    controller_of(&pod.metadata).map(|owner| owner.uid.as_str())
}

/// The key of the owner of this kind that controls an object, when the cache has that very owner.
pub(crate) fn owner_key<K: Kind, O: Kind>(owners: &Cache<K>, object: &O) -> Option<Key> {
    let reference = controller_of(object.meta()).filter(|owner| refers_to::<K>(owner))?;
    let key = Key::new(namespace(object.meta()), &reference.name);
    let owner = owners.get_key(&key)?;
    (uid(owner.meta()) == reference.uid).then_some(key)
}

/// Whether a reference names this kind, whatever the version of its group.
pub(crate) fn refers_to<K: Kind>(owner: &OwnerReference) -> bool {
    let resource = K::resource();
    let (group, _) = api::names::split_api_version(&owner.api_version);
    owner.kind == *resource.kind && group == &*resource.group
}
