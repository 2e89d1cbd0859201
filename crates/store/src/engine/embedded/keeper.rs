//! What is about time: keys that expire, history that grows old, progress for quiet watches.
//!
//! One task a store, which sleeps until the next thing is due and is woken when an earlier one
//! comes. Invariant: it never polls; a store in which nothing happens lets it sleep.

use std::sync::{Arc, Weak};
use std::time::Duration;

use futures::future::join_all;
use tokio::time::Instant;

use super::EmbeddedStore;
use super::core::Core;
use crate::{Durability, Expect, Revision, Store, StoreError, Write};

/// How many expired keys are deleted at once.
const EXPIRE_BATCH: usize = 256;
/// How long to wait after the store refused to delete an expired key.
const RETRY: Duration = Duration::from_secs(1);

#[derive(Debug, Default)]
struct Keeper {
    told: Revision,
    progress_due: Option<Instant>,
    expire_not_before: Option<Instant>,
}

/// Runs until the store is dropped or closed.
pub(super) async fn run(core: Arc<Core>, store: Weak<EmbeddedStore>) {
    let mut keeper = Keeper::default();
    loop {
        let woken = core.keeper.notified();
        let Some(alive) = store.upgrade().filter(|store| !store.is_closed()) else { return };
        keeper.expire(&core, &alive).await;
        drop(alive);
        match keeper.settle(&core) {
            Some(next) => {
                tokio::select! {
                    () = woken => {}
                    () = tokio::time::sleep_until(next) => {}
                }
            }
            None => woken.await,
        }
    }
}

impl Keeper {
    async fn expire(&mut self, core: &Core, store: &EmbeddedStore) {
        if self.expire_not_before.is_some_and(|at| Instant::now() < at) {
            return;
        }
        self.expire_not_before = None;
        loop {
            let due = core.index.read().due(Instant::now(), EXPIRE_BATCH);
            if due.is_empty() {
                return;
            }
            // Relaxed: what comes back after a power failure expires once more.
            let deletes = due.into_iter().map(|(key, revision)| {
                store.write(Write {
                    key,
                    value: None,
                    expect: Expect::Revision(revision),
                    durability: Durability::Relaxed,
                    ttl: None,
                })
            });
            let refused = |result: &Result<_, StoreError>| matches!(result, Err(error) if !matches!(error, StoreError::Conflict { .. }));
            if join_all(deletes).await.iter().any(refused) {
                self.expire_not_before = Some(Instant::now() + RETRY);
                return;
            }
        }
    }

    /// Trims history, tells progress, and says when to come back.
    fn settle(&mut self, core: &Core) -> Option<Instant> {
        let now = Instant::now();
        core.index.write().trim(now);
        if self.progress_due.is_some_and(|due| due <= now) {
            self.told = core.progress(None);
            self.progress_due = None;
        }
        let index = core.index.read();
        if self.progress_due.is_none() && index.revision() > self.told {
            self.progress_due = Some(now + core.limits.progress_every);
        }
        let expiry =
            index.next_expiry().map(|at| self.expire_not_before.map_or(at, |not| at.max(not)));
        let next = [expiry, index.next_trim(), self.progress_due].into_iter().flatten().min();
        *core.alarm.lock() = next;
        next
    }
}
