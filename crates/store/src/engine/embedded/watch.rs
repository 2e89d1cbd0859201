//! Watches: replay out of the index, then a bounded mailbox that writers fill.
//!
//! Invariants: a mailbox is registered while the index is locked for reading, so that no change
//! falls between replay and mailbox; what a mailbox holds is bounded, and who lets it run over is
//! cut off; a change costs only for the watches of its prefixes.

use std::collections::{BTreeMap, VecDeque};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures::Stream;
use parking_lot::Mutex;

use super::core::Core;
use super::prefix;
use crate::{Event, Revision, StoreError, StoreResult, WatchItem};

/// How many kept changes one step of a replay looks at while writers wait.
const REPLAY_STEP: usize = 1024;
/// How many events one item carries at most.
const ITEM_EVENTS: usize = 256;

/// The running watches by prefix.
#[derive(Debug, Default)]
pub(super) struct Watchers {
    groups: BTreeMap<Box<str>, Vec<Arc<Mailbox>>>,
    count: usize,
    cut: u64,
    closed: bool,
}

/// What writers leave for one watch.
#[derive(Debug, Default)]
pub(super) struct Mailbox(Mutex<Mail>);

#[derive(Debug, Default)]
struct Mail {
    events: VecDeque<Arc<Event>>,
    progress: Option<Revision>,
    end: Option<StoreError>,
    waker: Option<Waker>,
}

impl Mailbox {
    /// Changes the mail and says whom to wake. Waking is for after all locks: whoever is woken may
    /// drop its watch, which takes them.
    #[must_use]
    fn with(&self, change: impl FnOnce(&mut Mail)) -> Option<Waker> {
        let mut mail = self.0.lock();
        change(&mut mail);
        mail.waker.take()
    }
}

impl Watchers {
    fn join(&mut self, prefix: &str) -> StoreResult<Arc<Mailbox>> {
        if self.closed {
            return Err(StoreError::Unavailable("it was closed".into()));
        }
        let mailbox = Arc::new(Mailbox::default());
        self.groups.entry(prefix.into()).or_default().push(mailbox.clone());
        self.count += 1;
        Ok(mailbox)
    }

    fn leave(&mut self, prefix: &str, mailbox: &Arc<Mailbox>) {
        let Some(group) = self.groups.get_mut(prefix) else { return };
        if let Some(at) = group.iter().position(|other| Arc::ptr_eq(other, mailbox)) {
            group.swap_remove(at);
            self.count -= 1;
        }
        if group.is_empty() {
            self.groups.remove(prefix);
        }
    }

    /// Hands a change to every watch of it. Whoever has `capacity` changes waiting is cut off.
    pub(super) fn dispatch(
        &mut self,
        event: &Arc<Event>,
        capacity: usize,
        wakers: &mut Vec<Waker>,
    ) {
        let (count, cut) = (&mut self.count, &mut self.cut);
        prefix::each_prefix_of(&mut self.groups, &event.key, |group: &mut Vec<Arc<Mailbox>>| {
            group.retain(|mailbox| {
                let mut keep = true;
                wakers.extend(mailbox.with(|mail| {
                    keep = mail.events.len() < capacity;
                    if keep {
                        mail.events.push_back(event.clone());
                    } else {
                        mail.events = VecDeque::new();
                        mail.end = Some(StoreError::Slow);
                    }
                }));
                *count -= usize::from(!keep);
                *cut += u64::from(!keep);
                keep
            });
        });
    }

    /// Tells the watches of one prefix, or all, that they have been handed everything up to here.
    pub(super) fn progress(&self, prefix: Option<&str>, revision: Revision) -> Vec<Waker> {
        let groups: Vec<_> = match prefix {
            Some(prefix) => self.groups.get(prefix).into_iter().collect(),
            None => self.groups.values().collect(),
        };
        let tell = |mailbox: &Arc<Mailbox>| mailbox.with(|mail| mail.progress = Some(revision));
        groups.into_iter().flatten().filter_map(tell).collect()
    }

    /// Ends every watch, and every later one.
    pub(super) fn close(&mut self, why: &StoreError) -> Vec<Waker> {
        self.closed = true;
        self.count = 0;
        let all = std::mem::take(&mut self.groups).into_values().flatten();
        all.filter_map(|mailbox| mailbox.with(|mail| mail.end = Some(why.clone()))).collect()
    }

