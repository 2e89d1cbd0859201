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
//! To add an engine: one file in `engine/`, a variant of the composition's `StoreKind`, and a call
//! of [`suite`] in its tests.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use futures::stream::BoxStream;

/// The number of a change to the store. 0 is before the first change.
pub type Revision = u64;

/// A value and where it stands in the store's history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyValue {
    /// The key, `/registry/pods/default/web`.
    pub key: Arc<str>,
    /// The bytes, shared with the store: cloning copies nothing.
    pub value: Bytes,
    /// The revision at which the key came into being.
    pub create_revision: Revision,
    /// The revision of the key's last change.
    pub mod_revision: Revision,
}

/// Whether a write waits for the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// Acknowledged after it is on stable storage.
    #[default]
    Synced,
    /// Written, not waited for: may go back by moments on power loss. Leases and Events only.
    Relaxed,
}

/// What a writer believes of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// Nothing: write whatever is there.
    Anything,
    /// The key does not exist.
    Absent,
    /// The key's last change was at this revision.
    Revision(Revision),
}

/// One change to one key.
#[derive(Debug, Clone)]
pub struct Write {
    /// The key.
    pub key: Arc<str>,
    /// The new value, or `None` to delete the key.
    pub value: Option<Bytes>,
    /// The condition under which the change happens.
    pub expect: Expect,
    /// Whether to wait for the disk.
    pub durability: Durability,
    /// The key deletes itself after this time (Events, some Leases). A later write of the key
    /// replaces it.
    pub ttl: Option<std::time::Duration>,
}

/// What became of a write that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// The revision of this change.
    pub revision: Revision,
    /// What the key held before.
    pub previous: Option<KeyValue>,
}

/// Which keys a range reads: those that start with `prefix` and come after `after`.
#[derive(Debug, Clone, Default)]
pub struct Range {
    /// The prefix of the keys.
    pub prefix: String,
    /// Only keys greater than this one.
    pub after: Option<String>,
    /// At most this many.
    pub limit: Option<usize>,
    /// The state at this revision instead of the newest.
    pub at: Option<Revision>,
}

/// A page of a range, in key order.
#[derive(Debug, Clone)]
pub struct Page {
    /// The keys and values.
    pub items: Vec<KeyValue>,
    /// The revision of the snapshot that the page was read from.
    pub revision: Revision,
    /// How many keys of the range follow after this page.
    pub remaining: u64,
}

/// A change, as watchers see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    /// The key.
    pub key: Arc<str>,
    /// The new value; `None` for a deletion.
    pub value: Option<KeyValue>,
    /// What the key held before the change.
    pub previous: Option<KeyValue>,
}

/// What a watch yields.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WatchItem {
    /// Changes of one or more consecutive revisions, in order.
    Events(Vec<Event>),
    /// Everything up to and including this revision has been yielded.
    Progress(Revision),
}

/// A running watch. Ends after its first error.
pub type WatchStream = BoxStream<'static, Result<WatchItem, StoreError>>;

/// What went wrong in the store.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The key was not as the writer expected; here is what it holds.
    #[error("key {key} is not as expected")]
    Conflict {
        /// The key.
        key: Arc<str>,
        /// Its present value, if there is one.
        current: Option<Box<KeyValue>>,
    },
    /// The revision is older than the history that is kept.
    #[error("revision {requested} has been compacted; the oldest kept is {oldest}")]
    Compacted {
        /// The revision asked for.
        requested: Revision,
        /// The oldest that can be read.
        oldest: Revision,
    },
    /// The revision was never given.
    #[error("revision {requested} is in the future; the newest is {newest}")]
    Future {
        /// The revision asked for.
        requested: Revision,
        /// The newest there is.
        newest: Revision,
    },
    /// The watcher did not keep up and was cut off.
    #[error("the watcher fell behind and was cut off")]
    Slow,
    /// The disk is full: writes are refused, deletes and compaction go through.
    #[error("the data directory's disk is full; free space or delete objects")]
    Full,
    /// The files are damaged; nothing was read from the damaged part.
    #[error("the store's files are damaged: {0}")]
    Corrupt(String),
    /// The store is closed, or the remote store cannot be reached.
    #[error("the store is not available: {0}")]
    Unavailable(String),
}

/// What stores return.
pub type StoreResult<T> = Result<T, StoreError>;

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

    /// The newest revision.
    async fn revision(&self) -> StoreResult<Revision>;

    /// Drops history before `before`: ranges and watches below it fail with
    /// [`StoreError::Compacted`].
    async fn compact(&self, before: Revision) -> StoreResult<()>;

    /// Every key at one revision, in key order, for a backup: the revision and the values.
    async fn snapshot(&self) -> StoreResult<(Revision, BoxStream<'static, StoreResult<KeyValue>>)>;
}

/// A store, shared.
pub type SharedStore = Arc<dyn Store>;
