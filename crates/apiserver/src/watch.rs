//! Watches: a cursor into a cache's ring, turned into frames for one client.
//!
//! Invariants: every change of the range once, in the store's order; a client that does not keep
//! up loses its watch and nobody else waits for it; a bookmark's version is one up to which
//! everything was sent.

use std::borrow::Cow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use api::status::{ApiError, ApiResult};
use base::drain::Drain;
use bytes::Bytes;
use serde_json::json;
use store::Revision;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::WaitForCancellationFutureOwned;

use crate::metrics::WatchSeries;
use crate::negotiate::{Format, MetaVersion, Output, Shape};
use crate::registry::Entry;
use crate::render::Renderer;
use crate::server::Core;
use crate::storage::list::range_prefix;
use crate::storage::selection::Selection;
use crate::storage::stored::{write_json, write_number};
use crate::storage::{CacheEvent, Lost, Stored, Subscription};

/// How much is put into one chunk at most, before the next event.
const CHUNK_LEN: usize = 64 * 1024;
/// Events taken from the ring at once.
const TAKE_LEN: usize = 512;
/// How often a quiet watch gets a bookmark.
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);
/// How long before its end a watch gets its last bookmark.
const BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// What a client watches.
pub(crate) struct WatchRequest {
    pub(crate) namespace: String,
    pub(crate) selection: Selection,
    pub(crate) start: Start,
    pub(crate) bookmarks: bool,
    /// The client asked for the initial events to be closed by a bookmark.
    pub(crate) initial_bookmark: bool,
    pub(crate) timeout: Duration,
}

/// Where a watch starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Start {
    /// With what is there now, each as ADDED. `consistent`: the newest.
    State {
        /// Wait for the newest, or for at least a revision.
        at_least: Option<Revision>,
        consistent: bool,
    },
    /// After this revision.
    After(Revision),
    /// Now, without what is there.
    Now,
}

/// A running watch.
pub(crate) struct Watcher {
    core: Arc<Core>,
    entry: Arc<Entry>,
    version: String,
    /// `apps/v1` of that version.
    api_version: String,
    /// What the frames of an addition, a change and a deletion are filed under, for all watchers
    /// that send the same.
    frame_keys: [u64; 3],
    output: Output,
    prefix: String,
    request: WatchRequest,
    subscription: Subscription,
    initial: std::vec::IntoIter<Arc<Stored>>,
    initial_rv: Revision,
    pending: std::vec::IntoIter<Arc<CacheEvent>>,
    after: Revision,
    is_first: bool,
    initial_bookmark_due: bool,
    next_bookmark: Instant,
    end: Instant,
    /// Fires at the earlier of the two. Kept, because making a timer for each wait costs more
    /// than an event.
    timer: Pin<Box<Sleep>>,
    drained: Pin<Box<WaitForCancellationFutureOwned>>,
    is_over: bool,
    sent: Arc<WatchSeries>,
}

const ADDED: &str = "ADDED";
const MODIFIED: &str = "MODIFIED";
const DELETED: &str = "DELETED";

