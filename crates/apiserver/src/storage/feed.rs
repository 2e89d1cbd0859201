//! The feed: one watch of the whole store that keeps every resource's cache.
//!
//! Invariant: [`Feed::progress`] is a revision up to which every cache has every change. Because
//! one watch feeds all, it follows the store's newest revision closely whichever resource is
//! written, and a consistent read waits for a moment only.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use store::{Event, Range, Revision, SharedStore, StoreError, StoreResult, WatchItem};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::Instant;

use super::cacher::Cacher;
use super::stored::Stored;
use super::transform::ValueTransformer;

/// Everything in the store, objects or not: so progress follows every revision.
pub(crate) const ROOT: &str = "/";
const PAGE_LEN: usize = 2000;
const RETRY: Duration = Duration::from_millis(250);

/// A request to the feed's task.
pub(crate) enum Command {
    /// Load this cache and keep it.
    Add(Arc<Cacher>, oneshot::Sender<()>),
    /// Load it anew: what could not be read before may be readable now.
    Reload(Arc<Cacher>),
    /// Keep it no longer.
    Remove(Arc<Cacher>),
}

/// The caches' end of the feed.
#[derive(Clone)]
pub(crate) struct Feed {
    commands: mpsc::Sender<Command>,
    progress: watch::Receiver<Revision>,
}

struct Task {
    store: SharedStore,
    transformer: Arc<dyn ValueTransformer>,
    cachers: HashMap<String, Vec<Arc<Cacher>>>,
    progress: watch::Sender<Revision>,
}

impl Feed {
    /// Starts the feed with these caches.
    pub(crate) fn start(
        store: SharedStore,
        transformer: Arc<dyn ValueTransformer>,
        cachers: &[Arc<Cacher>],
    ) -> Self {
        let (commands, inbox) = mpsc::channel(64);
        let progress = watch::Sender::new(0);
        let receiver = progress.subscribe();
        let mut task = Task { store, transformer, cachers: HashMap::new(), progress };
        for cacher in cachers {
            task.add(cacher.clone());
        }
        tokio::spawn(task.run(inbox));
        Self { commands, progress: receiver }
    }

    /// The revision up to which all caches are complete.
    pub(crate) fn progress(&self) -> Revision {
        *self.progress.borrow()
    }

    /// Waits until the caches are complete up to this revision.
    pub(crate) async fn reached(&self, rv: Revision) {
        if self.progress() >= rv {
            return;
        }
        let _ = self.progress.clone().wait_for(|progress| *progress >= rv).await;
    }

    /// Loads one more cache and keeps it.
    pub(crate) async fn add(&self, cacher: Arc<Cacher>) {
        let (done, wait) = oneshot::channel();
        if self.commands.send(Command::Add(cacher, done)).await.is_ok() {
            let _ = wait.await;
        }
    }

    /// Loads a cache anew, which cuts its watchers off.
    pub(crate) async fn reload(&self, cacher: Arc<Cacher>) {
        let _ = self.commands.send(Command::Reload(cacher)).await;
    }

    /// Drops a cache.
    pub(crate) async fn remove(&self, cacher: Arc<Cacher>) {
        let _ = self.commands.send(Command::Remove(cacher)).await;
    }
}

impl Task {
    fn add(&mut self, cacher: Arc<Cacher>) {
        self.cachers.entry(cacher.prefix.clone()).or_default().push(cacher);
    }

    /// Loads and follows, and starts over when the store cuts the watch. Ends when all [`Feed`]
    /// handles are gone.
    async fn run(mut self, mut inbox: mpsc::Receiver<Command>) {
        while !inbox.is_closed() {
            if let Err(error) = self.follow(&mut inbox).await {
                tracing::warn!(%error, "the watch caches lost the store's changes; loading anew");
                tokio::time::sleep(RETRY).await;
            }
        }
    }

    async fn follow(&mut self, inbox: &mut mpsc::Receiver<Command>) -> StoreResult<()> {
        let start = self.store.revision().await?;
        for cacher in self.cachers.values().flatten() {
            self.load(cacher, start).await?;
        }
        let mut changes = self.store.watch(ROOT, start).await?;
        self.progress.send_replace(start);
        loop {
            tokio::select! {
                biased;
                item = changes.next() => match item {
                    Some(item) => self.take(item?),
                    None => return Err(StoreError::Unavailable("the watch ended".into())),
                },
                command = inbox.recv() => match command {
                    Some(command) => self.obey(command).await?,
                    None => return Ok(()),
                },
            }
        }
    }

