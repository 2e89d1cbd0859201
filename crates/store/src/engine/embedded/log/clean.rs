//! Cleaning: values that are still current move out of the oldest segments, which then go.
//!
//! In small steps between commits. Invariants: segments go from the oldest on, so that a delete
//! is needed only as long as its segment; a segment goes only after what was moved out of it, and
//! the word that it is gone, are on the disk.

use std::sync::Arc;

use super::super::core::Core;
use super::active::Failure;
use super::frame::{Put, Record, put_len};
use super::{Log, wall_ms};
use crate::{KeyValue, Revision};

/// How many keys, and how many bytes of values, one step looks at and moves.
const STEP: (usize, usize) = (2048, 256 << 10);
/// Garbage that is not worth cleaning, in segments.
const SLACK_SEGMENTS: u64 = 4;

/// A cleaning that is under way.
#[derive(Debug)]
pub(super) struct Pass {
    /// The newest of the segments that will go.
    upto: u32,
    /// Where the next step goes on.
    after: Option<Arc<str>>,
    /// The revision at the start: history before it is lost with the segments.
    floor: Revision,
}

impl Log {
    /// One step of cleaning, if there is something to clean.
    pub(super) fn clean(&mut self, core: &Core) {
        if self.failed.is_some() {
            return;
        }
        if self.pass.is_none() {
            self.pass = self.plan_pass(core);
        }
        let Some(pass) = self.pass.take() else { return };
        match self.step(core, pass) {
            Ok(next) => self.pass = next.or_else(|| self.plan_pass(core)),
            // Given up for now: what was moved is only there twice.
            Err(Failure::NoRoom) => {}
            Err(broken) => self.note_failure(Err(broken)),
        }
    }

    fn plan_pass(&self, core: &Core) -> Option<Pass> {
        let (keys, bytes) = core.index.read().live();
        let live = bytes + put_len(0, 0) * keys;
        let (&oldest, &oldest_len) = self.active.closed().first_key_value()?;
        let (total, segment) = (self.active.log_bytes(), self.active.segment_bytes());
        let (worth, count) = if self.full {
            // One at a time, and only what the reserve can take.
            (total > live + segment && self.active.fits_in_reserve(oldest_len), 1)
        } else {
            let closed = self.active.closed().len();
            (total > live * 2 + SLACK_SEGMENTS * segment, closed.div_ceil(4))
        };
        let upto = self.active.closed().keys().nth(count.max(1) - 1).copied().unwrap_or(oldest);
        let floor = core.index.read().revision();
        worth.then_some(Pass { upto, after: None, floor })
    }

    fn step(&mut self, core: &Core, pass: Pass) -> Result<Option<Pass>, Failure> {
        let (found, after) = {
            let index = core.index.read();
            index.in_old_segments(pass.after.as_deref(), pass.upto, STEP)
        };
        self.move_values(core, &found)?;
        if after.is_some() {
            return Ok(Some(Pass { after, ..pass }));
        }
        let revision = core.index.read().revision();
        self.encoder.begin();
        self.encoder.note(&Record::Trimmed { first: pass.upto + 1, floor: pass.floor });
        self.active.make_room(self.encoder.len(), revision, self.ceiling, self.full)?;
        self.active.append(&mut self.encoder, wall_ms(&self.clock))?;
        self.active.sync()?;
        self.active.floor = pass.floor;
        self.active.drop_closed(pass.upto, self.full)?;
        Ok(None)
    }

    fn move_values(&mut self, core: &Core, found: &[KeyValue]) -> Result<(), Failure> {
        if found.is_empty() {
            return Ok(());
        }
        let bytes = found.iter().map(|kv| put_len(kv.key.len(), kv.value.len())).sum();
        let (revision, expiries): (_, Vec<_>) = {
            let index = core.index.read();
            let expiry = |kv: &KeyValue| index.expiry(kv.mod_revision);
            (index.revision(), found.iter().map(expiry).collect())
        };
        self.active.make_room(bytes, revision, self.ceiling, self.full)?;
        self.encoder.begin();
        for (kv, expiry) in found.iter().zip(expiries) {
            let put = Put {
                key: kv.key.clone(),
                value: kv.value.clone(),
                modified: kv.mod_revision,
                created: kv.create_revision,
                expires_ms: expiry.map_or(0, |expiry| expiry.wall_ms.max(1)),
            };
            self.encoder.put(&put, true);
        }
        self.active.append(&mut self.encoder, wall_ms(&self.clock))?;
        let home = self.active.segment();
        let mut index = core.index.write();
        found.iter().for_each(|kv| index.rehome(kv, home));
        Ok(())
    }
}
