//! What can go wrong in a store, whichever engine is below it.

use std::sync::Arc;

use crate::{KeyValue, Revision};

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
