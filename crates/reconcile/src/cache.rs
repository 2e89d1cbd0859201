//! One copy of every object of a resource, kept current by a reflector, erased.
//!
//! Invariants: a change is applied under the write lock, then told to the subscribers in order,
//! by the one task that reflects; a subscriber therefore sees every change once, in the order of
//! the server, and reads a cache that is at least as new as what it is told. An object that was
//! deleted and made again under its name is told as `Deleted` and `Added`, never as `Updated`.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ops::Bound;
use std::sync::Arc;

use api::typed::{AnyObject, ResourceType};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;

use crate::key::Key;

/// An object as caches hold it.
pub type Object = Arc<dyn AnyObject>;

/// A change of an object, erased.
#[derive(Clone)]
pub enum Change {
    /// The object is new to this cache.
    Added(Object),
    /// The object was changed.
    Updated {
        /// As it was.
        old: Object,
        /// As it is.
        new: Object,
    },
    /// The object is gone; this is its last known state.
    Deleted(Object),
}

impl Change {
    /// The object as it is, or was when it was deleted.
    #[must_use]
    pub fn object(&self) -> &Object {
        match self {
            Self::Added(object) | Self::Updated { new: object, .. } | Self::Deleted(object) => {
                object
            }
        }
    }
}

/// Where a cache stands with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Whether the initial list has been applied and told.
    pub synced: bool,
    /// The newest resource version seen.
    pub revision: u64,
}

type Handler = Box<dyn Fn(&Change) + Send + Sync>;
type IndexBy = Box<dyn Fn(&dyn AnyObject, &mut dyn FnMut(&str)) + Send + Sync>;

struct Index {
    name: &'static str,
    by: IndexBy,
    entries: HashMap<Box<str>, BTreeSet<Key>>,
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Key, Object>,
    indexes: Vec<Index>,
}

/// The objects of one resource (in one scope), shared by all parts of a process.
pub struct SharedCache {
    resource: ResourceType,
    state: RwLock<State>,
    handlers: Mutex<Vec<Handler>>,
    progress: watch::Sender<Progress>,
}

/// The name of the index by owner.
const BY_OWNER: &str = "metadata.ownerReferences.uid";

impl SharedCache {
    /// An empty cache that is not synced.
    #[must_use]
    pub fn new(resource: ResourceType) -> Self {
        Self {
            resource,
            state: RwLock::default(),
            handlers: Mutex::default(),
            progress: watch::Sender::new(Progress::default()),
        }
    }

    /// What this is a cache of.
    #[must_use]
    pub fn resource(&self) -> &ResourceType {
        &self.resource
    }

    /// The object of a name.
    #[must_use]
    pub fn get(&self, key: &Key) -> Option<Object> {
        self.state.read().objects.get(key).cloned()
    }

    /// All objects, or those of a namespace when it is not empty, by namespace and name.
    #[must_use]
    pub fn list(&self, namespace: &str) -> Vec<Object> {
        let state = self.state.read();
        if namespace.is_empty() {
            return state.objects.values().cloned().collect();
        }
        let from = Bound::Included(Key::new(namespace, ""));
        state
            .objects
            .range((from, Bound::Unbounded))
            .take_while(|(key, _)| &*key.namespace == namespace)
            .map(|(_, object)| object.clone())
            .collect()
    }

    /// How many objects there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Adds an index unless one of that name is there.
    pub fn add_index(&self, name: &'static str, by: IndexBy) {
        let mut state = self.state.write();
        if state.indexes.iter().any(|index| index.name == name) {
            return;
        }
        let mut index = Index { name, by, entries: HashMap::new() };
        for (key, object) in &state.objects {
            index.insert(key, &**object);
        }
        state.indexes.push(index);
    }

    /// The objects that an index files under a value, by namespace and name; none when there is
    /// no index of that name.
    #[must_use]
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Object> {
        let state = self.state.read();
        let Some(index) = state.indexes.iter().find(|index| index.name == name) else {
            return Vec::new();
        };
        let keys = index.entries.get(value).into_iter().flatten();
        keys.filter_map(|key| state.objects.get(key).cloned()).collect()
    }

