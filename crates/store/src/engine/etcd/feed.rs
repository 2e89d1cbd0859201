//! One watch: etcd's answers as the store's items.
//!
//! Nothing is buffered here: a slow reader slows its own gRPC stream down, and etcd keeps what it
//! has not sent. Invariant: an item is yielded once, in order of revision.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use base::drain::Drain;
use etcd_client::{
    EventType, WatchClient, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream,
};
use futures::Stream;
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::convert::{self, key_value, revision_of, unavailable, unsigned};
use super::{ANSWER_BYTES_MAX, is_ours};
use crate::{Event, Revision, StoreError, StoreResult, WatchItem};

/// A member that lags, or a watch that is behind, does not answer at once: ask again after this.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// The running watches, so that progress can be asked of them.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    wishes: Mutex<HashMap<String, Vec<Arc<Wish>>>>,
}

/// Up to where somebody wants a watch to come.
#[derive(Debug, Default)]
struct Wish {
    upto: AtomicU64,
    made: Notify,
}

impl Feeds {
    pub(super) fn ask(&self, prefix: &str, upto: Revision) {
        for wish in self.wishes.lock().get(prefix).into_iter().flatten() {
            wish.upto.fetch_max(upto, Ordering::Relaxed);
            wish.made.notify_one();
        }
    }

    pub(super) fn count(&self) -> u64 {
        self.wishes.lock().values().map(|wishes| wishes.len() as u64).sum()
    }
}

/// A watch's place among the running ones.
struct Place {
    feeds: Arc<Feeds>,
    prefix: String,
    wish: Arc<Wish>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut wishes = self.feeds.wishes.lock();
        if let Some(same) = wishes.get_mut(&self.prefix) {
            same.retain(|wish| !Arc::ptr_eq(wish, &self.wish));
            if same.is_empty() {
                wishes.remove(&self.prefix);
            }
        }
    }
}

pub(super) struct Feed {
    place: Place,
    sender: WatchRequestSender,
    responses: WatchResponseStream,
    /// The revision that was asked for; 0 for the oldest kept.
    after: Revision,
    /// Everything up to here was yielded.
    upto: Revision,
    ready: VecDeque<WatchItem>,
}

fn options(prefix: &str, after: Revision) -> WatchOptions {
    let options = WatchOptions::new()
        .with_start_revision(convert::signed(after + 1))
        .with_prev_key()
        .with_fragment()
        .with_progress_notify();
    if prefix.is_empty() { options.with_all_keys() } else { options.with_prefix() }
}

impl Feed {
    pub(super) async fn start(
        client: WatchClient,
        feeds: &Arc<Feeds>,
        prefix: &str,
        after: Revision,
    ) -> StoreResult<Self> {
        let mut client = client.max_decoding_message_size(ANSWER_BYTES_MAX);
        let stream = client.watch(prefix, Some(options(prefix, after))).await;
        let (sender, responses) = stream.map_err(unavailable)?.split();
        let wish = Arc::new(Wish::default());
        feeds.wishes.lock().entry(prefix.to_owned()).or_default().push(wish.clone());
        let place = Place { feeds: feeds.clone(), prefix: prefix.to_owned(), wish };
        Ok(Self { place, sender, responses, after, upto: after, ready: VecDeque::new() })
    }

    /// The items until the first error, or until the store is closed.
    pub(super) fn into_stream(
        self,
        closed: Drain,
    ) -> impl Stream<Item = StoreResult<WatchItem>> + Send {
        futures::stream::unfold(Some((self, closed)), |state| async move {
            let (mut feed, closed) = state?;
            let item = tokio::select! {
                () = closed.cancelled() => Err(StoreError::Unavailable("it was closed".into())),
                item = feed.next() => item,
            };
            let rest = item.is_ok().then_some((feed, closed));
            Some((item, rest))
        })
    }

    async fn next(&mut self) -> StoreResult<WatchItem> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Ok(item);
            }
            let behind = self.place.wish.upto.load(Ordering::Relaxed) > self.upto;
            tokio::select! {
                response = self.responses.message() => match response.map_err(unavailable)? {
                    Some(response) => self.take(&response).await?,
                    None => {
                        let why = "etcd ended the watch".into();
                        return Err(StoreError::Unavailable(why));
                    }
                },
                () = self.place.wish.made.notified() => self.ask().await?,
                () = tokio::time::sleep(ASK_AGAIN), if behind => self.ask().await?,
            }
        }
    }

    async fn ask(&mut self) -> StoreResult<()> {
        self.sender.request_progress().await.map_err(unavailable)
    }

    async fn take(&mut self, response: &WatchResponse) -> StoreResult<()> {
        if response.canceled() {
            return self.canceled(response).await;
        }
        if response.created() {
            return Ok(());
        }
        let (mut events, mut marked) = (Vec::with_capacity(response.events().len()), false);
        for event in response.events() {
            let Some(kv) = event.kv() else { continue };
            let revision = unsigned(kv.mod_revision());
            self.upto = self.upto.max(revision);
            let key = convert::key(kv.key());
            if is_ours(&key) {
                marked = true;
                continue;
            }
            let value = (event.event_type() == EventType::Put).then(|| key_value(kv));
            let previous = event.prev_kv().map(key_value);
            events.push(Arc::new(Event { revision, key, value, previous }));
        }
        if !events.is_empty() {
            self.ready.push_back(WatchItem::Events(events));
        }
        if response.events().is_empty() {
            self.upto = self.upto.max(revision_of(response.header()));
            marked = true;
        }
        if marked {
            self.ready.push_back(WatchItem::Progress(self.upto));
        }
        Ok(())
    }

    async fn canceled(&mut self, response: &WatchResponse) -> StoreResult<()> {
        let oldest = unsigned(response.compact_revision());
        if oldest == 0 {
            let why = format!("etcd ended the watch: {}", response.cancel_reason());
            return Err(StoreError::Unavailable(why));
        }
        if self.after > 0 || self.upto > 0 {
            let requested = self.upto.max(self.after);
            return Err(StoreError::Compacted { requested, oldest });
        }
        // It was to begin at the oldest that is kept.
        self.upto = oldest;
        let again = options(&self.place.prefix, oldest);
        self.sender.watch(self.place.prefix.as_str(), Some(again)).await.map_err(unavailable)
    }
}

/// The oldest revision that can be read: a watch from the first one is told.
pub(super) async fn oldest(mut client: WatchClient) -> Option<Revision> {
    let mut stream = client.watch("\0", Some(options("\0", 0))).await.ok()?;
    loop {
        let response = stream.message().await.ok()??;
        if !response.created() || response.canceled() {
            return Some(unsigned(response.compact_revision())).filter(|oldest| *oldest > 0);
        }
    }
}
