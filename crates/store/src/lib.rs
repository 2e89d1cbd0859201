//! The store: etcd's semantics over keys, bytes and revisions.
//!
//! Every write gets the next revision of the whole store. A key is compared and set at the
//! revision of its last change. Ranges read a snapshot at a revision; watches replay from a
//! revision and go on. Nothing here can parse an object: values are bytes.
//!
//! Invariants: an acknowledged [`Durability::Synced`] write survives `kill -9` and power loss; a
//! revision is never given twice, not even across a restart that lost relaxed writes; a watcher
//! sees every change of its range once, in order, or is cut off with [`StoreError::Compacted`] or
//! [`StoreError::Slow`].
//!
//! To add an engine: one module in `engine/`, a variant of the composition's `StoreKind`, and a
//! call of [`suite`] in its tests.

pub mod backup;
mod engine;
mod error;
pub mod suite;
mod types;

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

pub use engine::embedded::{self, memory};
pub use engine::etcd;
pub use error::{StoreError, StoreResult};
pub use types::*;

/// A running watch. Ends after its first error.
pub type WatchStream = BoxStream<'static, Result<WatchItem, StoreError>>;

/// A store. Shared by everything in the server that keeps objects.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// The key's present value and the store's present revision.
    async fn get(&self, key: &str) -> StoreResult<(Option<KeyValue>, Revision)>;

    /// A page of a range.
    async fn range(&self, range: Range) -> StoreResult<Page>;

    /// Changes one key. Deleting a key that is absent fails with [`StoreError::Conflict`] unless
    /// [`Expect::Anything`] was given, in which case nothing changes and the present revision
    /// comes back.
    async fn write(&self, write: Write) -> StoreResult<Written>;

    /// Every change to keys with this prefix after revision `after` (0: from the oldest kept),
    /// then as they happen.
    async fn watch(&self, prefix: &str, after: Revision) -> StoreResult<WatchStream>;

    /// Asks every watch of exactly this prefix for a [`WatchItem::Progress`] at the present
    /// revision or a later one, and returns the present revision: who waits for that item has
    /// seen everything that was written before this call.
    async fn progress(&self, prefix: &str) -> StoreResult<Revision>;

    /// The newest revision.
    async fn revision(&self) -> StoreResult<Revision>;

    /// Drops history before `before`: ranges and watches below it fail with
    /// [`StoreError::Compacted`].
    async fn compact(&self, before: Revision) -> StoreResult<()>;

    /// Every key at one revision, in key order, for a backup: the revision and the values.
    async fn snapshot(&self) -> StoreResult<(Revision, BoxStream<'static, StoreResult<KeyValue>>)>;

    /// What the store holds and costs, for metrics.
    async fn stats(&self) -> StoreResult<Stats>;

    /// Ends every watch, finishes the writes that were accepted, puts everything on the disk and
    /// lets go of the files. Later calls fail with [`StoreError::Unavailable`].
    async fn close(&self) -> StoreResult<()>;
}

/// A store, shared.
pub type SharedStore = Arc<dyn Store>;