    /// The objects with an owner reference (controlling or not) to this UID.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Object> {
        self.add_index_by_owner();
        self.by_index(BY_OWNER, uid)
    }

    /// Adds the index by owner; [`SharedCache::owned_by`] does so too when it is first used.
    pub fn add_index_by_owner(&self) {
        if self.state.read().indexes.iter().any(|index| index.name == BY_OWNER) {
            return;
        }
        self.add_index(
            BY_OWNER,
            Box::new(|object, emit| {
                for owner in object.meta().owner_references.iter().flatten() {
                    emit(&owner.uid);
                }
            }),
        );
    }

    /// Tells a handler of every object that is there, as `Added`, and then of every change.
    ///
    /// The handler is called by the reflecting task: it must be quick and must not wait, and must
    /// not subscribe to this same cache.
    pub fn subscribe(&self, handler: Handler) {
        let mut handlers = self.handlers.lock();
        for object in self.list("") {
            handler(&Change::Added(object));
        }
        handlers.push(handler);
    }

    /// Where the cache stands, to be awaited.
    #[must_use]
    pub fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.subscribe()
    }

    /// Whether the initial list has been applied and told.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.progress.borrow().synced
    }

    /// Waits until the initial list has been applied and told.
    pub async fn synced(&self) {
        self.wait(|progress| progress.synced).await;
    }

    /// Waits until a resource version has been seen.
    pub async fn caught_up(&self, revision: u64) {
        self.wait(|progress| progress.synced && progress.revision >= revision).await;
    }

    async fn wait(&self, until: impl FnMut(&Progress) -> bool) {
        let mut progress = self.progress.subscribe();
        // The sender is ours, so the channel cannot close while we are borrowed.
        let _closed = progress.wait_for(until).await;
    }

    /// Applies one object as the server has it now.
    pub fn upsert(&self, object: Object) {
        let handlers = self.handlers.lock();
        let revision = revision_of(&object);
        // The lock must be free again before anybody is told: handlers read this cache.
        let changes = self.state.write().upsert(object);
        for change in &changes {
            tell(&handlers, change);
        }
        drop(handlers);
        self.seen(revision);
    }

    /// Applies a deletion.
    pub fn remove(&self, object: Object) {
        let handlers = self.handlers.lock();
        let revision = revision_of(&object);
        // The last state comes with the event; it may be newer than ours.
        let known = self.state.write().remove(&Key::of(object.meta())).is_some();
        if known {
            tell(&handlers, &Change::Deleted(object));
        }
        drop(handlers);
        self.seen(revision);
    }

    /// Applies a whole list: what is not in it is gone.
    pub fn replace(&self, objects: Vec<Object>, revision: u64) {
        let handlers = self.handlers.lock();
        let mut changes = Vec::new();
        {
            let mut state = self.state.write();
            let listed: BTreeSet<Key> =
                objects.iter().map(|object| Key::of(object.meta())).collect();
            let gone: Vec<Key> =
                state.objects.keys().filter(|key| !listed.contains(*key)).cloned().collect();
            changes.extend(gone.iter().filter_map(|key| state.remove(key)).map(Change::Deleted));
            for object in objects {
                changes.extend(state.upsert(object));
            }
        }
        for change in &changes {
            tell(&handlers, change);
        }
        self.progress.send_modify(|progress| {
            *progress = Progress { synced: true, revision: progress.revision.max(revision) };
        });
    }

    /// Notes that the server has told everything up to a resource version.
    pub fn seen(&self, revision: u64) {
        self.progress.send_if_modified(|progress| {
            let newer = revision > progress.revision;
            progress.revision = progress.revision.max(revision);
            newer
        });
    }
}

impl State {
    fn upsert(&mut self, object: Object) -> Vec<Change> {
        let key = Key::of(object.meta());
        let Some(old) = self.objects.get(&key).cloned() else {
            self.insert(key, object.clone());
            return vec![Change::Added(object)];
        };
        let (was, is) = (old.meta(), object.meta());
        if was.resource_version == is.resource_version && was.uid == is.uid {
            return Vec::new();
        }
        let recreated = was.uid != is.uid;
        self.remove(&key);
        self.insert(key, object.clone());
        if recreated {
            vec![Change::Deleted(old), Change::Added(object)]
        } else {
            vec![Change::Updated { old, new: object }]
        }
    }

    fn insert(&mut self, key: Key, object: Object) {
        for index in &mut self.indexes {
            index.insert(&key, &*object);
        }
        self.objects.insert(key, object);
    }

    fn remove(&mut self, key: &Key) -> Option<Object> {
        let object = self.objects.remove(key)?;
        for index in &mut self.indexes {
            index.remove(key, &*object);
        }
        Some(object)
    }
}

impl Index {
    fn insert(&mut self, key: &Key, object: &dyn AnyObject) {
        let entries = &mut self.entries;
        (self.by)(object, &mut |value| {
            entries.entry(value.into()).or_default().insert(key.clone());
        });
    }

    fn remove(&mut self, key: &Key, object: &dyn AnyObject) {
        let entries = &mut self.entries;
        (self.by)(object, &mut |value| {
            if let Some(keys) = entries.get_mut(value) {
                keys.remove(key);
                if keys.is_empty() {
                    entries.remove(value);
                }
            }
        });
    }
}

