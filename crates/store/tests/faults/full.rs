//! A full disk: a small tmpfs in a mount namespace of the test's own.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use nix::mount::{MsFlags, mount};
use nix::sched::{CloneFlags, unshare};
use store::embedded::{EmbeddedOptions, EmbeddedStore, open};
use store::{Durability, Store, StoreError};

use super::{check_value, everything, value, write};

const MIB: usize = 1 << 20;

/// Runs a test with a tmpfs of its own that nobody else sees; it goes with the thread.
fn on_small_disk<F: Future<Output = ()>>(mib: usize, test: impl FnOnce(std::path::PathBuf) -> F) {
    let dir = tempfile::tempdir().unwrap();
    unshare(CloneFlags::CLONE_NEWNS).expect("a mount namespace: this test needs root");
    let none: Option<&str> = None;
    mount(none, "/", none, MsFlags::MS_REC | MsFlags::MS_PRIVATE, none).unwrap();
    let size = format!("size={mib}m");
    mount(Some("ferry-test"), dir.path(), Some("tmpfs"), MsFlags::empty(), Some(&*size)).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(test(dir.path().to_owned()));
    drop(runtime);
    nix::mount::umount(dir.path()).unwrap();
}

fn options(dir: &Path) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(dir.join("db"));
    options.segment_bytes = MIB as u64;
    options
}

async fn put(store: &EmbeddedStore, n: u64) -> Result<(), StoreError> {
    let key = format!("/k/{n:05}");
    let put = write(&key, Some(value(&key, n, 8_000)), Durability::Synced);
    store.write(put).await.map(|_| ())
}

async fn delete(store: &EmbeddedStore, n: u64) {
    store.write(write(&format!("/k/{n:05}"), None, Durability::Synced)).await.unwrap();
}

/// Puts until the disk is full; the number of the first that was refused.
async fn fill(store: &EmbeddedStore, from: u64) -> u64 {
    for n in from..from + 100_000 {
        match put(store, n).await {
            Ok(()) => {}
            Err(StoreError::Full) => return n,
            Err(error) => panic!("{error}"),
        }
    }
    panic!("the disk never filled up");
}

async fn put_within_10_s(store: &EmbeddedStore, n: u64) {
    let mut tries = tokio::time::interval(Duration::from_millis(50));
    for _ in 0..200 {
        tries.tick().await;
        match put(store, n).await {
            Ok(()) => return,
            Err(StoreError::Full) => {}
            Err(error) => panic!("{error}"),
        }
    }
    panic!("still full");
}

async fn check(store: &Arc<EmbeddedStore>, expected: impl Iterator<Item = u64>) {
    let state = everything(&**store).await;
    let found: Vec<_> = state.values().map(check_value).collect();
    assert_eq!(found, expected.collect::<Vec<_>>());
}

#[test]
fn root_a_full_disk_takes_deletes_and_recovers() {
    on_small_disk(24, |dir| async move {
        let store = open(options(&dir)).unwrap();
        let first_refused = fill(&store, 0).await;
        assert!(first_refused > 2_000, "only {first_refused} fit");
        assert!(store.stats().await.unwrap().full);
        // Nothing is lost, reads go on, deletes go through: more than the reserve could hold if
        // nothing were cleaned.
        check(&store, 0..first_refused).await;
        let refused = put(&store, first_refused).await;
        assert!(matches!(refused, Err(StoreError::Full)), "{refused:?}");
        for n in 0..first_refused / 2 {
            delete(&store, n).await;
        }
        check(&store, first_refused / 2..first_refused).await;
        // The room comes back without a restart.
        put_within_10_s(&store, first_refused).await;
        assert!(!store.stats().await.unwrap().full);
        // And again, to the brim, several times over.
        let mut end = first_refused + 1;
        let mut start = first_refused / 2;
        for _ in 0..3 {
            end = fill(&store, end).await;
            for n in start..start + 1_000 {
                delete(&store, n).await;
            }
            start += 1_000;
            put_within_10_s(&store, end).await;
            end += 1;
            check(&store, start..end).await;
        }
        drop(store);
        let store = open(options(&dir)).unwrap();
        check(&store, start..end).await;
    });
}

#[test]
fn root_a_disk_that_others_fill() {
    on_small_disk(24, |dir| async move {
        let store = open(options(&dir)).unwrap();
        put(&store, 0).await.unwrap();
        // Give the store its reserve, then take all the rest.
        let hog = dir.join("hog");
        let chunk = vec![0; MIB / 4];
        let mut taken = Vec::new();
        loop {
            taken.extend_from_slice(&chunk);
            if std::fs::write(&hog, &taken).is_err() {
                break;
            }
        }
        let first_refused = fill(&store, 1).await;
        assert!(first_refused < 300, "{first_refused} went into one segment");
        delete(&store, 0).await;
        // A restart while it is full changes nothing.
        drop(store);
        let store = open(options(&dir)).unwrap();
        check(&store, 1..first_refused).await;
        delete(&store, 1).await;
        let refused = fill(&store, first_refused).await;
        std::fs::remove_file(&hog).unwrap();
        put_within_10_s(&store, refused).await;
        check(&store, 2..refused + 1).await;
        for n in refused + 1..refused + 500 {
            put(&store, n).await.unwrap();
        }
    });
}

#[test]
fn root_no_room_to_begin_and_no_leave_to_write() {
    on_small_disk(2, |dir| async move {
        std::fs::write(dir.join("hog"), vec![0; 4 * MIB]).unwrap_err();
        let error = open(options(&dir)).unwrap_err();
        assert!(matches!(error, StoreError::Full), "{error:?}");
        std::fs::remove_file(dir.join("hog")).unwrap();
        drop(open(options(&dir)).unwrap());
        let none: Option<&str> = None;
        let flags = MsFlags::MS_REMOUNT | MsFlags::MS_RDONLY;
        mount(none, &dir, none, flags, none).unwrap();
        let error = open(options(&dir)).unwrap_err().to_string();
        assert!(error.contains("cannot write to the data directory"), "{error}");
        assert!(error.contains("Read-only file system"), "{error}");
    });
}
