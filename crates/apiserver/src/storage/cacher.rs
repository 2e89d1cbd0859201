//! One resource's watch cache: its objects as they are now, and its latest changes.
//!
//! Invariants: objects and changes are those of the store, in its order, up to the feed's
//! progress. Watchers are cursors into one shared ring of changes: a change costs the cache one
//! entry, however many watch, and a watcher that falls behind the ring is cut off, so nothing is
//! buffered for it.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::{Mutex, RwLock};
use store::Revision;
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

use super::stored::{Facts, Stored};
use crate::resource::Resource;
use crate::storage::times::StoreTimes;

/// How many changes a slow watcher may lag behind.
const RING_LEN_MAX: usize = 16 * 1024;
/// How long changes stay when there are more than [`RING_LEN_MIN`].
const RING_AGE_MAX: Duration = Duration::from_secs(300);
const RING_LEN_MIN: usize = 256;
/// How many of the latest changes remember the frames that were made of them.
const FRAMES_LEN: usize = 512;
/// Frames that are longer are made for each watcher: kept, they would cost more than they save.
const FRAME_BYTES_MAX: usize = 32 << 10;
/// Writes in flight whose facts are remembered for the feed.
const HINTS_MAX: usize = 4096;
/// Kinds with fewer objects than this keep their parsed form once somebody asked for it.
const KEEP_PARSED_MAX: usize = 2048;

/// A change of one object.
#[derive(Debug)]
pub(crate) struct CacheEvent {
    /// The revision of the change.
    pub(crate) rv: Revision,
    /// The object after the change; `None` when it was deleted.
    pub(crate) current: Option<Arc<Stored>>,
    /// The object before the change.
    pub(crate) previous: Option<Arc<Stored>>,
    /// Frames made for some watcher that others of its format can send as they are.
    frames: Mutex<Vec<(u64, Bytes)>>,
}

impl CacheEvent {
    pub(crate) fn new(
        rv: Revision,
        current: Option<Arc<Stored>>,
        previous: Option<Arc<Stored>>,
    ) -> Self {
        Self { rv, current, previous, frames: Mutex::new(Vec::new()) }
    }

    /// The frame of a format, made by `make` for the first watcher that asks.
    pub(crate) fn frame<E>(
        &self,
        format: u64,
        make: impl FnOnce() -> Result<Bytes, E>,
    ) -> Result<Bytes, E> {
        let mut frames = self.frames.lock();
        if let Some((_, frame)) = frames.iter().find(|(known, _)| *known == format) {
            return Ok(frame.clone());
        }
        let frame = make()?;
        if frame.len() <= FRAME_BYTES_MAX {
            frames.push((format, frame.clone()));
        }
        Ok(frame)
    }
}

#[derive(Default)]
struct State {
    objects: BTreeMap<Arc<str>, Arc<Stored>>,
    /// The length of all objects together.
    bytes: usize,
    ring: VecDeque<(Instant, Arc<CacheEvent>)>,
    /// The number of the ring's first entry.
    first_seq: u64,
    /// The ring holds every change after this revision.
    from_rv: Revision,
    last_rv: Revision,
    /// Counts reloads; a reload cuts off all watchers.
    epoch: u64,
    is_loaded: bool,
}

/// The cache of one resource.
pub(crate) struct Cacher {
    /// The prefix of the keys, with a closing slash.
    pub(crate) prefix: String,
    pub(crate) resource: Arc<dyn Resource>,
    state: RwLock<State>,
    changed: watch::Sender<()>,
    hints: Mutex<HashMap<Arc<str>, Hint>>,
    pub(crate) store_times: StoreTimes,
}

/// A write on its way: what the store will give back, what it means, and its facts.
struct Hint {
    stored: Bytes,
    plain: Bytes,
    facts: Facts,
}

