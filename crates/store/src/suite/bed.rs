//! What cases are made with: keys of their own, short writes, collected watches.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::Subject;
use crate::{
    Durability, Event, Expect, KeyValue, Page, Range, Revision, StoreError, StoreResult, WatchItem,
    WatchStream, Write, Written,
};

/// A case's own part of the store.
#[derive(Clone)]
pub struct Bed {
    pub(super) subject: Subject,
    pub(super) root: String,
    pub(super) seed: u64,
}

impl Bed {
    pub(super) fn new(subject: Subject, case: &str, seed: u64) -> Self {
        Self { subject, root: format!("/suite/{seed:x}/{case}/"), seed }
    }

    pub(super) fn rng(&self, salt: u64) -> StdRng {
        StdRng::seed_from_u64(self.seed.wrapping_mul(31).wrapping_add(salt))
    }

    pub(super) fn key(&self, name: &str) -> Arc<str> {
        format!("{}{name}", self.root).into()
    }

    pub(super) fn change(&self, name: &str, value: Option<&str>, expect: Expect) -> Write {
        Write {
            key: self.key(name),
            value: value.map(|value| Bytes::copy_from_slice(value.as_bytes())),
            expect,
            durability: Durability::Synced,
            ttl: None,
        }
    }

    pub(super) async fn put(
        &self,
        name: &str,
        value: &str,
        expect: Expect,
    ) -> StoreResult<Written> {
        self.subject.store.write(self.change(name, Some(value), expect)).await
    }

    /// Puts whatever is there and gives the revision.
    pub(super) async fn set(&self, name: &str, value: &str) -> Revision {
        self.put(name, value, Expect::Anything).await.expect("a put without condition").revision
    }

    pub(super) async fn set_ttl(&self, name: &str, value: &str, ttl: Duration) -> Revision {
        let mut write = self.change(name, Some(value), Expect::Anything);
        write.ttl = Some(ttl);
        self.subject.store.write(write).await.expect("a put with a TTL").revision
    }

    pub(super) async fn delete(&self, name: &str, expect: Expect) -> StoreResult<Written> {
        self.subject.store.write(self.change(name, None, expect)).await
    }

    pub(super) async fn get(&self, name: &str) -> Option<KeyValue> {
        self.subject.store.get(&self.key(name)).await.expect("a get").0
    }

    pub(super) async fn value(&self, name: &str) -> Option<String> {
        self.get(name).await.map(|kv| text(&kv.value))
    }

    pub(super) fn range(&self, under: &str) -> Range {
        Range { prefix: self.key(under).to_string(), ..Range::default() }
    }

    pub(super) async fn page(&self, range: Range) -> Page {
        self.subject.store.range(range).await.expect("a range")
    }

    /// A page's keys without the case's root.
    pub(super) fn names(&self, page: &Page) -> Vec<String> {
        page.items.iter().map(|kv| self.name(&kv.key)).collect()
    }

    pub(super) fn name(&self, key: &str) -> String {
        key.strip_prefix(&self.root).expect("a key of this case").to_owned()
    }

    pub(super) async fn revision(&self) -> Revision {
        self.subject.store.revision().await.expect("the revision")
    }

    pub(super) async fn watch(&self, under: &str, after: Revision) -> Watched {
        let prefix = self.key(under);
        let stream = self.subject.store.watch(&prefix, after).await.expect("a watch");
        let store = self.subject.store.clone();
        Watched { store, prefix, stream, events: Vec::new(), upto: after }
    }
}

pub(super) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value).into_owned()
}

pub(super) fn is_conflict(result: &StoreResult<Written>, current: Option<Revision>) -> bool {
    matches!(result, Err(StoreError::Conflict { current: got, .. })
        if got.as_ref().map(|kv| kv.mod_revision) == current)
}

/// A watch and what it has yielded; checks order as it goes.
pub(super) struct Watched {
    store: crate::SharedStore,
    prefix: Arc<str>,
    stream: WatchStream,
    pub(super) events: Vec<Arc<Event>>,
    upto: Revision,
}

impl Watched {
    /// The next item, or the error that ended the watch.
    pub(super) async fn next(&mut self) -> StoreResult<WatchItem> {
        let limit = Duration::from_secs(60);
        let item = tokio::time::timeout(limit, self.stream.next()).await;
        let item =
            item.expect("a watch yields within a minute").expect("a watch ends with an error")?;
        match &item {
            WatchItem::Progress(revision) => {
                assert!(*revision >= self.upto, "progress to {revision} after {}", self.upto);
                self.upto = *revision;
            }
            WatchItem::Events(events) => {
                assert!(!events.is_empty(), "an item without events");
                for event in events {
                    let (revision, upto) = (event.revision, self.upto);
                    assert!(revision > upto, "event {revision} after {upto}");
                    assert!(event.key.starts_with(&*self.prefix), "{} is not asked for", event.key);
                    self.upto = revision;
                }
                self.events.extend(events.iter().cloned());
            }
        }
        Ok(item)
    }

    /// Goes on until everything up to this revision was yielded.
    pub(super) async fn until(&mut self, revision: Revision) {
        if self.upto < revision {
            let asked = self.store.progress(&self.prefix).await.expect("progress");
            assert!(asked >= revision, "progress promises {asked}");
        }
        while self.upto < revision {
            self.next().await.expect("a watch that is read");
        }
    }

    /// What was seen, in short: `+key=value` and `-key`, without the prefix.
    pub(super) fn story(&self) -> Vec<String> {
        let name = |key: &str| key[self.prefix.len()..].to_owned();
        let tell = |event: &Arc<Event>| match &event.value {
            Some(kv) => format!("+{}={}", name(&event.key), text(&kv.value)),
            None => format!("-{}", name(&event.key)),
        };
        self.events.iter().map(tell).collect()
    }
}
