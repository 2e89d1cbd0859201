//! Changes that the caches no longer hold, read from the store's own history.

use std::sync::Arc;

use api::status::{ApiError, ApiResult};
use futures::StreamExt;
use store::{KeyValue, Revision, StoreError, WatchItem};

use super::{CacheEvent, Cacher, Lost, Storage, Stored, Subscription, store_error};

/// How many changes are read for one watcher; one that wants more begins anew.
const REPLAY_LEN_MAX: usize = 64 * 1024;

impl Storage {
    /// The changes of a resource after a revision: those that have left the cache's ring, and the
    /// subscription to the others.
    ///
    /// # Errors
    /// 410 when the store has forgotten them too.
    pub(crate) async fn changes_after(
        &self,
        cacher: &Arc<Cacher>,
        after: Revision,
    ) -> ApiResult<(Vec<Arc<CacheEvent>>, Subscription)> {
        if let Ok(subscription) = cacher.subscribe(after) {
            return Ok((Vec::new(), subscription));
        }
        let (subscription, from) =
            cacher.subscribe_oldest().map_err(|Lost| too_old(after, cacher.last_rv()))?;
        let replayed = self.replay(cacher, after, from).await?;
        Ok((replayed, subscription))
    }

    /// The changes after one revision up to and including another.
    async fn replay(
        &self,
        cacher: &Cacher,
        after: Revision,
        until: Revision,
    ) -> ApiResult<Vec<Arc<CacheEvent>>> {
        let forgotten = |error| match error {
            StoreError::Compacted { oldest, .. } => too_old(after, oldest.saturating_sub(1)),
            StoreError::Slow => too_old(after, until),
            other => store_error(other),
        };
        // Watching everything, the next change anywhere tells that the replay is complete.
        let mut changes = self.store.watch(super::feed::ROOT, after).await.map_err(forgotten)?;
        let mut replayed = Vec::new();
        while let Some(item) = changes.next().await {
            match item.map_err(forgotten)? {
                WatchItem::Progress(rv) if rv >= until => return Ok(replayed),
                WatchItem::Progress(_) => {}
                WatchItem::Events(events) => {
                    for event in events {
                        if event.revision > until {
                            return Ok(replayed);
                        }
                        let last = event.revision == until;
                        if event.key.starts_with(&cacher.prefix) {
                            let current = self.past(cacher, event.value.as_ref())?;
                            let previous = self.past(cacher, event.previous.as_ref())?;
                            let change = CacheEvent::new(event.revision, current, previous);
                            replayed.push(Arc::new(change));
                        }
                        if replayed.len() > REPLAY_LEN_MAX {
                            return Err(too_old(after, until));
                        }
                        if last {
                            return Ok(replayed);
                        }
                    }
                }
            }
        }
        Err(too_old(after, until))
    }

    fn past(&self, cacher: &Cacher, value: Option<&KeyValue>) -> ApiResult<Option<Arc<Stored>>> {
        let Some(value) = value else { return Ok(None) };
        let plain = self.transformer.decrypt(&value.key, value.value.clone())?;
        Stored::parse(&*cacher.resource, value.key.clone(), value.mod_revision, plain)
            .map(|stored| Some(Arc::new(stored)))
            .map_err(ApiError::internal)
    }
}

/// 410: the watch asked for what is no longer kept; the second number is where it may begin.
fn too_old(rv: Revision, oldest: Revision) -> ApiError {
    ApiError::expired(format!("too old resource version: {rv} ({oldest})"))
}