/// A consistent view of some of the cache's objects.
pub(crate) struct View {
    pub(crate) objects: Vec<Arc<Stored>>,
    /// Every change of the resource up to this revision is in, and none after it.
    pub(crate) rv: Revision,
    /// How many of the range's keys come after a view that was limited.
    pub(crate) remaining: u64,
}

/// Why a subscription cannot go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost;

/// A watcher's place in the ring.
pub(crate) struct Subscription {
    cacher: Arc<Cacher>,
    next_seq: u64,
    epoch: u64,
    changed: watch::Receiver<()>,
}

impl Cacher {
    pub(crate) fn new(resource: Arc<dyn Resource>) -> Self {
        Self {
            prefix: format!("{}/", resource.info().key_prefix),
            resource,
            state: RwLock::default(),
            changed: watch::Sender::new(()),
            hints: Mutex::default(),
            store_times: StoreTimes::default(),
        }
    }

    /// Remembers a write on its way, so that the feed need neither decrypt nor parse it.
    pub(crate) fn hint(&self, key: Arc<str>, stored: Bytes, plain: Bytes, facts: Facts) {
        let mut hints = self.hints.lock();
        if hints.len() < HINTS_MAX {
            hints.insert(key, Hint { stored, plain, facts });
        }
    }

    /// Forgets a write that failed.
    pub(crate) fn unhint(&self, key: &str) {
        self.hints.lock().remove(key);
    }

    /// The plain bytes and facts of a write that arrives from the store.
    pub(crate) fn take_hint(&self, key: &str, stored: &Bytes) -> Option<(Bytes, Facts)> {
        let hint = self.hints.lock().remove(key)?;
        (hint.stored == *stored).then_some((hint.plain, hint.facts))
    }

    /// Replaces everything: all watchers are cut off.
    pub(crate) fn load(&self, objects: Vec<Stored>, rv: Revision) {
        {
            let mut state = self.state.write();
            let epoch = state.epoch + 1;
            let bytes = objects.iter().map(|one| one.bytes.len()).sum();
            let objects = objects.into_iter().map(|one| (one.key.clone(), Arc::new(one))).collect();
            *state = State {
                objects,
                bytes,
                from_rv: rv,
                last_rv: rv,
                epoch,
                is_loaded: true,
                ..State::default()
            };
        }
        self.changed.send_replace(());
    }

    /// Cuts off all watchers and forgets everything: the resource is gone.
    pub(crate) fn close(&self) {
        {
            let mut state = self.state.write();
            let epoch = state.epoch + 1;
            *state = State { epoch, ..State::default() };
        }
        self.changed.send_replace(());
    }

    /// Takes in one change; [`Cacher::wake`] tells the watchers.
    pub(crate) fn apply(&self, key: &Arc<str>, rv: Revision, value: Option<Stored>, now: Instant) {
        let mut state = self.state.write();
        if rv <= state.last_rv {
            return; // came with the load already
        }
        let current = value.map(Arc::new);
        let previous = match &current {
            Some(current) => state.objects.insert(key.clone(), current.clone()),
            None => state.objects.remove(key),
        };
        let length =
            |object: &Option<Arc<Stored>>| object.as_ref().map_or(0, |one| one.bytes.len());
        state.bytes = state.bytes + length(&current) - length(&previous);
        state.last_rv = rv;
        if current.is_none() && previous.is_none() {
            return;
        }
        state.ring.push_back((now, Arc::new(CacheEvent::new(rv, current, previous))));
        if let Some(old) = state.ring.len().checked_sub(FRAMES_LEN) {
            state.ring[old].1.frames.lock().clear();
        }
        while state.ring.len() > RING_LEN_MAX
            || (state.ring.len() > RING_LEN_MIN
                && state.ring.front().is_some_and(|(at, _)| now - *at > RING_AGE_MAX))
        {
            if let Some((_, dropped)) = state.ring.pop_front() {
                state.first_seq += 1;
                state.from_rv = dropped.rv;
            }
        }
    }

