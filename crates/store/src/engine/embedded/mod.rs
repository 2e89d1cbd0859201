//! The embedded engine: everything in memory, made durable by a log.
//!
//! Readers and watchers only ever see `index`; they never wait for the disk. Writers are decided
//! by `stage` in the order in which they come, and become visible after they are as durable as
//! they asked for. [`memory`] is the same without the log.
//!
//! What each file does: `index` versions and history · `stage` decides writes · `core` what is
//! shared · `watch` replay and mailboxes · `keeper` time · `log` the disk.

mod core;
mod index;
mod keeper;
mod log;
mod prefix;
mod stage;
mod watch;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::SharedClock;
use futures::StreamExt;
use futures::stream::BoxStream;
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tokio::time::Instant;

use self::core::{Core, Limits};
use self::index::{Index, Retention};
use self::log::{LogOptions, Queue, Submission};
use self::stage::{Batch, Decision};
use crate::{
    KeyValue, Page, Range, Revision, Stats, Store, StoreError, StoreResult, WatchStream, Write,
    Written,
};

/// The revision of a store to which nothing was written: clients take 0 for "any".
const FIRST_REVISION: Revision = 1;

/// How much of the past a store keeps, and how far a watcher may fall behind.
#[derive(Debug, Clone, Copy)]
pub struct Tuning {
    /// Changes are kept this long, so that clients can resume a watch or a paged list.
    pub history_age: Duration,
    /// But not more than this many bytes of superseded values.
    pub history_bytes_max: usize,
    /// A watcher with this many changes waiting is cut off.
    pub watch_buffer: usize,
    /// Watches learn this often that others' keys changed.
    pub progress_every: Duration,
}

impl Default for Tuning {
    fn default() -> Self {
        Self {
            history_age: Duration::from_secs(300),
            history_bytes_max: 64 << 20,
            watch_buffer: 16_384,
            progress_every: Duration::from_secs(10),
        }
    }
}

impl Tuning {
    fn limits(self) -> Limits {
        Limits {
            retention: Retention { age: self.history_age, bytes_max: self.history_bytes_max },
            mailbox: self.watch_buffer.max(1),
            progress_every: self.progress_every,
        }
    }
}

/// A store in memory, without files: `embedded` for tests. Works under tokio's paused clock.
#[must_use]
pub fn memory() -> Arc<EmbeddedStore> {
    memory_with(Tuning::default())
}

/// [`memory`] with other limits.
#[must_use]
pub fn memory_with(tuning: Tuning) -> Arc<EmbeddedStore> {
    let limits = tuning.limits();
    let index = Index::new(FIRST_REVISION, limits.retention);
    let core = Core::new(index, limits, base::clock::system());
    EmbeddedStore::new(core, Commit::Memory(Mutex::new(())))
}

/// Where and how an embedded store is kept.
#[derive(Debug, Clone)]
pub struct EmbeddedOptions {
    /// The data directory, made if it is not there. One process at a time.
    pub dir: PathBuf,
    /// Wall time, for what expires while the store is closed.
    pub clock: SharedClock,
    /// Whether relaxed writes wait for the disk too.
    pub sync_all: bool,
    /// The size of a log file; twice as much is kept in reserve for a full disk.
    pub segment_bytes: u64,
    /// Gives revisions above this one only: that of the backup that is to be restored, and a good
    /// deal more for what was given after it was taken.
    pub revision_min: Revision,
    /// How much of the past is kept.
    pub tuning: Tuning,
}

impl EmbeddedOptions {
    /// The defaults for a directory.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            clock: base::clock::system(),
            sync_all: false,
            segment_bytes: 8 << 20,
            revision_min: 0,
            tuning: Tuning::default(),
        }
    }
}

