//! The work queue of a controller: each key once, fairly, later, or later and later.
//!
//! Invariants: a key is handed to one worker at a time; a key added while it is worked on is
//! handed out again afterwards; the queue is bounded by the number of distinct keys. Waiting goes
//! through tokio's clock. (client-go `util/workqueue`)

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::key::Key;
use crate::metrics::QueueMetrics;

/// The first back-off of a key that failed, doubled with each further failure.
const BACKOFF_FIRST: Duration = Duration::from_millis(5);
const BACKOFF_MAX: Duration = Duration::from_secs(1000);

/// A queue of keys. Cheap to clone; all clones share.
#[derive(Clone)]
pub struct Queue(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    changed: Notify,
    metrics: Arc<QueueMetrics>,
}

#[derive(Default)]
struct State {
    ready: VecDeque<Key>,
    /// Keys that are in `ready`, or will be when their worker is done.
    dirty: HashSet<Key>,
    working: HashSet<Key>,
    /// Keys that become ready later, each once, by when.
    later: BTreeMap<(Instant, u64), Key>,
    due: HashMap<Key, (Instant, u64)>,
    failures: HashMap<Key, u32>,
    sequence: u64,
}

impl Queue {
    /// An empty queue under a name for its metrics.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        let metrics = crate::metrics::queue(name);
        Self(Arc::new(Shared { state: Mutex::default(), changed: Notify::new(), metrics }))
    }

    /// Adds a key, to be worked on as soon as a worker is free.
    pub fn add(&self, key: Key) {
        if self.0.state.lock().add(key) {
            self.0.metrics.added();
            self.0.changed.notify_one();
        }
    }

    /// Adds a key after a delay; when it waits already, the earlier moment counts.
    pub fn add_after(&self, key: Key, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        self.0.state.lock().add_at(key, Instant::now() + delay);
        self.0.changed.notify_one();
    }

    /// Adds a key after the back-off of its failures so far, and counts one more.
    pub fn add_failed(&self, key: Key) -> Duration {
        let delay = {
            let mut state = self.0.state.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            let delay = BACKOFF_FIRST.saturating_mul(1 << (*failures).min(20)).min(BACKOFF_MAX);
            *failures = failures.saturating_add(1);
            delay
        };
        self.0.metrics.retried();
        self.add_after(key, delay);
        delay
    }

    /// Forgets the failures of a key.
    pub fn forget(&self, key: &Key) {
        self.0.state.lock().failures.remove(key);
    }

    /// How often a key has failed in a row.
    #[must_use]
    pub fn failures(&self, key: &Key) -> u32 {
        self.0.state.lock().failures.get(key).copied().unwrap_or_default()
    }

    /// How many keys are ready.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.state.lock().ready.len()
    }

    /// Whether no key is ready.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The next key. [`Queue::done`] must follow.
    pub async fn next(&self) -> Key {
        loop {
            let deadline = {
                let mut state = self.0.state.lock();
                let moved = state.move_due(Instant::now());
                for _ in 0..moved {
                    self.0.metrics.added();
                }
                if let Some(key) = state.take() {
                    self.0.metrics.depth(state.ready.len());
                    if !state.ready.is_empty() || !state.later.is_empty() {
                        // Another worker takes over the rest, and the waiting for the next moment.
                        self.0.changed.notify_one();
                    }
                    return key;
                }
                state.later.keys().next().map(|(at, _)| *at)
            };
            match deadline {
                None => self.0.changed.notified().await,
                Some(at) => tokio::select! {
                    () = self.0.changed.notified() => {}
                    () = tokio::time::sleep_until(at) => {}
                },
            }
        }
    }

    /// Ends the work on a key.
    pub fn done(&self, key: &Key) {
        if self.0.state.lock().done(key) {
            self.0.changed.notify_one();
        }
    }
}

impl State {
    fn add(&mut self, key: Key) -> bool {
        if !self.dirty.insert(key.clone()) {
            return false;
        }
        if !self.working.contains(&key) {
            self.ready.push_back(key);
        }
        true
    }

    fn add_at(&mut self, key: Key, at: Instant) {
        if let Some(waiting) = self.due.get(&key) {
            if waiting.0 <= at {
                return;
            }
            self.later.remove(waiting);
        }
        self.sequence += 1;
        self.due.insert(key.clone(), (at, self.sequence));
        self.later.insert((at, self.sequence), key);
    }

    fn move_due(&mut self, now: Instant) -> u32 {
        let mut moved = 0;
        while let Some(entry) = self.later.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.due.remove(&key);
            moved += u32::from(self.add(key));
        }
        moved
    }

    fn take(&mut self) -> Option<Key> {
        let key = self.ready.pop_front()?;
        self.dirty.remove(&key);
        self.working.insert(key.clone());
        Some(key)
    }

    fn done(&mut self, key: &Key) -> bool {
        self.working.remove(key);
        let again = self.dirty.contains(key);
        if again {
            self.ready.push_back(key.clone());
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> Key {
        Key::new("n", name)
    }

    async fn next_now(queue: &Queue) -> Option<String> {
        let next = tokio::time::timeout(Duration::ZERO, queue.next()).await;
        next.ok().map(|key| key.name.to_string())
    }

    #[tokio::test(start_paused = true)]
    async fn each_key_once_and_never_two_workers_on_one() {
        let queue = Queue::new("test");
        for name in ["a", "b", "a"] {
            queue.add(key(name));
        }
        assert_eq!(queue.next().await, key("a"));
        queue.add(key("a"));
        assert_eq!(queue.next().await, key("b"));
        assert_eq!(next_now(&queue).await, None, "a is being worked on");
        queue.done(&key("a"));
        assert_eq!(next_now(&queue).await.as_deref(), Some("a"));
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_moment_counts() {
        let queue = Queue::new("test");
        queue.add_after(key("a"), Duration::from_secs(10));
        queue.add_after(key("a"), Duration::from_secs(2));
        queue.add_after(key("a"), Duration::from_secs(5));
        let start = Instant::now();
        assert_eq!(queue.next().await, key("a"));
        assert_eq!(start.elapsed().as_secs(), 2);
        queue.done(&key("a"));
        let again = tokio::time::timeout(Duration::from_secs(60), queue.next()).await;
        assert!(again.is_err(), "a waits once only");
    }

    #[tokio::test(start_paused = true)]
    async fn failures_back_off_up_to_a_limit() {
        let queue = Queue::new("test");
        let delays: Vec<_> = (0..3).map(|_| queue.add_failed(key("a")).as_millis()).collect();
        assert_eq!(delays, [5, 10, 20]);
        for _ in 0..30 {
            queue.add_failed(key("a"));
        }
        assert_eq!(queue.add_failed(key("a")), BACKOFF_MAX);
        queue.forget(&key("a"));
        assert_eq!(queue.add_failed(key("a")), BACKOFF_FIRST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_busy_worker_leaves_the_waiting_to_others() {
        let queue = Queue::new("test");
        let (busy, idle) = (queue.clone(), queue.clone());
        let busy = tokio::spawn(async move {
            let first = busy.next().await;
            std::future::pending::<()>().await;
            first
        });
        let idle = tokio::spawn(async move { idle.next().await });
        tokio::task::yield_now().await;
        queue.add_after(key("late"), Duration::from_secs(1));
        queue.add(key("now"));
        assert_eq!(idle.await.unwrap(), key("late"));
        busy.abort();
    }
}
