//! How long the store took for the objects of a resource, by operation.

use std::sync::OnceLock;
use std::time::Duration;

use base::metrics::Histogram;

use crate::metrics::SECONDS;

/// What the store was asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) enum StoreOperation {
    /// One object.
    Get,
    /// A new object.
    Create,
    /// A change.
    Update,
    /// A deletion.
    Delete,
}

const NAMES: [&str; 4] = ["get", "create", "update", "delete"];

/// The times. An operation that never happens takes no room.
#[derive(Debug, Default)]
pub(crate) struct StoreTimes([OnceLock<Box<Histogram>>; NAMES.len()]);

impl StoreTimes {
    /// The store has answered.
    pub(crate) fn note(&self, operation: StoreOperation, took: Duration) {
        self.0[operation as usize]
            .get_or_init(|| Box::new(Histogram::new(SECONDS)))
            .observe_duration(took);
    }

    /// The operations that have happened.
    pub(crate) fn all(&self) -> impl Iterator<Item = (&'static str, &Histogram)> {
        NAMES.into_iter().zip(&self.0).filter_map(|(name, times)| Some((name, &**times.get()?)))
    }
}