/// Opens the store of a data directory: reads its log, or makes a new one. Blocks while it reads.
///
/// # Errors
/// [`StoreError::Unavailable`] when the directory cannot be written or another process uses it,
/// [`StoreError::Corrupt`] when what was acknowledged cannot be read, [`StoreError::Full`] when
/// there is no room to begin.
pub fn open(options: EmbeddedOptions) -> StoreResult<Arc<EmbeddedStore>> {
    let limits = options.tuning.limits();
    let log_options = LogOptions {
        segment_bytes: options.segment_bytes.max(64 << 10),
        sync_all: options.sync_all,
        retention: limits.retention,
        revision_min: options.revision_min,
    };
    let (index, log) = log::open(&options.dir, log_options, options.clock.clone())?;
    let expiring = index.expiring() > 0;
    let core = Core::new(index, limits, options.clock);
    let (queue, thread) = log.spawn(core.clone())?;
    let store = EmbeddedStore::new(core, Commit::Log(queue, Mutex::new(Some(thread))));
    if expiring && tokio::runtime::Handle::try_current().is_ok() {
        store.ensure_keeper();
    }
    Ok(store)
}

/// How changes become durable.
#[derive(Debug)]
enum Commit {
    /// Not at all; one writer at a time.
    Memory(Mutex<()>),
    /// By the log's thread.
    Log(Arc<Queue>, Mutex<Option<JoinHandle<()>>>),
}

/// The embedded store.
#[derive(Debug)]
pub struct EmbeddedStore {
    this: std::sync::Weak<Self>,
    core: Arc<Core>,
    commit: Commit,
    keeping: AtomicBool,
    closed: AtomicBool,
}

impl EmbeddedStore {
    fn new(core: Arc<Core>, commit: Commit) -> Arc<Self> {
        Arc::new_cyclic(|this| Self {
            this: this.clone(),
            core,
            commit,
            keeping: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        })
    }

    fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    fn open_or_err(&self) -> StoreResult<()> {
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    /// Starts the keeper with the first call that comes from inside a runtime.
    fn ensure_keeper(&self) {
        if self.keeping.load(Ordering::Relaxed) || self.keeping.swap(true, Ordering::Relaxed) {
            return;
        }
        tokio::spawn(keeper::run(self.core.clone(), self.this.clone()));
    }

    fn commit_in_memory(&self, write: &Write, one_at_a_time: &Mutex<()>) -> StoreResult<Written> {
        let _turn = one_at_a_time.lock();
        let now = Instant::now();
        let expiry = write.ttl.map(|ttl| self.core.expiry(ttl, now));
        let mut batch = Batch::default();
        let decision = {
            let index = self.core.index.read();
            batch.decide(&index, write, index.revision() + 1, expiry)
        };
        match decision {
            Decision::Refused(error) => Err(error),
            Decision::Nothing(written) => Ok(written),
            Decision::Change(_) => {
                let events = self.core.publish(batch.changes, now);
                let event = events.first().expect("one change makes one event");
                Ok(Written { revision: event.revision, previous: event.previous.clone() })
            }
        }
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it was closed".into())
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn get(&self, key: &str) -> StoreResult<(Option<KeyValue>, Revision)> {
        self.open_or_err()?;
        let index = self.core.index.read();
        Ok((index.get(key), index.revision()))
    }

    async fn range(&self, range: Range) -> StoreResult<Page> {
        self.open_or_err()?;
        self.core.range(&range)
    }

    async fn write(&self, write: Write) -> StoreResult<Written> {
        self.open_or_err()?;
        self.ensure_keeper();
        match &self.commit {
            Commit::Memory(turn) => self.commit_in_memory(&write, turn),
            Commit::Log(queue, _) => {
                let (reply, answer) = oneshot::channel();
                queue.push(Submission::Write(write, reply))?;
                answer.await.unwrap_or_else(|_| {
                    Err(StoreError::Unavailable("its log stopped; see the log".into()))
                })
            }
        }
    }

    async fn watch(&self, prefix: &str, after: Revision) -> StoreResult<WatchStream> {
        self.open_or_err()?;
        self.ensure_keeper();
        Ok(watch::Watch::start(self.core.clone(), prefix, after)?.boxed())
    }

    async fn progress(&self, prefix: &str) -> StoreResult<Revision> {
        self.open_or_err()?;
        Ok(self.core.progress(Some(prefix)))
    }

    async fn revision(&self) -> StoreResult<Revision> {
        self.open_or_err()?;
        Ok(self.core.index.read().revision())
    }

    async fn compact(&self, before: Revision) -> StoreResult<()> {
        self.open_or_err()?;
        self.core.index.write().compact(before)?;
        match &self.commit {
            Commit::Memory(_) => Ok(()),
            Commit::Log(queue, _) => queue.push(Submission::Compacted(before)),
        }
    }

    async fn snapshot(&self) -> StoreResult<(Revision, BoxStream<'static, StoreResult<KeyValue>>)> {
        self.open_or_err()?;
        // Taken whole: keys and values are shared, and compaction cannot overtake a slow reader.
        let page = self.core.range(&Range::default())?;
        Ok((page.revision, futures::stream::iter(page.items.into_iter().map(Ok)).boxed()))
    }

    async fn stats(&self) -> StoreResult<Stats> {
        Ok(self.core.stats())
    }

    async fn close(&self) -> StoreResult<()> {
        let Some(thread) = self.shut() else { return Ok(()) };
        let ended = tokio::task::spawn_blocking(move || thread.join()).await;
        match ended {
            Ok(Ok(())) => Ok(()),
            _ => Err(StoreError::Unavailable("its log stopped before its end".into())),
        }
    }
}

impl EmbeddedStore {
    /// Accepts no more; gives the thread that finishes what was accepted.
    fn shut(&self) -> Option<JoinHandle<()>> {
        self.closed.store(true, Ordering::Release);
        self.core.keeper.notify_one();
        self.core.end_watches(&closed());
        match &self.commit {
            Commit::Memory(_) => None,
            Commit::Log(queue, thread) => {
                queue.close();
                thread.lock().take()
            }
        }
    }
}

impl Drop for EmbeddedStore {
    fn drop(&mut self) {
        if let Some(thread) = self.shut()
            && thread.join().is_err()
        {
            tracing::error!("the store's log panicked");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Durability, Expect, WatchItem};

    fn put(key: &str, value: &'static str, expect: Expect) -> Write {
        Write {
            key: key.into(),
            value: Some(value.into()),
            expect,
            durability: Durability::Synced,
            ttl: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn memory_expires_and_forgets_under_a_paused_clock() {
        let store = memory();
        let mut watch = store.watch("/e/", 0).await.unwrap();
        assert_eq!(watch.next().await.unwrap().unwrap(), WatchItem::Progress(1));
        let started = Instant::now();
        let ttl = Some(Duration::from_secs(3600));
        let mut write = put("/e/a", "1", Expect::Absent);
        write.ttl = ttl;
        assert_eq!(store.write(write).await.unwrap().revision, 2);
        let mut deleted = None;
        while deleted.is_none() {
            if let WatchItem::Events(events) = watch.next().await.unwrap().unwrap() {
                deleted = events.into_iter().find(|event| event.value.is_none());
            }
        }
        assert_eq!(deleted.unwrap().revision, 3);
        assert_eq!(started.elapsed(), Duration::from_secs(3600));
        let old = store.range(Range { at: Some(1), ..Range::default() }).await;
        assert!(matches!(old, Err(StoreError::Compacted { requested: 1, oldest: 2 })), "{old:?}");
        tokio::time::sleep(Duration::from_secs(301)).await;
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.history_events, stats.oldest, stats.keys), (0, 3, 0));
    }

    #[tokio::test]
    async fn what_was_acknowledged_is_there_after_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let open = || open(EmbeddedOptions::new(dir.path())).unwrap();
        let store = open();
        for n in 0..100u32 {
            let key = format!("/k/{}", n % 10);
            store.write(put(&key, "value", Expect::Anything)).await.unwrap();
        }
        let err = super::open(EmbeddedOptions::new(dir.path())).unwrap_err();
        assert!(err.to_string().contains("another process uses the data directory"), "{err}");
        store.close().await.unwrap();
        assert!(store.get("/k/1").await.is_err());
        drop(store);
        let store = open();
        assert_eq!(store.revision().await.unwrap(), 101, "closed in order: nothing was lost");
        let page = store.range(Range::default()).await.unwrap();
        assert_eq!(page.items.len(), 10);
        assert_eq!(page.items[3].create_revision, 5);
        assert_eq!(page.items[3].mod_revision, 95);
        let mut watch = store.watch("/k/", 50).await.unwrap();
        let WatchItem::Events(events) = watch.next().await.unwrap().unwrap() else { panic!() };
        assert_eq!(events.len(), 51);
        assert_eq!(events[0].previous.as_ref().unwrap().mod_revision, 41);
    }

    #[tokio::test(start_paused = true)]
    async fn a_watcher_that_falls_behind_is_cut_off_and_others_are_not() {
        let store = memory_with(Tuning { watch_buffer: 10, ..Tuning::default() });
        let mut slow = store.watch("/", 0).await.unwrap();
        let mut other = store.watch("/elsewhere/", 0).await.unwrap();
        for _ in 0..10 {
            store.write(put("/a", "v", Expect::Anything)).await.unwrap();
        }
        assert_eq!(store.stats().await.unwrap().watchers_cut, 0, "as many as fit");
        store.write(put("/a", "v", Expect::Anything)).await.unwrap();
        let stats = store.stats().await.unwrap();
        assert_eq!((stats.watchers_cut, stats.watchers), (1, 1));
        assert_eq!(slow.next().await.unwrap().unwrap(), WatchItem::Progress(1));
        assert!(matches!(slow.next().await, Some(Err(StoreError::Slow))));
        assert!(slow.next().await.is_none());
        store.write(put("/elsewhere/a", "v", Expect::Anything)).await.unwrap();
        assert_eq!(other.next().await.unwrap().unwrap(), WatchItem::Progress(1));
        let WatchItem::Events(events) = other.next().await.unwrap().unwrap() else { panic!() };
        assert_eq!(events[0].revision, 13);
    }

    #[tokio::test(start_paused = true)]
    async fn history_is_bounded_by_size() {
        let store = memory_with(Tuning { history_bytes_max: 10_000, ..Tuning::default() });
        for _ in 0..1_000 {
            store.write(put("/a", "0123456789", Expect::Anything)).await.unwrap();
        }
        let stats = store.stats().await.unwrap();
        assert!(stats.history_bytes <= 10_000, "{stats:?}");
        assert_eq!(stats.oldest, 1_001 - stats.history_events);
        let old = store.watch("/", stats.oldest - 1).await.err();
        assert!(matches!(old, Some(StoreError::Compacted { .. })), "{old:?}");
        assert!(store.watch("/", stats.oldest).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_event_object_is_shared_by_all_watchers() {
        let store = memory();
        let mut watches = Vec::new();
        for _ in 0..3 {
            watches.push(store.watch("/", 1).await.unwrap());
        }
        store.write(put("/a", "v", Expect::Anything)).await.unwrap();
        let mut seen = Vec::new();
        for watch in &mut watches {
            loop {
                if let WatchItem::Events(events) = watch.next().await.unwrap().unwrap() {
                    seen.extend(events);
                    break;
                }
            }
        }
        assert!(seen.windows(2).all(|pair| Arc::ptr_eq(&pair[0], &pair[1])));
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_watches_learn_of_progress_from_time_to_time() {
        let store = memory();
        let mut quiet = store.watch("/quiet/", 1).await.unwrap();
        assert_eq!(quiet.next().await.unwrap().unwrap(), WatchItem::Progress(1));
        let started = Instant::now();
        let last = store.write(put("/busy", "v", Expect::Anything)).await.unwrap().revision;
        assert_eq!(quiet.next().await.unwrap().unwrap(), WatchItem::Progress(last));
        assert_eq!(started.elapsed(), Tuning::default().progress_every);
        // Nothing happens: nothing is said.
        let silence = tokio::time::timeout(Duration::from_secs(86_400), quiet.next()).await;
        assert!(silence.is_err(), "{silence:?}");
    }
}
