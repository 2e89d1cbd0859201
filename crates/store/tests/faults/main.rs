//! What a store survives: kill -9, torn and flipped bytes, a full disk, a second process.
#![expect(clippy::unwrap_used, reason = "a test")]

mod damage;
mod full;
mod kill;
mod opening;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use store::{Durability, Expect, KeyValue, Range, Revision, Store, Write};

/// `STORE_SEED` replays a run.
fn seed() -> u64 {
    let given = std::env::var("STORE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("seed {seed}");
    seed
}

/// A value that says what it is, so that a wrong or half one is noticed.
fn value(key: &str, n: u64, len: usize) -> Bytes {
    let head = format!("{key} {n} ");
    let pad = len.saturating_sub(head.len());
    let byte = b'a' + (n % 26) as u8;
    [head.as_bytes(), &vec![byte; pad]].concat().into()
}

/// Panics unless the value is one that was written to this key; gives its number.
fn check_value(kv: &KeyValue) -> u64 {
    let text = std::str::from_utf8(&kv.value).unwrap();
    let mut words = text.splitn(3, ' ');
    assert_eq!(words.next(), Some(&*kv.key), "another key's value");
    let n: u64 = words.next().unwrap().parse().unwrap();
    let byte = char::from(b'a' + (n % 26) as u8);
    assert!(words.next().unwrap().chars().all(|c| c == byte), "half of {n} at {}", kv.key);
    n
}

fn write(key: &str, value: Option<Bytes>, durability: Durability) -> Write {
    Write { key: key.into(), value, expect: Expect::Anything, durability, ttl: None }
}

async fn everything(store: &dyn Store) -> BTreeMap<String, KeyValue> {
    let page = store.range(Range::default()).await.unwrap();
    page.items.into_iter().map(|kv| (kv.key.to_string(), kv)).collect()
}

/// Copies a data directory as a killed process would leave it.
fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        // A file may go while the store cleans; a copy of a living store is taken when it rests.
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

/// The keys with the revisions of their last changes.
type Fingerprint = Vec<(String, Revision)>;

fn fingerprint(state: &BTreeMap<String, KeyValue>) -> Fingerprint {
    state.iter().map(|(key, kv)| (key.clone(), kv.mod_revision)).collect()
}
