//! The multi-version index: every key's versions, and every kept change by revision.
//!
//! Pure: no I/O, no clock, no locks; moments come in as arguments. Invariants: `history` holds
//! exactly the changes with a revision above `floor`, in order; a read at any revision from
//! `floor` on finds what was there then; a tombstone stays as long as a change that it answers
//! for is kept.

use std::collections::{BTreeMap, HashMap, VecDeque, btree_map};
use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::prefix;
use crate::{Event, KeyValue, Revision, StoreError, StoreResult};

/// What one kept change costs beside the value that it superseded.
const PAST_OVERHEAD: usize = 192;

/// When a key deletes itself: for this process's timers, and for the files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expiry {
    pub(super) at: Instant,
    pub(super) wall_ms: u64,
}

/// A change that was decided and may be applied.
#[derive(Debug, Clone)]
pub(super) struct Change {
    pub(super) revision: Revision,
    /// The revision at which the key came into being.
    pub(super) created: Revision,
    pub(super) key: Arc<str>,
    pub(super) value: Option<Bytes>,
    pub(super) expiry: Option<Expiry>,
    /// The log segment that holds the change.
    pub(super) home: u32,
}

/// One version of a key; `None` says that the key was deleted.
#[derive(Debug, Clone)]
pub(super) struct Version {
    pub(super) modified: Revision,
    pub(super) created: Revision,
    pub(super) value: Option<Bytes>,
    pub(super) home: u32,
}

#[derive(Debug)]
struct Chain {
    latest: Version,
    /// Ascending; empty for most keys.
    older: Vec<Version>,
}

impl Chain {
    fn at(&self, revision: Revision) -> Option<&Version> {
        if self.latest.modified <= revision {
            return Some(&self.latest);
        }
        self.older.iter().rev().find(|version| version.modified <= revision)
    }
}

#[derive(Debug)]
struct Past {
    at: Instant,
    event: Arc<Event>,
}

/// Revisions that may have been given and were lost with a power failure: above `last`, below
/// `reopened`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Gap {
    pub(super) last: Revision,
    pub(super) reopened: Revision,
}

/// How much of the past is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Retention {
    pub(super) age: Duration,
    pub(super) bytes_max: usize,
}

/// One step of a scan: see [`Index::scan`].
pub(super) struct Scan<'a> {
    pub(super) lower: Bound<&'a str>,
    pub(super) upper: Bound<&'a str>,
    pub(super) at: Revision,
    /// At most this many items are taken; what follows is counted.
    pub(super) take: usize,
    /// At most this many keys are looked at.
    pub(super) budget: usize,
}

/// What a step of a scan found.
#[derive(Debug, Default)]
pub(super) struct Scanned {
    pub(super) counted: u64,
    /// The next step goes on after this key, when the budget ended this one.
    pub(super) resume: Option<Arc<str>>,
}

#[derive(Debug)]
pub(super) struct Index {
    keys: BTreeMap<Arc<str>, Chain>,
    history: VecDeque<Past>,
    history_bytes: usize,
    live_keys: u64,
    live_bytes: u64,
    revision: Revision,
    floor: Revision,
    gaps: Vec<Gap>,
    deadlines: BTreeMap<(Instant, Revision), Arc<str>>,
    expiries: HashMap<Revision, Expiry>,
    retention: Retention,
}

impl Index {
    pub(super) fn new(revision: Revision, retention: Retention) -> Self {
        Self {
            keys: BTreeMap::new(),
            history: VecDeque::new(),
            history_bytes: 0,
            live_keys: 0,
            live_bytes: 0,
            revision,
            floor: revision,
            gaps: Vec::new(),
            deadlines: BTreeMap::new(),
            expiries: HashMap::new(),
            retention,
        }
    }

    pub(super) fn revision(&self) -> Revision {
        self.revision
    }

    pub(super) fn floor(&self) -> Revision {
        self.floor
    }

    pub(super) fn live(&self) -> (u64, u64) {
        (self.live_keys, self.live_bytes)
    }

    pub(super) fn history_size(&self) -> (usize, usize) {
        (self.history.len(), self.history_bytes)
    }

    pub(super) fn expiring(&self) -> usize {
        self.deadlines.len()
    }

    /// The key's newest version, deleted or not.
    pub(super) fn latest(&self, key: &str) -> Option<(&Arc<str>, &Version)> {
        self.keys.get_key_value(key).map(|(key, chain)| (key, &chain.latest))
    }

    pub(super) fn get(&self, key: &str) -> Option<KeyValue> {
        let (key, version) = self.latest(key)?;
        key_value(key, version)
    }

    /// Whether the store can be read as it was at this revision.
    pub(super) fn readable(&self, at: Revision) -> StoreResult<()> {
        if at > self.revision {
            return Err(StoreError::Future { requested: at, newest: self.revision });
        }
        if at < self.floor {
            return Err(StoreError::Compacted { requested: at, oldest: self.floor });
        }
        match self.gaps.iter().find(|gap| gap.last < at && at < gap.reopened) {
            Some(gap) => Err(StoreError::Compacted { requested: at, oldest: gap.reopened }),
            None => Ok(()),
        }
    }