    /// Wakes the watchers after changes.
    pub(crate) fn wake(&self) {
        self.changed.send_replace(());
    }

    /// Fires after changes.
    pub(crate) fn changes(&self) -> watch::Receiver<()> {
        self.changed.subscribe()
    }

    /// Waits until the cache was loaded once.
    pub(crate) async fn loaded(&self) {
        let mut changed = self.changed.subscribe();
        while !self.state.read().is_loaded {
            if changed.changed().await.is_err() {
                return;
            }
        }
    }

    /// One object as the cache has it.
    pub(crate) fn get(&self, key: &str) -> Option<Arc<Stored>> {
        self.state.read().objects.get(key).cloned()
    }

    /// An object, unless a write of it is on its way here: who has just written it would not see
    /// what it wrote.
    pub(crate) fn get_settled(&self, key: &str) -> Option<Arc<Stored>> {
        if self.hints.lock().contains_key(key) {
            return None;
        }
        self.get(key)
    }

    /// How many objects there are.
    pub(crate) fn len(&self) -> usize {
        self.state.read().objects.len()
    }

    /// How many objects there are, and how long they are together.
    pub(crate) fn size(&self) -> (usize, usize) {
        let state = self.state.read();
        (state.objects.len(), state.bytes)
    }

    /// How many follow the changes.
    pub(crate) fn watchers(&self) -> usize {
        self.changed.receiver_count()
    }

    /// Whether parsed objects should be kept beside their bytes.
    pub(crate) fn keeps_parsed(&self) -> bool {
        self.len() < KEEP_PARSED_MAX
    }

    /// The objects whose keys start with `prefix` and come after `after`, at most `limit` of those
    /// that `matches` accepts. `progress` is the feed's, read before the call.
    pub(crate) fn view(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: Option<usize>,
        progress: Revision,
        matches: impl Fn(&Stored) -> bool,
    ) -> View {
        use std::ops::Bound;
        let state = self.state.read();
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        let mut range = state
            .objects
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(|(key, _)| key.starts_with(prefix));
        let mut objects = Vec::new();
        let limit = limit.unwrap_or(usize::MAX);
        let mut remaining = 0;
        for (_, object) in range.by_ref() {
            if !matches(object) {
                continue;
            }
            if objects.len() == limit {
                remaining = 1;
                break;
            }
            objects.push(object.clone());
        }
        remaining += range.count() as u64;
        View { objects, rv: state.last_rv.max(progress), remaining }
    }

    /// The revision of the resource's last change.
    pub(crate) fn last_rv(&self) -> Revision {
        self.state.read().last_rv
    }

    /// Subscribes to the changes after `after`, if the ring still holds all of them.
    pub(crate) fn subscribe(self: &Arc<Self>, after: Revision) -> Result<Subscription, Lost> {
        let changed = self.changed.subscribe();
        let state = self.state.read();
        if after < state.from_rv || !state.is_loaded {
            return Err(Lost);
        }
        let index = state.ring.partition_point(|(_, event)| event.rv <= after);
        let next_seq = state.first_seq + index as u64;
        Ok(Subscription { cacher: self.clone(), next_seq, epoch: state.epoch, changed })
    }

    /// Subscribes to all that the ring holds; the second number is the revision after which it
    /// holds everything.
    pub(crate) fn subscribe_oldest(self: &Arc<Self>) -> Result<(Subscription, Revision), Lost> {
        let changed = self.changed.subscribe();
        let state = self.state.read();
        if !state.is_loaded {
            return Err(Lost);
        }
        let subscription = Subscription {
            cacher: self.clone(),
            next_seq: state.first_seq,
            epoch: state.epoch,
            changed,
        };
        Ok((subscription, state.from_rv))
    }

