//! A writer process is killed with `kill -9` at random points, again and again, on one directory.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::embedded::{EmbeddedOptions, EmbeddedStore};
use store::{Durability, Revision, Store};

use super::{check_value, copy_dir, everything, seed, value, write};

const ROUNDS: usize = 250;
const DIR: &str = "STORE_KILL_DIR";

fn options(dir: &Path) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(dir);
    // Small, so that kills hit new segments and cleaning too.
    options.segment_bytes = 128 << 10;
    options
}

/// Not a test of its own: the process that is killed. Writes until then and says on stdout what
/// was acknowledged.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writer_child() {
    let Ok(dir) = std::env::var(DIR) else { return };
    let seed: u64 = std::env::var("STORE_KILL_SEED").unwrap().parse().unwrap();
    let store = store::embedded::open(options(Path::new(&dir))).unwrap();
    let start = store.revision().await.unwrap();
    say(&format!("open {start}\n"));
    let number = Arc::new(AtomicU64::new(seed << 20));
    let writers = (0..8).map(|writer| {
        let rng = StdRng::seed_from_u64(seed.wrapping_add(writer));
        tokio::spawn(write_until_killed(store.clone(), number.clone(), rng))
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.unwrap();
    }
}

async fn write_until_killed(store: Arc<EmbeddedStore>, number: Arc<AtomicU64>, mut rng: StdRng) {
    loop {
        let n = number.fetch_add(1, Ordering::Relaxed);
        let key = format!("/k/{}", rng.random_range(0..60));
        let len = rng.random_range(10..4_000);
        let durability =
            if rng.random_bool(0.2) { Durability::Relaxed } else { Durability::Synced };
        let put = rng.random_bool(0.85).then(|| value(&key, n, len));
        let is_put = put.is_some();
        let written = store.write(write(&key, put, durability)).await.unwrap();
        if is_put {
            say(&format!("put {} {key} {n}\n", written.revision));
        } else if written.previous.is_some() {
            say(&format!("del {} {key} 0\n", written.revision));
        }
    }
}

/// One line in one piece: what is torn off by the kill is a whole line.
fn say(line: &str) {
    std::io::stdout().lock().write_all(line.as_bytes()).unwrap();
}

/// What was acknowledged of each key last, over all rounds.
#[derive(Default)]
struct Told {
    last: BTreeMap<String, (Revision, Option<u64>)>,
    given: BTreeSet<Revision>,
    highest: Revision,
    opened_at: Revision,
}

impl Told {
    fn line(&mut self, line: &str) {
        let words: Vec<_> = line.split(' ').collect();
        match words[..] {
            // libtest's own word before the child's.
            [_, .., "open", revision] | ["open", revision] => {
                self.opened_at = revision.parse().unwrap();
                assert!(self.opened_at >= self.highest, "{line}: {} was given", self.highest);
            }
            [what @ ("put" | "del"), revision, key, n] => {
                let revision: Revision = revision.parse().unwrap();
                assert!(revision > self.opened_at, "{line}: opened at {}", self.opened_at);
                assert!(self.given.insert(revision), "{line}: given twice");
                self.highest = self.highest.max(revision);
                let n = (what == "put").then(|| n.parse().unwrap());
                let last = self.last.entry(key.to_owned()).or_default();
                if revision > last.0 {
                    *last = (revision, n);
                }
            }
            _ => assert!(!line.contains("panicked"), "{line}"),
        }
    }