    async fn obey(&mut self, command: Command) -> StoreResult<()> {
        match command {
            Command::Add(cacher, done) => {
                self.add(cacher.clone());
                let at = *self.progress.borrow();
                self.load(&cacher, at).await?;
                let _ = done.send(());
            }
            Command::Reload(cacher) => {
                let at = *self.progress.borrow();
                self.load(&cacher, at).await?;
            }
            Command::Remove(cacher) => {
                if let Some(same) = self.cachers.get_mut(&cacher.prefix) {
                    same.retain(|one| !Arc::ptr_eq(one, &cacher));
                }
                cacher.close();
            }
        }
        Ok(())
    }

    async fn load(&self, cacher: &Cacher, at: Revision) -> StoreResult<()> {
        let mut objects = Vec::new();
        let mut after = None;
        if at == 0 {
            // There is nothing to read, and no snapshot to read it from.
            cacher.load(objects, at);
            return Ok(());
        }
        loop {
            let page = self
                .store
                .range(Range {
                    prefix: cacher.prefix.clone(),
                    after: after.take(),
                    limit: Some(PAGE_LEN),
                    at: Some(at),
                })
                .await?;
            after = page.items.last().map(|last| last.key.to_string());
            objects.extend(
                page.items.into_iter().filter_map(|item| {
                    self.stored(cacher, &item.key, item.mod_revision, item.value)
                }),
            );
            if page.remaining == 0 || after.is_none() {
                break;
            }
        }
        cacher.load(objects, at);
        Ok(())
    }

    fn take(&self, item: WatchItem) {
        match item {
            WatchItem::Progress(rv) => self.advance(rv),
            WatchItem::Events(events) => {
                let now = Instant::now();
                let mut touched: Vec<&Arc<Cacher>> = Vec::new();
                let last = events.last().map(|event| event.revision);
                for event in events {
                    self.apply(event, now, &mut touched);
                }
                if let Some(last) = last {
                    self.advance(last);
                }
                touched.into_iter().for_each(|cacher| cacher.wake());
            }
        }
    }

    fn advance(&self, rv: Revision) {
        self.progress.send_if_modified(|progress| {
            let moved = rv > *progress;
            *progress = rv.max(*progress);
            moved
        });
    }

    fn apply<'a>(&'a self, event: Arc<Event>, now: Instant, touched: &mut Vec<&'a Arc<Cacher>>) {
        for cacher in self.cachers_of(&event.key) {
            let value = event.value.as_ref().and_then(|value| {
                self.stored(cacher, &event.key, event.revision, value.value.clone())
            });
            cacher.apply(&event.key, event.revision, value, now);
            if !touched.iter().any(|known| Arc::ptr_eq(known, cacher)) {
                touched.push(cacher);
            }
        }
    }

    /// The caches whose prefix a key has: the longest that somebody keeps.
    fn cachers_of(&self, key: &str) -> &[Arc<Cacher>] {
        key.rmatch_indices('/')
            .find_map(|(at, _)| self.cachers.get(&key[..=at]))
            .map(Vec::as_slice)
            .unwrap_or_default()
    }

    fn stored(
        &self,
        cacher: &Cacher,
        key: &Arc<str>,
        rv: Revision,
        value: Bytes,
    ) -> Option<Stored> {
        if let Some((bytes, facts)) = cacher.take_hint(key, &value) {
            return Some(Stored::new(key.clone(), rv, bytes, facts));
        }
        let plain = match self.transformer.decrypt(key, value) {
            Ok(plain) => plain,
            Err(error) => {
                tracing::error!(%key, %error, "a stored object cannot be decrypted; it is not served");
                return None;
            }
        };
        Stored::parse(&*cacher.resource, key.clone(), rv, plain)
            .inspect_err(|error| {
                tracing::error!(%key, %error, "a stored object cannot be read; it is not served");
            })
            .ok()
    }
}