    /// Takes and counts the keys of a range as they were at a revision, in steps that a reader
    /// can make without holding writers up for long.
    pub(super) fn scan(&self, scan: &Scan<'_>, items: &mut Vec<KeyValue>) -> StoreResult<Scanned> {
        self.readable(scan.at)?;
        let mut found = Scanned::default();
        if !prefix::is_ordered(scan.lower, scan.upper) {
            return Ok(found);
        }
        let (mut taken, mut last) = (0, None);
        let range = self.keys.range::<str, _>((scan.lower, scan.upper));
        for (looked, (key, chain)) in range.enumerate() {
            if looked == scan.budget {
                found.resume = last;
                return Ok(found);
            }
            if looked + 1 == scan.budget {
                last = Some(key.clone());
            }
            let Some(kv) = chain.at(scan.at).filter(|version| version.value.is_some()) else {
                continue;
            };
            if taken < scan.take {
                items.extend(key_value(key, kv));
                taken += 1;
            } else {
                found.counted += 1;
            }
        }
        Ok(found)
    }

    /// Kept changes after a revision, at most `budget` of them, and the revision up to which they
    /// go.
    pub(super) fn replay(
        &self,
        after: Revision,
        prefix: &str,
        budget: usize,
        events: &mut Vec<Arc<Event>>,
    ) -> StoreResult<Revision> {
        self.readable(after)?;
        let first = self.history.partition_point(|past| past.event.revision <= after);
        let mut upto = after;
        for past in self.history.range(first..).take(budget) {
            upto = past.event.revision;
            if past.event.key.starts_with(prefix) {
                events.push(past.event.clone());
            }
        }
        let complete = self.history.len() - first <= budget;
        Ok(if complete { self.revision } else { upto })
    }

    /// Makes a change and returns the one object that every watcher of it will share.
    pub(super) fn apply(&mut self, change: Change, now: Instant) -> Arc<Event> {
        self.revision = change.revision;
        let size = change.value.as_ref().map_or(0, Bytes::len);
        let version = Version {
            modified: change.revision,
            created: change.created,
            value: change.value,
            home: change.home,
        };
        let (key, previous) = match self.keys.entry(change.key) {
            btree_map::Entry::Vacant(entry) => {
                let key = entry.key().clone();
                entry.insert(Chain { latest: version.clone(), older: Vec::new() });
                (key, None)
            }
            btree_map::Entry::Occupied(mut entry) => {
                let key = entry.key().clone();
                let chain = entry.get_mut();
                let old = std::mem::replace(&mut chain.latest, version.clone());
                let previous = key_value(&key, &old);
                chain.older.push(old);
                (key, previous)
            }
        };
        self.account(&key, previous.as_ref(), version.value.is_some().then_some(size));
        self.set_expiry(&key, previous.as_ref(), change.revision, change.expiry);
        let event = Arc::new(Event {
            revision: change.revision,
            value: key_value(&key, &version),
            key,
            previous,
        });
        self.history_bytes += past_cost(&event);
        self.history.push_back(Past { at: now, event: event.clone() });
        self.trim(now);
        event
    }

    /// Makes a change that is too old to be kept as history.
    pub(super) fn apply_forgotten(&mut self, change: Change) {
        self.revision = change.revision;
        self.raise_floor(change.revision);
        let version = Version {
            modified: change.revision,
            created: change.created,
            value: change.value,
            home: change.home,
        };
        self.replace(change.key, version, change.expiry);
    }

    /// Puts back a version that was written long ago, unless it is known already.
    pub(super) fn restore(&mut self, key: Arc<str>, version: Version, expiry: Option<Expiry>) {
        self.revision = self.revision.max(version.modified);
        match self.keys.get_mut(&key) {
            Some(chain) if chain.latest.modified > version.modified => {}
            Some(chain) if chain.latest.modified == version.modified => {
                chain.latest.home = version.home;
            }
            _ => self.replace(key, version, expiry),
        }
    }

    fn replace(&mut self, key: Arc<str>, version: Version, expiry: Option<Expiry>) {
        let (revision, size) = (version.modified, version.value.as_ref().map(Bytes::len));
        let old = match version.value {
            None => self.keys.remove(&key),
            Some(_) => self.keys.insert(key.clone(), Chain { latest: version, older: Vec::new() }),
        };
        let previous = old.and_then(|chain| key_value(&key, &chain.latest));
        self.account(&key, previous.as_ref(), size);
        self.set_expiry(&key, previous.as_ref(), revision, expiry);
    }

    /// Goes on above every revision that may have been given.
    pub(super) fn reopen(&mut self, last: Revision, reopened: Revision) {
        self.revision = reopened;
        if last + 1 < reopened {
            self.gaps.push(Gap { last, reopened });
        }
    }

