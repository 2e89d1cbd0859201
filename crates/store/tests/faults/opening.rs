//! Directories that cannot be used, and stores that are opened, closed and lost in every order.

use std::os::unix::fs::PermissionsExt;
use std::time::Duration;

use futures::StreamExt;
use store::embedded::{EmbeddedOptions, open};
use store::{Durability, Range, Store, StoreError, WatchItem};

use super::{copy_dir, value, write};

#[tokio::test]
async fn one_process_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(EmbeddedOptions::new(dir.path())).unwrap();
    let error = open(EmbeddedOptions::new(dir.path())).unwrap_err();
    assert!(error.to_string().contains("another process uses the data directory"), "{error}");
    drop(first);
    open(EmbeddedOptions::new(dir.path())).unwrap();
}

#[tokio::test]
async fn the_directory_is_private_and_must_be_one() {
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("a/b");
    drop(open(EmbeddedOptions::new(&dir)).unwrap());
    assert_eq!(dir.metadata().unwrap().permissions().mode() & 0o777, 0o700);
    for entry in std::fs::read_dir(&dir).unwrap() {
        assert_eq!(entry.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    let file = scratch.path().join("file");
    std::fs::write(&file, "").unwrap();
    let error = open(EmbeddedOptions::new(&file)).unwrap_err();
    assert!(error.to_string().contains("cannot make the data directory"), "{error}");
}

#[tokio::test]
async fn a_lost_range_of_revisions_is_compacted() {
    let scratch = tempfile::tempdir().unwrap();
    let (live, crashed) = (scratch.path().join("live"), scratch.path().join("crashed"));
    let store = open(EmbeddedOptions::new(&live)).unwrap();
    for n in 0..10 {
        store.write(write("/a", Some(value("/a", n, 50)), Durability::Synced)).await.unwrap();
    }
    let last = store.revision().await.unwrap();
    copy_dir(&live, &crashed);
    // What the crash takes away: numbers that were given.
    for n in 10..20 {
        store.write(write("/a", Some(value("/a", n, 50)), Durability::Relaxed)).await.unwrap();
    }
    let lost = store.revision().await.unwrap();
    let store = open(EmbeddedOptions::new(&crashed)).unwrap();
    let reopened = store.revision().await.unwrap();
    assert!(reopened > lost);
    for at in [last + 1, lost, reopened - 1] {
        let error = store.range(Range { at: Some(at), ..Range::default() }).await.unwrap_err();
        assert!(
            matches!(error, StoreError::Compacted { requested, oldest }
                if requested == at && oldest == reopened),
            "{error:?}"
        );
        assert!(matches!(store.watch("/", at).await.err(), Some(StoreError::Compacted { .. })));
    }
    // Who had seen no more than what survived goes on.
    let mut watch = store.watch("/", last - 1).await.unwrap();
    let next = store.write(write("/b", Some("x".into()), Durability::Synced)).await.unwrap();
    assert_eq!(next.revision, reopened + 1);
    let mut seen = Vec::new();
    while seen.last() != Some(&next.revision) {
        if let WatchItem::Events(events) = watch.next().await.unwrap().unwrap() {
            seen.extend(events.iter().map(|event| event.revision));
        }
    }
    assert_eq!(seen, [last, next.revision]);
    // And after the next restart the range is still known to be lost.
    store.close().await.unwrap();
    drop(store);
    let store = open(EmbeddedOptions::new(&crashed)).unwrap();
    assert_eq!(store.revision().await.unwrap(), next.revision);
    let error = store.range(Range { at: Some(lost), ..Range::default() }).await.unwrap_err();
    assert!(matches!(error, StoreError::Compacted { .. }), "{error:?}");
}

#[tokio::test]
async fn what_expires_while_the_store_is_closed_goes_when_it_opens() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(EmbeddedOptions::new(dir.path())).unwrap();
    for (key, ttl_ms) in [("/short", 30), ("/long", 3_600_000)] {
        let mut put = write(key, Some("x".into()), Durability::Synced);
        put.ttl = Some(Duration::from_millis(ttl_ms));
        store.write(put).await.unwrap();
    }
    store.close().await.unwrap();
    drop(store);
    tokio::time::sleep(Duration::from_millis(40)).await;
    let store = open(EmbeddedOptions::new(dir.path())).unwrap();
    let mut watch = store.watch("/short", 0).await.unwrap();
    let gone = async {
        loop {
            if let WatchItem::Events(events) = watch.next().await.unwrap().unwrap()
                && events.iter().any(|event| event.value.is_none())
            {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), gone).await.unwrap();
    assert!(store.get("/short").await.unwrap().0.is_none());
    assert!(store.get("/long").await.unwrap().0.is_some());
    assert_eq!(store.stats().await.unwrap().expiring, 1);
}

#[tokio::test]
async fn closing_ends_watches_and_refuses_writes() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(EmbeddedOptions::new(dir.path())).unwrap();
    let mut watch = store.watch("/", 0).await.unwrap();
    store.close().await.unwrap();
    store.close().await.unwrap();
    let ended = async {
        loop {
            match watch.next().await {
                Some(Ok(_)) => {}
                end => return end,
            }
        }
    };
    assert!(matches!(ended.await, Some(Err(StoreError::Unavailable(_)))));
    assert!(watch.next().await.is_none());
    let refused = store.write(write("/a", Some("x".into()), Durability::Synced)).await;
    assert!(matches!(refused, Err(StoreError::Unavailable(_))), "{refused:?}");
}

#[tokio::test]
async fn an_orderly_end_counts_only_until_the_next_start() {
    let scratch = tempfile::tempdir().unwrap();
    let (live, crashed) = (scratch.path().join("live"), scratch.path().join("crashed"));
    let store = open(EmbeddedOptions::new(&live)).unwrap();
    store.write(write("/a", Some("1".into()), Durability::Synced)).await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let store = open(EmbeddedOptions::new(&live)).unwrap();
    assert_eq!(store.revision().await.unwrap(), 2);
    // A power failure takes everything that nobody waited for since.
    copy_dir(&live, &crashed);
    let given = store.write(write("/a", Some("2".into()), Durability::Relaxed)).await.unwrap();
    let store = open(EmbeddedOptions::new(&crashed)).unwrap();
    assert!(store.revision().await.unwrap() > given.revision);
}

#[tokio::test]
async fn a_restored_store_goes_on_above_its_backup() {
    let scratch = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let mut options = EmbeddedOptions::new(scratch.path().join("db"));
        options.revision_min = 1_000_000;
        let store = open(options).unwrap();
        let expected = 1_000_002 + round;
        let written = store.write(write("/a", Some("1".into()), Durability::Synced)).await.unwrap();
        assert_eq!(written.revision, expected, "the second time it is above already");
        let before = store.range(Range { at: Some(999_999), ..Range::default() }).await;
        assert!(matches!(before, Err(StoreError::Compacted { .. })), "{before:?}");
        store.close().await.unwrap();
    }
}

#[tokio::test]
async fn only_synced_writes_wait_for_the_disk() {
    async fn fsyncs_of(sync_all: bool, durability: Durability) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let mut options = EmbeddedOptions::new(dir.path());
        options.sync_all = sync_all;
        let store = open(options).unwrap();
        // The first write promises revisions to the disk.
        store.write(write("/a", Some("0".into()), Durability::Synced)).await.unwrap();
        let before = store.stats().await.unwrap().fsyncs;
        for n in 0..20 {
            store.write(write("/a", Some(value("/a", n, 50)), durability)).await.unwrap();
        }
        store.stats().await.unwrap().fsyncs - before
    }
    assert_eq!(fsyncs_of(false, Durability::Synced).await, 20);
    assert_eq!(fsyncs_of(true, Durability::Relaxed).await, 20);
    // What nobody waits for is synced once a second.
    assert!(fsyncs_of(false, Durability::Relaxed).await <= 5);
}
