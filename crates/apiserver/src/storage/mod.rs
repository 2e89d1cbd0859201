//! Between the registry and the store: keys, bytes, caches, errors.
//!
//! Invariant: what goes in and comes out here is plain serialized objects; encryption happens
//! below, HTTP above.

mod cacher;
mod feed;
pub(crate) mod list;
mod replay;
pub(crate) mod selection;
pub(crate) mod stored;
pub(crate) mod times;
mod transform;

use std::sync::Arc;
use std::time::Duration;

use api::status::{ApiError, ApiResult};
use bytes::Bytes;
use store::{Durability, Expect, KeyValue, Revision, SharedStore, StoreError, Write};
use tokio::time::Instant;

pub(crate) use cacher::{CacheEvent, Cacher, Lost, Subscription};
pub(crate) use feed::Feed;
pub(crate) use stored::{Facts, Stored};
use times::StoreOperation;
pub use transform::{Identity, ValueTransformer};

/// The store with its caches.
pub(crate) struct Storage {
    pub(crate) store: SharedStore,
    pub(crate) transformer: Arc<dyn ValueTransformer>,
    pub(crate) feed: Feed,
}

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum WriteError {
    /// The key was not as expected; this is what it holds now.
    Conflict(Option<Arc<Stored>>),
    /// Anything else.
    Failed(ApiError),
}

/// One write of an object.
pub(crate) struct ObjectWrite {
    pub(crate) key: Arc<str>,
    /// The serialized object with its facts; `None` deletes.
    pub(crate) value: Option<(Bytes, Facts)>,
    pub(crate) expect: Expect,
    pub(crate) durability: Durability,
    pub(crate) ttl: Option<Duration>,
}

impl Storage {
    /// The newest state of one object.
    pub(crate) async fn read(&self, cacher: &Cacher, key: &str) -> ApiResult<Option<Arc<Stored>>> {
        let began = Instant::now();
        let (found, _) = self.store.get(key).await.map_err(store_error)?;
        cacher.store_times.note(StoreOperation::Get, began.elapsed());
        found.map(|found| self.stored(cacher, found)).transpose()
    }

    /// Whether an object is stored in another way than it would be written now.
    pub(crate) async fn is_stale(&self, key: &str) -> ApiResult<bool> {
        let (found, _) = self.store.get(key).await.map_err(store_error)?;
        Ok(found.is_some_and(|found| self.transformer.is_stale(key, &found.value)))
    }

    /// An object out of the store, taken from the cache when that has the same revision.
    pub(crate) fn stored(&self, cacher: &Cacher, found: KeyValue) -> ApiResult<Arc<Stored>> {
        if let Some(cached) = cacher.get(&found.key).filter(|one| one.rv == found.mod_revision) {
            return Ok(cached);
        }
        let plain = self.transformer.decrypt(&found.key, found.value)?;
        Stored::parse(&*cacher.resource, found.key.clone(), found.mod_revision, plain)
            .map(Arc::new)
            .map_err(|error| {
                ApiError::internal(format!(
                    "the stored object {} is unreadable: {error}",
                    found.key
                ))
            })
    }

    /// Writes one object, telling the cache beforehand what is coming.
    pub(crate) async fn write(
        &self,
        cacher: &Cacher,
        write: ObjectWrite,
    ) -> Result<Revision, WriteError> {
        let ObjectWrite { key, value, expect, durability, ttl } = write;
        let value = match value {
            Some((plain, facts)) => {
                let stored =
                    self.transformer.encrypt(&key, plain.clone()).map_err(WriteError::Failed)?;
                cacher.hint(key.clone(), stored.clone(), plain, facts);
                Some(stored)
            }
            None => None,
        };
        let operation = match (&value, expect) {
            (None, _) => StoreOperation::Delete,
            (Some(_), Expect::Absent) => StoreOperation::Create,
            (Some(_), _) => StoreOperation::Update,
        };
        let began = Instant::now();
        let result =
            self.store.write(Write { key: key.clone(), value, expect, durability, ttl }).await;
        cacher.store_times.note(operation, began.elapsed());
        match result {
            Ok(written) => Ok(written.revision),
            Err(error) => {
                cacher.unhint(&key);
                Err(match error {
                    StoreError::Conflict { current, .. } => {
                        match current.map(|current| self.stored(cacher, *current)).transpose() {
                            Ok(current) => WriteError::Conflict(current),
                            Err(error) => WriteError::Failed(error),
                        }
                    }
                    other => WriteError::Failed(store_error(other)),
                })
            }
        }
    }

    /// Waits until the caches have everything that is stored now.
    pub(crate) async fn catch_up(&self) -> ApiResult<()> {
        let newest = self.store.revision().await.map_err(store_error)?;
        self.feed.reached(newest).await;
        Ok(())
    }
}

/// A store's failure as the client reads it.
pub(crate) fn store_error(error: StoreError) -> ApiError {
    match error {
        StoreError::Compacted { .. } => {
            ApiError::expired("The resourceVersion for the provided list is too old.")
        }
        StoreError::Future { requested, newest } => too_large(requested, newest),
        StoreError::Unavailable(why) => {
            ApiError::unavailable(format!("the store is not available: {why}"))
        }
        other => ApiError::internal(other),
    }
}

/// 504: the resource version was not given yet.
pub(crate) fn too_large(requested: Revision, newest: Revision) -> ApiError {
    too_far(requested, newest).retry_after_seconds(1)
}

/// The same, of a snapshot that is not waited for.
pub(crate) fn too_far(requested: Revision, newest: Revision) -> ApiError {
    let text = format!("Too large resource version: {requested}, current: {newest}");
    ApiError::new(504, "Timeout", format!("Timeout: {text}")).cause(
        "ResourceVersionTooLarge",
        "Too large resource version",
        "",
    )
}