/// What a change is to a watcher.
enum Seen<'e> {
    Added(&'e Stored),
    Modified(&'e Stored),
    Deleted(&'e Stored),
}

/// Frames on their way to a client. One that was made for all watchers is sent as it is, without a
/// copy, unless others go with it.
#[derive(Default)]
struct Chunk {
    /// A shared frame, as long as nothing follows it.
    shared: Option<Bytes>,
    own: Vec<u8>,
}

impl Chunk {
    fn len(&self) -> usize {
        self.own.len() + self.shared.as_ref().map_or(0, Bytes::len)
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a frame that others send too.
    fn push(&mut self, frame: Bytes) {
        if self.is_empty() {
            self.shared = Some(frame);
        } else {
            self.own().extend_from_slice(&frame);
        }
    }

    /// The bytes, to append to.
    fn own(&mut self) -> &mut Vec<u8> {
        if let Some(shared) = self.shared.take() {
            self.own.extend_from_slice(&shared);
        }
        &mut self.own
    }

    fn into_bytes(self) -> Bytes {
        self.shared.unwrap_or_else(|| self.own.into())
    }
}

/// What makes a watcher's frames equal another's. Two groups that share a cache show different
/// kinds.
fn frame_key(kind: &str, entry: &Entry, version: &str, output: Output) -> u64 {
    use std::hash::{Hash, Hasher};
    let mut hasher = std::hash::DefaultHasher::new();
    (kind, version, output.format, output.shape).hash(&mut hasher);
    entry.gr.hash(&mut hasher);
    hasher.finish()
}

impl Watcher {
    /// Starts a watch.
    pub(crate) async fn start(
        core: &Arc<Core>,
        entry: &Arc<Entry>,
        version: &str,
        output: Output,
        request: WatchRequest,
        drain: Drain,
    ) -> ApiResult<Self> {
        let cacher = &entry.cacher;
        cacher.loaded().await;
        let prefix = range_prefix(cacher, &request.namespace);
        let mut replayed = Vec::new();
        let (initial, initial_rv, subscription) = match request.start {
            Start::State { at_least, consistent } => {
                match at_least {
                    Some(rv) => core.storage.fresh(rv).await?,
                    None if consistent => core.storage.catch_up().await?,
                    None => {}
                }
                let progress = core.storage.feed.progress();
                // What a selector sees is the object in the version that is watched.
                let converts = entry.converter.is_some();
                let selects = |one: &Stored| request.selection.matches(&*entry.resource, one);
                let (view, subscription) = cacher
                    .view_and_subscribe(&prefix, progress, |one| converts || selects(one))
                    .ok_or_else(gone)?;
                let mut objects = entry.shown(view.objects).await?;
                if converts {
                    objects.retain(|one| selects(one));
                }
                (objects, view.rv, subscription)
            }
            Start::After(rv) => {
                let (events, subscription) = core.storage.changes_after(cacher, rv).await?;
                replayed = shown_events(entry, events).await?;
                (Vec::new(), rv, subscription)
            }
            Start::Now => {
                let rv = core.storage.feed.progress().max(cacher.last_rv());
                (Vec::new(), rv, cacher.subscribe(rv).map_err(|Lost| gone())?)
            }
        };
        let now = Instant::now();
        let first = BOOKMARK_EVERY.min(request.timeout.saturating_sub(BOOKMARK_BEFORE_END));
        let (next_bookmark, end) = (now + first, now + request.timeout);
        Ok(Self {
            core: core.clone(),
            entry: entry.clone(),
            version: version.to_owned(),
            api_version: entry.api_version(version),
            frame_keys: [ADDED, MODIFIED, DELETED]
                .map(|kind| frame_key(kind, entry, version, output)),
            output,
            prefix,
            subscription,
            initial: initial.into_iter(),
            initial_rv,
            pending: replayed.into_iter(),
            after: initial_rv,
            is_first: true,
            initial_bookmark_due: request.initial_bookmark,
            next_bookmark,
            end,
            timer: Box::pin(tokio::time::sleep_until(next_bookmark.min(end))),
            request,
            drained: Box::pin(drain.cancelled_owned()),
            is_over: false,
            sent: core.metrics.watch_series(&entry.gr.group, version, &entry.gr.resource),
        })
    }

    /// The next chunk of frames; `None` at the end.
    pub(crate) async fn next(&mut self) -> Option<Bytes> {
        let mut chunk = Chunk::default();
        loop {
            if self.is_over {
                return None;
            }
            if let Err(error) = self.fill(&mut chunk).await {
                self.error_frame(&error, chunk.own());
                self.is_over = true;
            }
            if !chunk.is_empty() {
                return Some(chunk.into_bytes());
            }
            if self.is_over {
                return None;
            }
            tokio::select! {
                biased;
                () = self.drained.as_mut() => self.is_over = true,
                () = self.subscription.changed() => {}
                () = self.timer.as_mut() => {
                    self.on_time(&mut chunk).await;
                    if !chunk.is_empty() {
                        return Some(chunk.into_bytes());
                    }
                }
            }
        }
    }

    async fn on_time(&mut self, chunk: &mut Chunk) {
        let now = Instant::now();
        if now >= self.next_bookmark {
            self.next_bookmark = if now + BOOKMARK_EVERY < self.end {
                now + BOOKMARK_EVERY
            } else {
                (self.end - BOOKMARK_BEFORE_END).max(now + Duration::from_millis(500))
            };
            if self.request.bookmarks {
                self.bookmark(chunk).await;
            }
        }
        if now >= self.end {
            self.is_over = true;
        }
        self.timer.as_mut().reset(self.next_bookmark.min(self.end));
    }

    /// Puts as many frames into the chunk as are there and fit.
    async fn fill(&mut self, chunk: &mut Chunk) -> ApiResult<()> {
        while chunk.len() < CHUNK_LEN {
            if let Some(object) = self.initial.next() {
                let before = chunk.len();
                self.frame(ADDED, &object, object.rv, chunk.own())?;
                self.sent.sent(chunk.len() - before);
                self.is_first = false;
                continue;
            }
            if self.initial_bookmark_due {
                self.initial_bookmark_due = false;
                self.bookmark_frame(self.initial_rv, true, chunk.own());
                continue;
            }
            if let Some(event) = self.pending.next() {
                let before = chunk.len();
                self.event(&event, chunk)?;
                if chunk.len() > before {
                    self.sent.sent(chunk.len() - before);
                }
                continue;
            }
            let mut events = Vec::new();
            // Cut off: the client goes on from the last version that it has seen.
            if self.subscription.take(TAKE_LEN, &mut events) == Err(Lost) {
                self.is_over = true;
            }
            if events.is_empty() {
                return Ok(());
            }
            self.pending = shown_events(&self.entry, events).await?.into_iter();
        }
        Ok(())
    }

    fn event(&mut self, event: &Arc<CacheEvent>, chunk: &mut Chunk) -> ApiResult<()> {
        if event.rv <= self.after {
            return Ok(());
        }
        self.after = event.rv;
        let Some(seen) = self.see(event) else { return Ok(()) };
        let [added, modified, deleted] = self.frame_keys;
        let (kind, key, object) = match seen {
            Seen::Added(object) => (ADDED, added, object),
            Seen::Modified(object) => (MODIFIED, modified, object),
            Seen::Deleted(object) => (DELETED, deleted, object),
        };
        // The first table carries the columns, which the next ones leave out.
        let is_special = self.is_first && matches!(self.output.shape, Shape::Table(..));
        self.is_first &= is_special;
        if is_special {
            self.frame(kind, object, event.rv, chunk.own())?;
            self.is_first = false;
            return Ok(());
        }
        // Made once for all watchers that send the same.
        let frame = event.frame(key, || {
            let mut frame = Vec::with_capacity(object.bytes.len() + 128);
            self.frame(kind, object, event.rv, &mut frame)?;
            Ok::<_, ApiError>(frame.into())
        })?;
        chunk.push(frame);
        Ok(())
    }

    /// What the change is to this watcher, which may see only some of the objects.
    fn see<'e>(&self, event: &'e CacheEvent) -> Option<Seen<'e>> {
        let matches = |object: &'e Option<Arc<Stored>>| {
            object.as_deref().filter(|one| {
                one.key.starts_with(&self.prefix)
                    && self.request.selection.matches(&*self.entry.resource, one)
            })
        };
        match (matches(&event.previous), matches(&event.current)) {
            (None, Some(new)) => Some(Seen::Added(new)),
            (Some(_), Some(new)) => Some(Seen::Modified(new)),
            (Some(old), None) => Some(Seen::Deleted(old)),
            (None, None) => None,
        }
    }

    fn frame(&self, kind: &str, object: &Stored, rv: Revision, out: &mut Vec<u8>) -> ApiResult<()> {
        let renderer = Renderer {
            entry: &self.entry,
            version: &self.version,
            api_version: Cow::Borrowed(&self.api_version),
            output: self.output,
            now: self.core.clock.now(),
        };
        if self.output.format == Format::Protobuf {
            let mut json = Vec::new();
            renderer.stored_json(object, rv, self.is_first, &mut json)?;
            return crate::proto::watch_frame(kind, &json, out);
        }
        out.extend_from_slice(b"{\"type\":\"");
        out.extend_from_slice(kind.as_bytes());
        out.extend_from_slice(b"\",\"object\":");
        renderer.stored_json(object, rv, self.is_first, out)?;
        out.extend_from_slice(b"}\n");
        Ok(())
    }

    /// A bookmark at a revision up to which everything was sent.
    async fn bookmark(&mut self, chunk: &mut Chunk) {
        let progress = self.core.storage.feed.progress();
        let before = chunk.len();
        if self.fill(chunk).await.is_err() || chunk.len() > before {
            return; // the next wake-up sends what there is, or says what is wrong
        }
        self.after = self.after.max(progress);
        self.bookmark_frame(self.after, false, chunk.own());
    }

    fn bookmark_frame(&mut self, rv: Revision, closes_initial: bool, out: &mut Vec<u8>) {
        let info = self.entry.resource.info();
        let api_version = self.entry.api_version(&self.version);
        let (kind, api_version) = match self.output.shape {
            Shape::Whole => (&*info.kind, &*api_version),
            Shape::Partial(version) => ("PartialObjectMetadata", version.api_version()),
            Shape::Table(version, _) => ("Table", version.api_version()),
        };
        let mut metadata = Vec::new();
        metadata.extend_from_slice(b"{\"resourceVersion\":\"");
        write_number(rv, &mut metadata);
        metadata.extend_from_slice(b"\",\"creationTimestamp\":null");
        if closes_initial {
            metadata
                .extend_from_slice(b",\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}");
        }
        metadata.push(b'}');
        let mut object = Vec::new();
        object.extend_from_slice(b"{\"kind\":");
        write_json(kind, &mut object);
        object.extend_from_slice(b",\"apiVersion\":");
        write_json(api_version, &mut object);
        object.extend_from_slice(b",\"metadata\":");
        if let Shape::Table(version, _) = self.output.shape {
            self.bookmark_table(rv, version, &metadata, &mut object);
        } else {
            object.extend_from_slice(&metadata);
        }
        object.push(b'}');
        if self.output.format == Format::Protobuf {
            let _ = crate::proto::watch_frame("BOOKMARK", &object, out);
            return;
        }
        out.extend_from_slice(b"{\"type\":\"BOOKMARK\",\"object\":");
        out.extend_from_slice(&object);
        out.extend_from_slice(b"}\n");
    }

    /// A table's bookmark has a row whose object carries the annotation.
    fn bookmark_table(
        &mut self,
        rv: Revision,
        version: MetaVersion,
        metadata: &[u8],
        out: &mut Vec<u8>,
    ) {
        let mut list = Vec::new();
        write_json(&json!({ "resourceVersion": rv.to_string() }), &mut list);
        out.extend_from_slice(&list);
        out.extend_from_slice(b",\"columnDefinitions\":");
        if std::mem::take(&mut self.is_first) {
            write_json(self.entry.resource.columns(), out);
        } else {
            out.extend_from_slice(b"null");
        }
        out.extend_from_slice(b",\"rows\":[{\"cells\":");
        let cells = vec![serde_json::Value::Null; self.entry.resource.columns().len()];
        write_json(&cells, out);
        out.extend_from_slice(b",\"object\":{\"kind\":\"PartialObjectMetadata\",\"apiVersion\":\"");
        out.extend_from_slice(version.api_version().as_bytes());
        out.extend_from_slice(b"\",\"metadata\":");
        out.extend_from_slice(metadata);
        out.extend_from_slice(b"}}]");
    }

    fn error_frame(&self, error: &ApiError, out: &mut Vec<u8>) {
        let status = crate::response::status_json(error);
        if self.output.format == Format::Protobuf {
            let _ = crate::proto::watch_frame("ERROR", &status, out);
            return;
        }
        out.extend_from_slice(b"{\"type\":\"ERROR\",\"object\":");
        out.extend_from_slice(&status);
        out.extend_from_slice(b"}\n");
    }
}

/// Changes with their objects in the version that is watched. Of all that watch it, one converts,
/// and the others find what it made.
async fn shown_events(
    entry: &Entry,
    events: Vec<Arc<CacheEvent>>,
) -> ApiResult<Vec<Arc<CacheEvent>>> {
    let objects = || events.iter().flat_map(|event| [&event.current, &event.previous]).flatten();
    if objects().all(|object| entry.shows(object)) {
        return Ok(events);
    }
    let _turn = entry.converting.lock().await;
    let mut shown = entry.shown(objects().cloned().collect()).await?.into_iter();
    let mut next = |object: &Option<Arc<Stored>>| object.as_ref().and_then(|_| shown.next());
    Ok(events
        .iter()
        .map(|event| {
            let current = next(&event.current);
            let previous = next(&event.previous);
            Arc::new(CacheEvent::new(event.rv, current, previous))
        })
        .collect())
}

fn gone() -> ApiError {
    ApiError::expired("The resourceVersion for the provided watch is too old.")
}