    pub(super) fn count(&self) -> usize {
        self.count
    }

    pub(super) fn cut(&self) -> u64 {
        self.cut
    }
}

/// Where a watch stands.
enum State {
    /// Changes up to `upto` were found among the kept ones; `found` waits to be yielded.
    Replaying { upto: Revision, found: VecDeque<Arc<Event>> },
    /// The replay ended at `upto` and the mailbox gets all that follows.
    Joined { mailbox: Arc<Mailbox>, found: VecDeque<Arc<Event>>, upto: Option<Revision> },
    /// An error was yielded.
    Ended,
}

/// The stream behind [`crate::WatchStream`].
pub(super) struct Watch {
    core: Arc<Core>,
    prefix: Box<str>,
    state: State,
    yielded: Revision,
}

impl Watch {
    pub(super) fn start(core: Arc<Core>, prefix: &str, after: Revision) -> StoreResult<Self> {
        let after = if after == 0 { core.index.read().floor() } else { after };
        let state = State::Replaying { upto: after, found: VecDeque::new() };
        let mut watch = Self { core, prefix: prefix.into(), state, yielded: after };
        watch.advance(after)?;
        Ok(watch)
    }

    /// One step of the replay; the last one joins.
    fn advance(&mut self, after: Revision) -> StoreResult<()> {
        let mut found = Vec::new();
        let index = self.core.index.read();
        let upto = index.replay(after, &self.prefix, REPLAY_STEP, &mut found)?;
        let found = VecDeque::from(found);
        self.state = if upto == index.revision() {
            let mailbox = self.core.watchers.lock().join(&self.prefix)?;
            State::Joined { mailbox, found, upto: Some(upto) }
        } else {
            State::Replaying { upto, found }
        };
        Ok(())
    }

    fn end(&mut self, error: StoreError) -> Poll<Option<StoreResult<WatchItem>>> {
        self.leave();
        self.state = State::Ended;
        Poll::Ready(Some(Err(error)))
    }

    fn leave(&mut self) {
        if let State::Joined { mailbox, .. } = &self.state {
            self.core.watchers.lock().leave(&self.prefix, mailbox);
        }
    }

    fn yield_events(&mut self, events: Vec<Arc<Event>>) -> Poll<Option<StoreResult<WatchItem>>> {
        self.yielded = events.last().map_or(self.yielded, |event| event.revision);
        Poll::Ready(Some(Ok(WatchItem::Events(events))))
    }
}

fn take_some(found: &mut VecDeque<Arc<Event>>) -> Option<Vec<Arc<Event>>> {
    let some = found.len().min(ITEM_EVENTS);
    (some > 0).then(|| found.drain(..some).collect())
}

impl Stream for Watch {
    type Item = StoreResult<WatchItem>;

    fn poll_next(mut self: Pin<&mut Self>, ctx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let this = &mut *self;
            match &mut this.state {
                State::Ended => return Poll::Ready(None),
                State::Replaying { upto, found } => {
                    let upto = *upto;
                    if let Some(events) = take_some(found) {
                        return this.yield_events(events);
                    }
                    if let Err(error) = this.advance(upto) {
                        return this.end(error);
                    }
                }
                State::Joined { mailbox, found, upto } => {
                    if let Some(events) = take_some(found) {
                        return this.yield_events(events);
                    }
                    if let Some(upto) = upto.take() {
                        return Poll::Ready(Some(Ok(WatchItem::Progress(upto))));
                    }
                    let mut mail = mailbox.0.lock();
                    if let Some(events) = take_some(&mut mail.events) {
                        drop(mail);
                        return this.yield_events(events);
                    }
                    if let Some(error) = mail.end.take() {
                        drop(mail);
                        return this.end(error);
                    }
                    if let Some(revision) = mail.progress.take() {
                        drop(mail);
                        let revision = revision.max(this.yielded);
                        return Poll::Ready(Some(Ok(WatchItem::Progress(revision))));
                    }
                    mail.waker = Some(ctx.waker().clone());
                    return Poll::Pending;
                }
            }
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.leave();
    }
}