    /// Every acknowledged change is there, or a later one of the same key that nobody was told of.
    async fn check(&mut self, store: &dyn Store) {
        let state = everything(store).await;
        let mut cleaned = Vec::new();
        for (key, (revision, n)) in &self.last {
            match (state.get(key), n) {
                (Some(kv), _) if kv.mod_revision > *revision => {
                    check_value(kv);
                }
                (Some(kv), Some(n)) if kv.mod_revision == *revision => {
                    assert_eq!(check_value(kv), *n, "{key} at {revision}");
                }
                (Some(kv), _) => panic!("{key} went back from {revision} to {kv:?}"),
                // Deleted by a writer that was not told.
                (None, Some(_)) if store.stats().await.unwrap().oldest > *revision => {
                    cleaned.push((key.clone(), *revision));
                }
                (None, Some(_)) => check_deleted(store, key, *revision).await,
                (None, None) => {}
            }
        }
        // Deleted by a writer that was not told, with the history cleaned away since: no more than
        // there are writers.
        assert!(cleaned.len() <= 8, "lost: {cleaned:?}");
        for (key, revision) in cleaned {
            self.last.insert(key, (revision, None));
        }
        // What was found is known from now on: nobody else may get these numbers.
        for kv in state.values() {
            check_value(kv);
            self.given.insert(kv.mod_revision);
            self.highest = self.highest.max(kv.mod_revision);
        }
        assert!(store.revision().await.unwrap() >= self.highest);
    }
}

/// History must show the deletion that nobody was told of.
async fn check_deleted(store: &dyn Store, key: &str, revision: Revision) {
    use futures::StreamExt;
    let mut watch = store.watch(key, revision).await.unwrap();
    let mut deleted = false;
    loop {
        match watch.next().await.unwrap().unwrap() {
            store::WatchItem::Progress(_) => break,
            store::WatchItem::Events(events) => {
                let exact = |event: &&Arc<store::Event>| &*event.key == key;
                for event in events.iter().filter(exact) {
                    deleted = event.value.is_none();
                }
            }
        }
    }
    assert!(deleted, "{key}: the put at {revision} is lost");
}

/// One child: killed after a while, its words taken.
async fn run_and_kill(dir: &Path, seed: u64, rng: &mut StdRng, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "kill::writer_child", "--nocapture"])
        .env(DIR, dir)
        .env("STORE_KILL_SEED", seed.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    // Most are killed while they write, some while they open the store.
    let early = rng.random_bool(0.1);
    let delay = Duration::from_micros(rng.random_range(0..if early { 8_000 } else { 40_000 }));
    let reader = tokio::task::spawn_blocking(move || {
        let mut lines = Vec::new();
        let mut line = String::new();
        while !early && !line.contains("open ") {
            line.clear();
            if out.read_line(&mut line).unwrap() == 0 {
                break;
            }
            lines.push(line.trim_end().to_owned());
        }
        (out, lines)
    });
    let (mut out, mut lines) = reader.await.unwrap();
    tokio::time::sleep(delay).await;
    child.kill().unwrap();
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    lines.extend(rest.lines().map(str::to_owned));
    let mut errors = String::new();
    child.stderr.take().unwrap().read_to_string(&mut errors).unwrap();
    assert!(!errors.contains("panicked"), "the child: {errors}");
    child.wait().unwrap();
    lines.iter().for_each(|line| told.line(line));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_by_kill_9() {
    let seed = seed();
    let mut rng = StdRng::seed_from_u64(seed);
    let scratch = tempfile::tempdir().unwrap();
    let dir = scratch.path().join("db");
    let mut told = Told::default();
    for round in 0..ROUNDS {
        run_and_kill(&dir, round as u64 + 1, &mut rng, &mut told).await;
        if !dir.exists() {
            continue;
        }
        // Sometimes the next writer finds what this check leaves, sometimes what the kill left.
        if rng.random_bool(0.3) {
            let store = store::embedded::open(options(&dir)).unwrap();
            told.check(&*store).await;
            told.opened_at = store.revision().await.unwrap();
            told.highest = told.highest.max(told.opened_at);
        } else {
            let copy = scratch.path().join("copy");
            copy_dir(&dir, &copy);
            let store = store::embedded::open(options(&copy)).unwrap();
            told.check(&*store).await;
            drop(store);
            std::fs::remove_dir_all(&copy).unwrap();
        }
    }
    let (acknowledged, revision) = (told.given.len(), told.highest);
    println!("{ROUNDS} kills, {acknowledged} revisions known, the highest {revision}");
    assert!(acknowledged > ROUNDS * 10, "the children hardly wrote");
}
