//! Watches: replay, prefixes, previous values, progress, slow readers.

use std::time::Duration;

use futures::StreamExt;

use super::bed::{Bed, text};
use crate::{Expect, StoreError, WatchItem};

pub(super) async fn a_watch_replays_and_goes_on(bed: Bed) {
    let start = bed.revision().await;
    let first = bed.set("a", "1").await;
    bed.set("a", "2").await;
    bed.delete("a", Expect::Anything).await.expect("a delete");
    let mut all = bed.watch("", start).await;
    let mut some = bed.watch("", first).await;
    let now = bed.revision().await;
    let mut live = bed.watch("", now).await;
    all.until(now).await;
    bed.set("b", "1").await;
    let last = bed.set("a", "3").await;
    for watch in [&mut all, &mut some, &mut live] {
        watch.until(last).await;
    }
    assert_eq!(all.story(), ["+a=1", "+a=2", "-a", "+b=1", "+a=3"]);
    assert_eq!(some.story(), ["+a=2", "-a", "+b=1", "+a=3"]);
    assert_eq!(live.story(), ["+b=1", "+a=3"]);
}

pub(super) async fn a_watch_sees_its_prefix_only(bed: Bed) {
    let start = bed.revision().await;
    let mut live = bed.watch("b/", start).await;
    for name in ["a", "b", "b/1", "b/2/3", "b0", "bb/1", "c"] {
        bed.set(name, "x").await;
    }
    let last = bed.revision().await;
    let mut replayed = bed.watch("b/", start).await;
    let mut exact = bed.watch("b/1", start).await;
    for watch in [&mut live, &mut replayed, &mut exact] {
        watch.until(last).await;
    }
    assert_eq!(live.story(), ["+1=x", "+2/3=x"]);
    assert_eq!(replayed.story(), live.story());
    assert_eq!(exact.story(), ["+=x"]);
}

pub(super) async fn events_carry_what_was_before(bed: Bed) {
    let start = bed.revision().await;
    let created = bed.set("a", "1").await;
    let updated = bed.set("a", "2").await;
    let deleted = bed.delete("a", Expect::Anything).await.expect("a delete").revision;
    let mut watch = bed.watch("", start).await;
    watch.until(deleted).await;
    let [create, update, delete] = &watch.events[..] else {
        panic!("three events, not {:?}", watch.story())
    };
    let before = |event: &crate::Event| {
        event.previous.as_ref().map(|kv| (text(&kv.value), kv.create_revision, kv.mod_revision))
    };
    assert_eq!((create.revision, before(create)), (created, None));
    assert_eq!((update.revision, before(update)), (updated, Some(("1".into(), created, created))));
    assert_eq!((delete.revision, before(delete)), (deleted, Some(("2".into(), created, updated))));
    let now = update.value.as_ref().expect("the value");
    assert_eq!((now.create_revision, now.mod_revision), (created, updated));
    assert_eq!(delete.value, None);
    assert_eq!(delete.key, bed.key("a"));
}

pub(super) async fn progress_can_be_asked_for(bed: Bed) {
    bed.set("quiet/a", "1").await;
    let mut watch = bed.watch("quiet/", bed.revision().await).await;
    for round in 0..5 {
        let elsewhere = bed.set("busy/a", &round.to_string()).await;
        let promised = bed.subject.store.progress(&bed.key("quiet/")).await.expect("progress");
        assert!(promised >= elsewhere);
        loop {
            match watch.next().await.expect("a watch that is read") {
                WatchItem::Progress(revision) if revision >= promised => break,
                WatchItem::Progress(_) => {}
                WatchItem::Events(events) => panic!("nothing happened there: {events:?}"),
            }
        }
    }
    bed.subject.store.progress("/nobody/watches/this/").await.expect("progress without watches");
    let page = bed.page(bed.range("quiet/")).await;
    assert_eq!(bed.names(&page), ["quiet/a"], "asking leaves no traces");
}

pub(super) async fn watches_of_overlapping_prefixes(bed: Bed) {
    let start = bed.revision().await;
    let mut watches = Vec::new();
    for prefix in ["", "a", "a/", "a/b", "a/b/", "a/b/c", "a/c/", "b/"] {
        watches.push((prefix, bed.watch(prefix, start).await, bed.watch(prefix, start).await));
    }
    let names = ["a/b/c", "a/b", "a", "b/b/c", "a/b/cd", "a/c/d", "b", "a/b/c"];
    for name in names {
        bed.set(name, "x").await;
    }
    let last = bed.revision().await;
    for (prefix, mut one, mut other) in watches {
        one.until(last).await;
        other.until(last).await;
        let matching = names.iter().filter(|name| name.starts_with(prefix)).count();
        assert_eq!(one.events.len(), matching, "{prefix}");
        assert_eq!(one.story(), other.story(), "{prefix}");
    }
}

pub(super) async fn who_does_not_read_stops_nobody(bed: Bed) {
    let start = bed.revision().await;
    let mut idle = bed.watch("", start).await;
    let mut reader = bed.watch("", start).await;
    let value = "x".repeat(2048);
    let mut last = start;
    for n in 0..2_000 {
        let mut write = bed.change(&(n % 7).to_string(), Some(&value), Expect::Anything);
        write.durability = crate::Durability::Relaxed;
        last = bed.subject.store.write(write).await.expect("a put").revision;
        if n % 64 == 0 {
            reader.until(last).await;
        }
    }
    reader.until(last).await;
    assert_eq!(reader.events.len(), 2_000);
    // Then it either gets everything after all, or is told that it was cut off.
    bed.subject.store.progress(&bed.key("")).await.expect("progress");
    loop {
        match idle.next().await {
            Ok(_) if idle.events.len() == 2_000 => break,
            Ok(_) => {}
            Err(StoreError::Slow) => return,
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub(super) async fn a_dropped_watch_is_gone(bed: Bed) {
    let before = bed.subject.store.stats().await.expect("stats").watchers;
    let mut watches = Vec::new();
    for _ in 0..20 {
        let mut stream =
            bed.subject.store.watch(&bed.key(""), bed.revision().await).await.expect("a watch");
        bed.subject.store.progress(&bed.key("")).await.expect("progress");
        stream.next().await.expect("an item").expect("progress");
        watches.push(stream);
    }
    let during = bed.subject.store.stats().await.expect("stats").watchers;
    assert_eq!(during, before + 20);
    drop(watches);
    let gone = async {
        while bed.subject.store.stats().await.expect("stats").watchers > before {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.expect("the watches are gone");
}