    /// Values whose current version stands in an old segment, looking at a few keys a step.
    /// Says after which key the next step goes on, or `None` when it has seen all.
    pub(super) fn in_old_segments(
        &self,
        after: Option<&str>,
        upto: u32,
        (keys_max, bytes_max): (usize, usize),
    ) -> (Vec<KeyValue>, Option<Arc<str>>) {
        let lower = after.map_or(Bound::Unbounded, Bound::Excluded);
        let (mut found, mut bytes) = (Vec::new(), 0);
        let range = self.keys.range::<str, _>((lower, Bound::Unbounded));
        for (looked, (key, chain)) in range.enumerate() {
            if chain.latest.home <= upto
                && let Some(kv) = key_value(key, &chain.latest)
            {
                bytes += kv.value.len();
                found.push(kv);
            }
            if looked + 1 >= keys_max || bytes >= bytes_max {
                return (found, Some(key.clone()));
            }
        }
        (found, None)
    }

    /// Notes that a key's current version stands in another segment now.
    pub(super) fn rehome(&mut self, moved: &KeyValue, home: u32) {
        if let Some(chain) = self.keys.get_mut(&moved.key)
            && chain.latest.modified == moved.mod_revision
        {
            chain.latest.home = home;
        }
    }

    fn account(&mut self, key: &str, previous: Option<&KeyValue>, size: Option<usize>) {
        if let Some(previous) = previous {
            self.live_keys -= 1;
            self.live_bytes -= (key.len() + previous.value.len()) as u64;
        }
        if let Some(size) = size {
            self.live_keys += 1;
            self.live_bytes += (key.len() + size) as u64;
        }
    }

    fn set_expiry(
        &mut self,
        key: &Arc<str>,
        previous: Option<&KeyValue>,
        revision: Revision,
        expiry: Option<Expiry>,
    ) {
        if let Some(previous) = previous
            && let Some(old) = self.expiries.remove(&previous.mod_revision)
        {
            self.deadlines.remove(&(old.at, previous.mod_revision));
        }
        if let Some(expiry) = expiry {
            self.expiries.insert(revision, expiry);
            self.deadlines.insert((expiry.at, revision), key.clone());
        }
    }

    /// When the version with this revision deletes itself.
    pub(super) fn expiry(&self, revision: Revision) -> Option<Expiry> {
        self.expiries.get(&revision).copied()
    }

    /// The keys whose time has come, with the revision that makes them so, at most `limit`.
    pub(super) fn due(&self, now: Instant, limit: usize) -> Vec<(Arc<str>, Revision)> {
        let due = self.deadlines.range(..=(now, Revision::MAX)).take(limit);
        due.map(|((_, revision), key)| (key.clone(), *revision)).collect()
    }

    /// The next moment at which a key expires.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.deadlines.first_key_value().map(|((at, _), _)| *at)
    }

    /// The next moment at which a kept change grows too old.
    pub(super) fn next_trim(&self) -> Option<Instant> {
        self.history.front().map(|past| past.at + self.retention.age)
    }

    /// Forgets changes that are too old, or too many.
    pub(super) fn trim(&mut self, now: Instant) {
        while let Some(past) = self.history.front() {
            let old = past.at + self.retention.age <= now;
            if !old && self.history_bytes <= self.retention.bytes_max {
                break;
            }
            self.forget_first();
        }
    }

    /// Forgets every change before and including this revision.
    pub(super) fn compact(&mut self, before: Revision) -> StoreResult<()> {
        if before > self.revision {
            return Err(StoreError::Future { requested: before, newest: self.revision });
        }
        while self.history.front().is_some_and(|past| past.event.revision <= before) {
            self.forget_first();
        }
        self.raise_floor(before);
        Ok(())
    }

    fn forget_first(&mut self) {
        let Some(past) = self.history.pop_front() else { return };
        self.history_bytes -= past_cost(&past.event);
        let revision = past.event.revision;
        self.raise_floor(revision);
        if let Some(chain) = self.keys.get_mut(&past.event.key) {
            chain.older.retain(|version| version.modified >= revision);
            if chain.older.is_empty() {
                chain.older = Vec::new();
            }
            if chain.latest.value.is_none() && chain.latest.modified <= revision {
                self.keys.remove(&past.event.key);
            }
        }
        if self.history.len() * 4 < self.history.capacity() && self.history.capacity() > 4096 {
            self.history.shrink_to(self.history.len() * 2);
        }
    }

    /// Says that history before this revision is not known.
    pub(super) fn raise_floor(&mut self, floor: Revision) {
        self.floor = self.floor.max(floor);
        self.gaps.retain(|gap| gap.reopened > self.floor);
    }
}

pub(super) fn key_value(key: &Arc<str>, version: &Version) -> Option<KeyValue> {
    Some(KeyValue {
        key: key.clone(),
        value: version.value.clone()?,
        create_revision: version.created,
        mod_revision: version.modified,
    })
}

fn past_cost(event: &Event) -> usize {
    event.previous.as_ref().map_or(0, |kv| kv.value.len()) + PAST_OVERHEAD
}
