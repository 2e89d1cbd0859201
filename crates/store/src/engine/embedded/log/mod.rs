//! The log: what makes changes durable.
//!
//! Segments of checksummed frames, appended to by one thread, read only when the store opens. All
//! writers that wait share one frame and one `fdatasync`. Old segments are cleaned from the oldest
//! on: what is still current moves to the end, then the file goes.
//!
//! Invariants: a change becomes visible only after it is as durable as was asked for; a failed
//! sync ends writing for good, because the kernel forgets what it could not write; a full disk
//! leaves room, taken in advance, for deletes and cleaning.
//!
//! What each file does: `frame` and `segment` the formats · `queue` who waits · `recover` reading
//! back · `active` the end of the log · `clean` old segments · this one the thread.

mod active;
mod clean;
mod frame;
mod queue;
mod recover;
mod segment;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use base::clock::SharedClock;
use tokio::time::Instant;

use self::active::{Active, Failure};
use self::clean::Pass;
use self::frame::{Encoder, Put, Record};
use self::queue::Patience;
pub(super) use self::queue::{Queue, Submission};
use self::recover::{Now, recover};
use self::segment::Dir;
use super::core::Core;
use super::index::{Expiry, Index, Retention};
use super::stage::{Batch, Decision};
use crate::{Durability, Revision, StoreError, StoreResult, Write, Written};

/// How far ahead revisions are promised to the disk.
const CEILING_STEP: Revision = 1 << 16;
/// About how many bytes one group commit takes.
const BATCH_BYTES: u64 = 1 << 20;
/// What nobody waited for is on the disk after this long.
const RELAXED_SYNC: Duration = Duration::from_secs(1);
/// How often a full store looks whether there is room again.
const ROOM_CHECK: Duration = Duration::from_millis(500);

/// How the log is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct LogOptions {
    pub(super) segment_bytes: u64,
    pub(super) sync_all: bool,
    pub(super) retention: Retention,
    /// Revisions up to this one are not given.
    pub(super) revision_min: Revision,
}

/// The log, as its thread holds it.
#[derive(Debug)]
pub(super) struct Log {
    active: Active,
    encoder: Encoder,
    clock: SharedClock,
    sync_all: bool,
    /// Revisions up to this one may be given.
    ceiling: Revision,
    pass: Option<Pass>,
    full: bool,
    room_checked: Option<Instant>,
    /// Why nothing can be written any more.
    failed: Option<StoreError>,
}

/// Opens the log of a directory and reads it.
pub(super) fn open(
    path: &Path,
    options: LogOptions,
    clock: SharedClock,
) -> StoreResult<(Index, Log)> {
    let dir = Dir::open(path)?;
    let unavailable = |error: std::io::Error| match segment::is_full(&error) {
        true => StoreError::Full,
        false => StoreError::Unavailable(format!("cannot open {}: {error}", path.display())),
    };
    let listing = dir.list().map_err(unavailable)?;
    let now = Now { instant: Instant::now(), wall_ms: wall_ms(&clock) };
    let Some(read) = recover(&dir, &listing, options.retention, now)? else {
        let mut index = Index::new(super::FIRST_REVISION, options.retention);
        let first = index.revision();
        let active = Active::create(dir, listing.spares, options.segment_bytes, first);
        let mut log = Log::new(active.map_err(unavailable)?, clock, options, first);
        log.reopen(&mut index, options.revision_min)?;
        return Ok((index, log));
    };
    if read.torn > 0 {
        let (bytes, segment) = (read.torn, dir.segment_path(read.last));
        tracing::warn!(bytes, ?segment, "cut off the end of the log that was torn");
    }
    let mut index = read.index;
    let ceiling = read.ceiling.max(index.revision());
    // An orderly end says that nothing was given beyond what was read.
    let above = if read.clean { 0 } else { ceiling };
    let tail = active::Tail {
        closed: read.closed,
        last: read.last,
        at: read.tail,
        torn: read.torn,
        floor: read.floor,
        stale: read.stale,
    };
    let active = Active::resume(dir, listing.spares, options.segment_bytes, tail);
    let mut log = Log::new(active.map_err(unavailable)?, clock, options, ceiling);
    log.reopen(&mut index, above.max(options.revision_min))?;
    Ok((index, log))
}

fn wall_ms(clock: &SharedClock) -> u64 {
    u64::try_from(clock.now().as_millisecond()).unwrap_or(0)
}

impl Log {
    fn new(active: Active, clock: SharedClock, options: LogOptions, ceiling: Revision) -> Self {
        Self {
            active,
            encoder: Encoder::default(),
            clock,
            sync_all: options.sync_all,
            ceiling,
            pass: None,
            full: false,
            room_checked: None,
            failed: None,
        }
    }

