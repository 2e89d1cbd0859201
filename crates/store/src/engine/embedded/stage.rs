//! Decides on writes, in the order in which they came.
//!
//! Pure. A batch holds changes that were decided and are not yet seen by readers; later writes of
//! the same batch are decided on top of them. Invariant: a revision is given to a change only.

use std::collections::HashMap;
use std::sync::Arc;

use super::index::{Change, Expiry, Index, key_value};
use crate::{Expect, KeyValue, Revision, StoreError, Write, Written};

/// What was decided of one write.
#[derive(Debug)]
pub(super) enum Decision {
    /// The change at this place of the batch.
    Change(usize),
    /// There was nothing to change.
    Nothing(Written),
    /// The key was not as expected.
    Refused(StoreError),
}

/// Changes that will become visible together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) changes: Vec<Change>,
    /// Where the last change of each key is.
    pending: HashMap<Arc<str>, usize>,
}

impl Batch {
    /// Decides on a write. `next` is the revision it gets if it happens.
    pub(super) fn decide(
        &mut self,
        index: &Index,
        write: &Write,
        next: Revision,
        expiry: Option<Expiry>,
    ) -> Decision {
        let current = self.current(index, &write.key);
        let fits = match write.expect {
            Expect::Anything => true,
            // Deleting what is not there is a conflict, even if that was expected.
            Expect::Absent => current.is_none() && write.value.is_some(),
            Expect::Revision(expected) => {
                current.as_ref().is_some_and(|kv| kv.mod_revision == expected)
            }
        };
        if !fits {
            let current = current.map(Box::new);
            return Decision::Refused(StoreError::Conflict { key: write.key.clone(), current });
        }
        if current.is_none() && write.value.is_none() {
            return Decision::Nothing(Written { revision: next - 1, previous: None });
        }
        let created = current.map_or(next, |kv| kv.create_revision);
        let place = self.changes.len();
        self.pending.insert(write.key.clone(), place);
        self.changes.push(Change {
            revision: next,
            created,
            key: write.key.clone(),
            value: write.value.clone(),
            expiry: expiry.filter(|_| write.value.is_some()),
            home: 0,
        });
        Decision::Change(place)
    }

    fn current(&self, index: &Index, key: &str) -> Option<KeyValue> {
        match self.pending.get_key_value(key) {
            Some((key, place)) => {
                let change = &self.changes[*place];
                Some(KeyValue {
                    key: key.clone(),
                    value: change.value.clone()?,
                    create_revision: change.created,
                    mod_revision: change.revision,
                })
            }
            None => index.latest(key).and_then(|(key, version)| key_value(key, version)),
        }
    }
}