fn tell(handlers: &[Handler], change: &Change) {
    for handler in handlers {
        handler(change);
    }
}

fn revision_of(object: &Object) -> u64 {
    object.meta().resource_version.as_deref().and_then(|rv| rv.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::typed::Kind;
    use k8s_openapi::api::core::v1::Pod;

    fn pod(namespace: &str, name: &str, uid: &str, revision: u64) -> Object {
        let mut pod = Pod::default();
        pod.metadata.namespace = Some(namespace.into());
        pod.metadata.name = Some(name.into());
        pod.metadata.uid = Some(uid.into());
        pod.metadata.resource_version = Some(revision.to_string());
        pod.spec.get_or_insert_default().node_name = Some(format!("node-of-{uid}"));
        Arc::new(pod)
    }

    fn recorded() -> (SharedCache, Arc<Mutex<Vec<String>>>) {
        let cache = SharedCache::new(Pod::resource());
        let said = Arc::new(Mutex::new(Vec::new()));
        let log = said.clone();
        cache.subscribe(Box::new(move |change| {
            let verb = match change {
                Change::Added(_) => "+",
                Change::Updated { .. } => "~",
                Change::Deleted(_) => "-",
            };
            log.lock().push(format!("{verb}{}", Key::of(change.object().meta())));
        }));
        (cache, said)
    }

    #[test]
    fn a_list_is_told_as_the_difference() {
        let (cache, said) = recorded();
        cache.replace(vec![pod("a", "x", "1", 1), pod("a", "y", "2", 2)], 2);
        assert!(cache.has_synced());
        assert_eq!(std::mem::take(&mut *said.lock()), ["+a/x", "+a/y"]);
        cache.replace(vec![pod("a", "y", "2", 5), pod("b", "z", "3", 4)], 5);
        assert_eq!(std::mem::take(&mut *said.lock()), ["-a/x", "~a/y", "+b/z"]);
        cache.upsert(pod("a", "y", "2", 5));
        assert!(said.lock().is_empty(), "a replay is no change");
        cache.upsert(pod("a", "y", "9", 6));
        assert_eq!(*said.lock(), ["-a/y", "+a/y"], "a name reused is another object");
        assert_eq!(cache.progress().borrow().revision, 6);
    }

    #[test]
    fn indexes_follow_the_objects() {
        let cache = SharedCache::new(Pod::resource());
        cache.upsert(pod("a", "x", "1", 1));
        cache.add_index(
            "node",
            Box::new(|object, emit| {
                let pod = object.as_any().downcast_ref::<Pod>().unwrap();
                emit(pod.spec.as_ref().unwrap().node_name.as_deref().unwrap());
            }),
        );
        assert_eq!(cache.by_index("node", "node-of-1").len(), 1);
        cache.upsert(pod("a", "x", "2", 2));
        assert_eq!(cache.by_index("node", "node-of-1").len(), 0);
        assert_eq!(cache.by_index("node", "node-of-2").len(), 1);
        cache.remove(pod("a", "x", "2", 3));
        assert!(cache.by_index("node", "node-of-2").is_empty() && cache.is_empty());
    }

    #[test]
    fn a_namespace_is_a_range() {
        let cache = SharedCache::new(Pod::resource());
        for (namespace, name) in [("a", "1"), ("b", "1"), ("b", "2"), ("ba", "1")] {
            cache.upsert(pod(namespace, name, name, 1));
        }
        let names: Vec<_> = cache.list("b").iter().map(|o| Key::of(o.meta()).to_string()).collect();
        assert_eq!(names, ["b/1", "b/2"]);
        assert_eq!(cache.list("").len(), 4);
    }

    #[test]
    fn handlers_read_the_cache_that_tells_them() {
        let cache = Arc::new(SharedCache::new(Pod::resource()));
        let (read, counts) = (cache.clone(), Arc::new(Mutex::new(Vec::new())));
        let counted = counts.clone();
        cache.subscribe(Box::new(move |_| counted.lock().push(read.len())));
        cache.replace(vec![pod("a", "x", "1", 1)], 1);
        cache.upsert(pod("a", "y", "2", 2));
        cache.upsert(pod("a", "y", "2", 3));
        cache.remove(pod("a", "x", "1", 4));
        assert_eq!(*counts.lock(), [1, 2, 2, 1]);
    }

    #[test]
    fn late_subscribers_are_told_what_is_there() {
        let cache = SharedCache::new(Pod::resource());
        cache.upsert(pod("a", "x", "1", 1));
        let count = Arc::new(Mutex::new(0));
        let counted = count.clone();
        cache.subscribe(Box::new(move |_| *counted.lock() += 1));
        assert_eq!(*count.lock(), 1);
    }
}
