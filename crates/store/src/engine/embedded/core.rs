//! What readers, watchers and writers share: the index, the watches, and how changes are made
//! visible.
//!
//! Invariant: locks are taken in the order index, watches, mailbox or alarm, and never across an await or
//! a disk access.

use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::time::Duration;

use base::clock::SharedClock;
use parking_lot::{Mutex, RwLock};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::index::{Change, Expiry, Index, Retention, Scan};
use super::prefix;
use super::watch::Watchers;
use crate::{Event, Page, Range, Revision, Stats, StoreError, StoreResult};

/// How many keys one step of a range looks at while writers wait.
const SCAN_STEP: usize = 1024;

/// How much is kept, and when.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) retention: Retention,
    pub(super) mailbox: usize,
    pub(super) progress_every: Duration,
}

/// What is counted since the store was opened.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) writes: AtomicU64,
    pub(super) fsyncs: AtomicU64,
    pub(super) disk_written: AtomicU64,
    pub(super) disk_bytes: AtomicU64,
    pub(super) full: AtomicBool,
}

#[derive(Debug)]
pub(super) struct Core {
    pub(super) index: RwLock<Index>,
    pub(super) watchers: Mutex<Watchers>,
    pub(super) limits: Limits,
    pub(super) clock: SharedClock,
    pub(super) counters: Counters,
    /// Wakes the keeper for something that comes before what it waits for.
    pub(super) keeper: Notify,
    /// What the keeper waits for.
    pub(super) alarm: Mutex<Option<Instant>>,
}

impl Core {
    pub(super) fn new(index: Index, limits: Limits, clock: SharedClock) -> Arc<Self> {
        Arc::new(Self {
            index: RwLock::new(index),
            watchers: Mutex::default(),
            limits,
            clock,
            counters: Counters::default(),
            keeper: Notify::new(),
            alarm: Mutex::new(None),
        })
    }

    /// When something that lives this long from now on ends.
    pub(super) fn expiry(&self, ttl: Duration, now: Instant) -> Expiry {
        let wall_ms = u64::try_from(self.clock.now().as_millisecond()).unwrap_or(0);
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX);
        // A TTL beyond what the clock can count is as good as a century.
        let century = Duration::from_secs(100 * 365 * 86_400);
        Expiry { at: now + ttl.min(century), wall_ms: wall_ms.saturating_add(ttl_ms) }
    }

    /// Makes changes visible to readers and hands them to watches, in one go.
    pub(super) fn publish(&self, changes: Vec<Change>, now: Instant) -> Vec<Arc<Event>> {
        let count = changes.len() as u64;
        let mut index = self.index.write();
        let events: Vec<_> = changes.into_iter().map(|change| index.apply(change, now)).collect();
        let next = [index.next_expiry(), index.next_trim(), Some(now + self.limits.progress_every)];
        self.set_alarm(next.into_iter().flatten().min());
        // Readers go on from here; who joins now has these changes in its replay, and waits for
        // the watches' lock until they have been handed out.
        let (mut watchers, mut wakers) = (self.watchers.lock(), Vec::new());
        drop(index);
        for event in &events {
            watchers.dispatch(event, self.limits.mailbox, &mut wakers);
        }
        drop(watchers);
        wakers.into_iter().for_each(Waker::wake);
        self.counters.writes.fetch_add(count, Ordering::Relaxed);
        events
    }

    fn set_alarm(&self, next: Option<Instant>) {
        let alarm = *self.alarm.lock();
        if next.is_some_and(|next| alarm.is_none_or(|alarm| next < alarm)) {
            self.keeper.notify_one();
        }
    }

    /// A page of a range, read in steps between which writers go on.
    pub(super) fn range(&self, range: &Range) -> StoreResult<Page> {
        loop {
            match self.range_once(range) {
                // History was dropped while this read went on: the newest state is still there.
                Err(StoreError::Compacted { .. }) if range.at.is_none_or(|at| at == 0) => {}
                done => return done,
            }
        }
    }

    fn range_once(&self, range: &Range) -> StoreResult<Page> {
        let limit = range.limit.filter(|limit| *limit > 0).unwrap_or(usize::MAX);
        let end = prefix::end(&range.prefix);
        let upper = end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let revision = match range.at.filter(|at| *at > 0) {
            Some(at) => at,
            None => self.index.read().revision(),
        };
        let mut page = Page { items: Vec::new(), revision, remaining: 0 };
        let after = range.after.clone().filter(|after| *after >= range.prefix);
        let mut resume: Option<Arc<str>> = after.map(Arc::from);
        loop {
            let lower = match &resume {
                Some(key) => Bound::Excluded(&**key),
                None => Bound::Included(range.prefix.as_str()),
            };
            let take = limit - page.items.len();
            let scan = Scan { lower, upper, at: revision, take, budget: SCAN_STEP };
            let found = self.index.read().scan(&scan, &mut page.items)?;
            page.remaining += found.counted;
            match found.resume {
                Some(key) => resume = Some(key),
                None => return Ok(page),
            }
        }
    }

    /// Tells the watches of one prefix, or all, up to where they have been handed everything.
    pub(super) fn progress(&self, prefix: Option<&str>) -> Revision {
        let index = self.index.read();
        let revision = index.revision();
        let wakers = self.watchers.lock().progress(prefix, revision);
        drop(index);
        wakers.into_iter().for_each(Waker::wake);
        revision
    }

    pub(super) fn stats(&self) -> Stats {
        let index = self.index.read();
        let ((keys, live_bytes), (history, history_bytes)) = (index.live(), index.history_size());
        let (revision, oldest, expiring) = (index.revision(), index.floor(), index.expiring());
        drop(index);
        let watchers = self.watchers.lock();
        Stats {
            revision,
            oldest,
            keys,
            live_bytes,
            history_events: history as u64,
            history_bytes: history_bytes as u64,
            expiring: expiring as u64,
            watchers: watchers.count() as u64,
            watchers_cut: watchers.cut(),
            writes: self.counters.writes.load(Ordering::Relaxed),
            fsyncs: self.counters.fsyncs.load(Ordering::Relaxed),
            disk_written_bytes: self.counters.disk_written.load(Ordering::Relaxed),
            disk_bytes: self.counters.disk_bytes.load(Ordering::Relaxed),
            full: self.counters.full.load(Ordering::Relaxed),
        }
    }

    /// Ends every watch with this error.
    pub(super) fn end_watches(&self, why: &StoreError) {
        let wakers = self.watchers.lock().close(why);
        wakers.into_iter().for_each(Waker::wake);
    }
}