    /// Goes on above these revisions, which may have been given; at least after the last one that
    /// is known. Always leaves its mark: the orderly end before it must not count any more when
    /// relaxed writes that follow are lost.
    fn reopen(&mut self, index: &mut Index, above: Revision) -> StoreResult<()> {
        let last = index.revision();
        let reopened = if above < last { last } else { above + 1 };
        let ceiling = reopened + CEILING_STEP;
        self.encoder.begin();
        self.encoder.note(&Record::Opened { last, reopened });
        self.encoder.note(&Record::Ceiling(ceiling));
        let wall_ms = wall_ms(&self.clock);
        let fits = self.active.make_room(self.encoder.len(), last, self.ceiling, false);
        fits.or_else(|failure| match failure {
            Failure::NoRoom => self.active.make_room(self.encoder.len(), last, self.ceiling, true),
            broken => Err(broken),
        })
        .and_then(|()| self.active.append(&mut self.encoder, wall_ms))
        .and_then(|()| self.active.sync())
        .map_err(|failure| failure.into_error(self.active.path()))?;
        self.ceiling = ceiling;
        index.reopen(last, reopened);
        Ok(())
    }

    /// Runs the log until its queue is closed.
    pub(super) fn spawn(mut self, core: Arc<Core>) -> StoreResult<(Arc<Queue>, JoinHandle<()>)> {
        let queue = Arc::new(Queue::default());
        // History and deadlines are told in the runtime's time, which tests may pause.
        let runtime = tokio::runtime::Handle::try_current().ok();
        let theirs = queue.clone();
        let run = move || {
            let _entered = runtime.as_ref().map(tokio::runtime::Handle::enter);
            let _abandon = Abandon(&theirs);
            self.count(&core);
            self.run(&core, &theirs);
        };
        let thread = std::thread::Builder::new().name("store-log".into()).spawn(run);
        let thread = thread.map_err(|error| {
            StoreError::Unavailable(format!("cannot start the log's thread: {error}"))
        })?;
        Ok((queue, thread))
    }

    fn run(&mut self, core: &Core, queue: &Queue) {
        self.active.fill_reserve();
        loop {
            let patience = if self.pass.is_some() {
                Patience::None
            } else if self.active.is_unsynced() && self.failed.is_none() {
                Patience::Until(RELAXED_SYNC)
            } else {
                Patience::Forever
            };
            let Some(submissions) = queue.take(BATCH_BYTES, patience) else { break };
            if !submissions.is_empty() {
                self.commit(core, submissions);
            } else if self.pass.is_none() && self.failed.is_none() {
                let synced = self.active.sync();
                self.note_failure(synced);
            }
            self.clean(core);
            self.count(core);
        }
        self.finish(core);
    }

    /// Puts the mark of an orderly end on the disk.
    fn finish(&mut self, core: &Core) {
        if self.failed.is_some() {
            return;
        }
        let revision = core.index.read().revision();
        self.encoder.begin();
        self.encoder.note(&Record::Closed);
        let done = self
            .active
            .make_room(self.encoder.len(), revision, self.ceiling, self.full)
            .and_then(|()| self.active.append(&mut self.encoder, wall_ms(&self.clock)))
            .and_then(|()| self.active.sync());
        self.note_failure(done);
        self.count(core);
    }

    fn commit(&mut self, core: &Core, submissions: Vec<Submission>) {
        if self.full {
            self.look_for_room();
        }
        let mut result = self.try_commit(core, &submissions);
        if matches!(result, Err(Failure::NoRoom)) && !self.full {
            self.full = true;
            self.room_checked = Some(Instant::now());
            tracing::error!(dir = ?self.active.path(), "the data directory's disk is full; only deletes go through");
            result = self.try_commit(core, &submissions);
        }
        let mut outcomes = match result {
            Ok(outcomes) => outcomes.into_iter(),
            Err(failure) => {
                let error = failure.into_error(self.active.path());
                if !matches!(error, StoreError::Full) {
                    self.fail(error.clone());
                }
                vec![Err(error); submissions.len()].into_iter()
            }
        };
        // Who is answered finds the counts as they are now.
        self.count(core);
        for submission in submissions {
            let outcome = outcomes.next();
            if let (Submission::Write(_, reply), Some(outcome)) = (submission, outcome) {
                // A writer that went away does not want to know.
                reply.send(outcome).unwrap_or_default();
            }
        }
    }

