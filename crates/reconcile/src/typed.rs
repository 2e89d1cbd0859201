//! The typed face of a shared cache: a thin generic shell over the erased one.

use std::marker::PhantomData;
use std::sync::Arc;

use api::typed::{AnyObject, Kind};

use crate::cache::{Change, Object, SharedCache};
use crate::key::Key;

/// A change of a typed object.
#[derive(Debug, Clone)]
pub enum Event<K> {
    /// The object is new to this cache.
    Added(Arc<K>),
    /// The object was changed.
    Updated {
        /// As it was.
        old: Arc<K>,
        /// As it is.
        new: Arc<K>,
    },
    /// The object is gone; this is its last known state.
    Deleted(Arc<K>),
}

impl<K> Event<K> {
    /// The object as it is, or was when it was deleted.
    #[must_use]
    pub fn object(&self) -> &Arc<K> {
        match self {
            Self::Added(object) | Self::Updated { new: object, .. } | Self::Deleted(object) => {
                object
            }
        }
    }

    /// The object as it was before an update.
    #[must_use]
    pub fn old(&self) -> Option<&Arc<K>> {
        match self {
            Self::Updated { old, .. } => Some(old),
            Self::Added(_) | Self::Deleted(_) => None,
        }
    }
}

/// A shared cache of one type. Cheap to clone; every clone reads the same objects.
pub struct Cache<K> {
    shared: Arc<SharedCache>,
    kind: PhantomData<fn() -> K>,
}

impl<K> Clone for Cache<K> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), kind: PhantomData }
    }
}

impl<K: Kind> Cache<K> {
    /// The typed face of an erased cache, which must hold objects of this type only. Tests make a
    /// cache without a server so: `Cache::over(Arc::new(SharedCache::new(Pod::resource())))`.
    #[must_use]
    pub fn over(shared: Arc<SharedCache>) -> Self {
        Self { shared, kind: PhantomData }
    }

    /// The erased cache.
    #[must_use]
    pub fn shared(&self) -> &Arc<SharedCache> {
        &self.shared
    }

    /// The object of a name; `namespace` is empty for cluster-scoped ones.
    #[must_use]
    pub fn get(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.get_key(&Key::new(namespace, name))
    }

    /// The object of a key.
    #[must_use]
    pub fn get_key(&self, key: &Key) -> Option<Arc<K>> {
        self.shared.get(key).map(typed)
    }

    /// All objects, by namespace and name.
    #[must_use]
    pub fn list(&self) -> Vec<Arc<K>> {
        self.shared.list("").into_iter().map(typed).collect()
    }

    /// The objects of a namespace, by name.
    #[must_use]
    pub fn list_in(&self, namespace: &str) -> Vec<Arc<K>> {
        self.shared.list(namespace).into_iter().map(typed).collect()
    }

    /// The objects with an owner reference to this UID.
    #[must_use]
    pub fn owned_by(&self, uid: &str) -> Vec<Arc<K>> {
        self.shared.owned_by(uid).into_iter().map(typed).collect()
    }

    /// Adds an index unless one of that name is there.
    pub fn add_index(
        &self,
        name: &'static str,
        by: impl Fn(&K, &mut dyn FnMut(&str)) + Send + Sync + 'static,
    ) {
        let by = move |object: &dyn AnyObject, emit: &mut dyn FnMut(&str)| {
            if let Some(object) = object.as_any().downcast_ref::<K>() {
                by(object, emit);
            }
        };
        self.shared.add_index(name, Box::new(by));
    }

    /// The objects that an index files under a value.
    #[must_use]
    pub fn by_index(&self, name: &str, value: &str) -> Vec<Arc<K>> {
        self.shared.by_index(name, value).into_iter().map(typed).collect()
    }

    /// Tells a handler of every object that is there, as `Added`, and then of every change, in
    /// order. The handler must be quick, must not wait, and must not subscribe to this cache.
    pub fn subscribe(&self, handler: impl Fn(Event<K>) + Send + Sync + 'static) {
        self.shared.subscribe(Box::new(move |change| handler(event(change))));
    }

    /// Whether the initial list has been applied and told.
    #[must_use]
    pub fn has_synced(&self) -> bool {
        self.shared.has_synced()
    }

    /// Waits until the initial list has been applied and told.
    pub async fn synced(&self) {
        self.shared.synced().await;
    }
}

fn typed<K: Kind>(object: Object) -> Arc<K> {
    object.into_any().downcast().expect("a cache holds objects of its own type only")
}

fn event<K: Kind>(change: &Change) -> Event<K> {
    match change.clone() {
        Change::Added(object) => Event::Added(typed(object)),
        Change::Updated { old, new } => Event::Updated { old: typed(old), new: typed(new) },
        Change::Deleted(object) => Event::Deleted(typed(object)),
    }
}