    /// A view and the subscription to what comes after it. `None` when the cache was dropped.
    pub(crate) fn view_and_subscribe(
        self: &Arc<Self>,
        prefix: &str,
        progress: Revision,
        matches: impl Fn(&Stored) -> bool,
    ) -> Option<(View, Subscription)> {
        loop {
            // The subscription starts at the view's revision, so a change between the two is
            // neither lost nor doubled; only a reload or a flood makes it fail.
            let view = self.view(prefix, None, None, progress, &matches);
            if let Ok(subscription) = self.subscribe(view.rv) {
                return Some((view, subscription));
            }
            if !self.state.read().is_loaded {
                return None;
            }
        }
    }
}

impl Subscription {
    /// Up to `max` further changes; empty when there are none now.
    pub(crate) fn take(&mut self, max: usize, into: &mut Vec<Arc<CacheEvent>>) -> Result<(), Lost> {
        let state = self.cacher.state.read();
        if state.epoch != self.epoch || self.next_seq < state.first_seq {
            return Err(Lost);
        }
        let from = usize::try_from(self.next_seq - state.first_seq).map_err(|_| Lost)?;
        let until = state.ring.len().min(from.saturating_add(max));
        into.extend(state.ring.range(from.min(until)..until).map(|(_, event)| event.clone()));
        self.next_seq = state.first_seq + until as u64;
        Ok(())
    }

    /// Waits until something may have changed.
    pub(crate) async fn changed(&mut self) {
        // The sender lives as long as the cacher, which this holds.
        let _ = self.changed.changed().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_kind::Plain;

    fn cacher() -> Arc<Cacher> {
        let cacher = Arc::new(Cacher::new(Arc::new(Plain::new())));
        cacher.load(Vec::new(), 1);
        cacher
    }

    fn write(cacher: &Cacher, rv: Revision, now: Instant) {
        let key: Arc<str> = format!("{}n/a", cacher.prefix).into();
        let bytes = Bytes::from_static(b"{\"metadata\":{}}");
        let stored = Stored::new(key.clone(), rv, bytes, Facts::default());
        cacher.apply(&key, rv, Some(stored), now);
    }

    #[tokio::test(start_paused = true)]
    async fn who_does_not_keep_up_is_cut_off_and_nobody_else() {
        let cacher = cacher();
        let (mut slow, mut quick) = (cacher.subscribe(1).unwrap(), cacher.subscribe(1).unwrap());
        let (now, last) = (Instant::now(), RING_LEN_MAX as Revision + 2);
        let mut seen = Vec::new();
        for rv in 2..=last {
            write(&cacher, rv, now);
            quick.take(1, &mut seen).unwrap();
        }
        assert_eq!(seen.len() as Revision, last - 1);
        assert!(seen.iter().map(|event| event.rv).eq(2..=last));
        assert_eq!(slow.take(1, &mut Vec::new()), Err(Lost));
        // It may go on from what the ring still holds, and from nothing older.
        assert!(cacher.subscribe(1).is_err());
        let mut again = cacher.subscribe(2).unwrap();
        let mut seen = Vec::new();
        again.take(usize::MAX, &mut seen).unwrap();
        assert_eq!(seen.first().map(|event| event.rv), Some(3));
    }

    #[tokio::test(start_paused = true)]
    async fn old_changes_go_by_age_and_a_reload_cuts_everybody_off() {
        let cacher = cacher();
        let kept = RING_LEN_MIN as Revision;
        for rv in 2..=kept + 11 {
            write(&cacher, rv, Instant::now());
        }
        assert!(cacher.subscribe(1).is_ok());
        tokio::time::advance(RING_AGE_MAX + Duration::from_secs(1)).await;
        write(&cacher, kept + 12, Instant::now());
        assert!(cacher.subscribe(1).is_err());
        let mut subscription = cacher.subscribe(12).unwrap();
        cacher.load(Vec::new(), kept + 12);
        assert_eq!(subscription.take(1, &mut Vec::new()), Err(Lost));
    }
}