    /// Decides, writes, syncs and publishes. Nothing is visible unless all of it worked.
    fn try_commit(
        &mut self,
        core: &Core,
        submissions: &[Submission],
    ) -> Result<Vec<StoreResult<Written>>, Failure> {
        if let Some(error) = &self.failed {
            return Ok(vec![Err(error.clone()); submissions.len()]);
        }
        let full = self.full;
        let allowed = |submission: &&Submission| !full || submission.frees();
        let bytes: u64 = submissions.iter().filter(allowed).map(Submission::len).sum();
        let newest = core.index.read().revision();
        if bytes > 0 {
            self.active.make_room(bytes, newest, self.ceiling, full)?;
        }
        let now = Instant::now();
        let mut staged = self.stage(core, submissions, now);
        let ceiling = self.note_ceiling(newest + staged.batch.changes.len() as u64, staged.sync);
        if !self.encoder.is_empty() {
            self.active.append(&mut self.encoder, wall_ms(&self.clock))?;
            if staged.sync || ceiling.is_some_and(|(_, forced)| forced) {
                self.active.sync()?;
            }
        }
        self.ceiling = ceiling.map_or(self.ceiling, |(ceiling, _)| ceiling);
        let home = self.active.segment();
        staged.batch.changes.iter_mut().for_each(|change| change.home = home);
        let events = match staged.batch.changes.is_empty() {
            true => Vec::new(),
            false => core.publish(staged.batch.changes, now),
        };
        let outcome = |decision| match decision {
            Decision::Refused(error) => Err(error),
            Decision::Nothing(written) => Ok(written),
            Decision::Change(place) => {
                let event = &events[place];
                Ok(Written { revision: event.revision, previous: event.previous.clone() })
            }
        };
        Ok(staged.decisions.into_iter().map(outcome).collect())
    }

    fn stage(&mut self, core: &Core, submissions: &[Submission], now: Instant) -> Staged {
        self.encoder.begin();
        let mut staged = Staged::default();
        let index = core.index.read();
        let mut next = index.revision() + 1;
        for submission in submissions {
            let write = match submission {
                Submission::Write(write, _) => write,
                Submission::Compacted(before) => {
                    self.encoder.note(&Record::Compacted(*before));
                    let nothing = Written { revision: 0, previous: None };
                    staged.decisions.push(Decision::Nothing(nothing));
                    continue;
                }
            };
            if self.full && !submission.frees() {
                staged.decisions.push(Decision::Refused(StoreError::Full));
                continue;
            }
            let expiry = write.ttl.map(|ttl| core.expiry(ttl, now));
            let decision = staged.batch.decide(&index, write, next, expiry);
            if let Decision::Change(place) = decision {
                staged.sync |= self.sync_all || write.durability == Durability::Synced;
                encode(&mut self.encoder, write, &staged.batch.changes[place], expiry);
                next += 1;
            }
            staged.decisions.push(decision);
        }
        staged
    }

    /// Promises more revisions to the disk: for free when it is synced anyway, before the promise
    /// is half used up; otherwise when it must be. Says the new ceiling and whether it must.
    fn note_ceiling(&mut self, newest: Revision, synced: bool) -> Option<(Revision, bool)> {
        let forced = newest > self.ceiling;
        let due = synced && newest + CEILING_STEP / 2 > self.ceiling;
        if !forced && !due {
            return None;
        }
        let ceiling = newest + CEILING_STEP;
        self.encoder.note(&Record::Ceiling(ceiling));
        Some((ceiling, forced))
    }

    fn look_for_room(&mut self) {
        let now = Instant::now();
        if self.room_checked.is_some_and(|at| now < at + ROOM_CHECK) {
            return;
        }
        self.room_checked = Some(now);
        if self.active.fill_reserve() {
            self.full = false;
            tracing::info!(dir = ?self.active.path(), "there is room on the data directory's disk again");
        }
    }

    fn fail(&mut self, error: StoreError) {
        tracing::error!(%error, "the store cannot write any more; mend the disk and restart");
        self.failed = Some(error);
        self.pass = None;
    }

    fn note_failure(&mut self, result: Result<(), Failure>) {
        match result {
            Ok(()) | Err(Failure::NoRoom) => {}
            Err(failure) => self.fail(failure.into_error(self.active.path())),
        }
    }

    fn count(&self, core: &Core) {
        let counters = &core.counters;
        counters.fsyncs.store(self.active.fsyncs, Ordering::Relaxed);
        counters.disk_written.store(self.active.written, Ordering::Relaxed);
        counters.disk_bytes.store(self.active.disk_bytes(), Ordering::Relaxed);
        counters.full.store(self.full, Ordering::Relaxed);
    }
}

/// A batch that was decided and encoded.
#[derive(Debug, Default)]
struct Staged {
    batch: Batch,
    decisions: Vec<Decision>,
    /// Somebody waits for stable storage.
    sync: bool,
}

fn encode(
    encoder: &mut Encoder,
    write: &Write,
    change: &super::index::Change,
    expiry: Option<Expiry>,
) {
    match &write.value {
        None => encoder.delete(&write.key, change.revision),
        Some(value) => {
            let put = Put {
                key: write.key.clone(),
                value: value.clone(),
                modified: change.revision,
                created: change.created,
                expires_ms: expiry.map_or(0, |expiry| expiry.wall_ms.max(1)),
            };
            encoder.put(&put, false);
        }
    }
}

/// Lets nobody wait for a log whose thread is gone.
struct Abandon<'a>(&'a Queue);

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        self.0.abandon();
    }
}
