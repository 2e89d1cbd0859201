//! Measures the embedded store: `cargo run -p store --release --example store_bench [DIR [OBJECTS]]`.
//!
//! Writes 2.4 KB values with fsync at 1, 16 and 64 writers, reads, ranges, fans out to watchers and
//! restarts. CPU is the whole process's, user and system. The directory should be on the disk that
//! is meant, not on a tmpfs; it must not exist and is removed at the end.
#![expect(clippy::unwrap_used, reason = "a measurement: it ends with the first surprise")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;
use store::embedded::{EmbeddedOptions, EmbeddedStore, open};
use store::{Durability, Expect, Range, Stats, Store, WatchItem, Write};

const VALUE_LEN: usize = 2_400;

fn main() {
    let mut args = std::env::args().skip(1);
    let dir = args.next().map_or_else(|| PathBuf::from("target/store-bench"), PathBuf::from);
    let objects = args.next().map_or(20_000, |count| count.parse().unwrap());
    assert!(!dir.exists(), "{} exists", dir.display());
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&dir, objects));
    drop(runtime);
    std::fs::remove_dir_all(&dir).unwrap();
}

async fn run(dir: &Path, objects: usize) {
    println!("store: {VALUE_LEN} byte values, {objects} objects, in {}", dir.display());
    let store = open(EmbeddedOptions::new(dir)).unwrap();
    let before = memory_bytes();
    let per_object = fill(&store, objects).await.saturating_sub(before) / objects as u64;
    println!("{:<34} {per_object} bytes ({VALUE_LEN} of them the value)", "memory for one object");
    for writers in [1, 16, 64] {
        let count = if writers == 1 { 1_000 } else { 10_000 };
        let name = format!("update, fsync, {writers} writers");
        write_all(&store, &name, writers, count, objects, Durability::Synced).await;
    }
    write_all(&store, "update, relaxed, 16 writers", 16, 20_000, objects, Durability::Relaxed)
        .await;
    read_all(&store, objects).await;
    fan_out(&store).await;
    reopen(store, dir).await;
}

fn key(n: usize) -> Arc<str> {
    format!("/registry/pods/namespace-{}/web-7d4b9c8f6d-{n:06}", n % 20).into()
}

fn write(n: usize, durability: Durability) -> Write {
    let value = Bytes::from(vec![b'a' + (n % 26) as u8; VALUE_LEN]);
    Write { key: key(n), value: Some(value), expect: Expect::Anything, durability, ttl: None }
}

async fn fill(store: &Arc<EmbeddedStore>, objects: usize) -> u64 {
    write_all(store, "create, fsync, 64 writers", 64, objects, objects, Durability::Synced).await;
    memory_bytes()
}

/// What was used since a meter was started.
struct Meter {
    name: String,
    at: Instant,
    cpu: Duration,
}

impl Meter {
    fn start(name: &str) -> Self {
        Self { name: name.to_owned(), at: Instant::now(), cpu: cpu() }
    }

    fn stop(self, count: usize, note: &str) {
        let (elapsed, cpu) = (self.at.elapsed(), cpu() - self.cpu);
        let rate = count as f64 / elapsed.as_secs_f64();
        let cost = cpu.as_secs_f64() * 1e6 / count as f64;
        println!("{:<34} {rate:>10.0}/s {cost:>9.2} µs CPU each{note}", self.name);
    }
}

fn cpu() -> Duration {
    let usage = getrusage(UsageWho::RUSAGE_SELF).unwrap();
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Duration::from_micros(u64::try_from(micros).unwrap())
}

fn memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024
}

async fn write_all(
    store: &Arc<EmbeddedStore>,
    name: &str,
    writers: usize,
    count: usize,
    objects: usize,
    durability: Durability,
) {
    let before = store.stats().await.unwrap();
    let meter = Meter::start(name);
    let tasks = (0..writers).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for n in (writer..count).step_by(writers) {
                store.write(write(n % objects, durability)).await.unwrap();
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let after = store.stats().await.unwrap();
    meter.stop(count, &disk_note(&before, &after, count));
}

fn disk_note(before: &Stats, after: &Stats, count: usize) -> String {
    let fsyncs = after.fsyncs - before.fsyncs;
    let written = after.disk_written_bytes - before.disk_written_bytes;
    let times = written as f64 / (count * VALUE_LEN) as f64;
    format!(", {fsyncs} fsyncs, {times:.2} × written")
}

async fn read_all(store: &Arc<EmbeddedStore>, objects: usize) {
    let meter = Meter::start("get");
    for n in 0..100_000 {
        assert!(store.get(&key(n % objects)).await.unwrap().0.is_some());
    }
    meter.stop(100_000, "");
    let meter = Meter::start("range, one object of it");
    let page = store.range(Range::default()).await.unwrap();
    meter.stop(page.items.len(), "");
    drop(page);
    let meter = Meter::start("pages of 500, one object of them");
    let (mut after, mut count) = (None, 0);
    loop {
        let range = Range { after, limit: Some(500), ..Range::default() };
        let page = store.range(range).await.unwrap();
        count += page.items.len();
        after = page.items.last().map(|kv| kv.key.to_string());
        if page.remaining == 0 {
            break;
        }
    }
    meter.stop(count, "");
}

/// Relaxed writes that a thousand watchers see.
async fn fan_out(store: &Arc<EmbeddedStore>) {
    const EVENTS: usize = 500;
    const WATCHERS: usize = 1_000;
    let mut watchers = Vec::new();
    for _ in 0..WATCHERS {
        let now = store.revision().await.unwrap();
        let mut watch = store.watch("/registry/pods/", now).await.unwrap();
        watchers.push(tokio::spawn(async move {
            let mut seen = 0;
            while seen < EVENTS {
                if let WatchItem::Events(events) = watch.next().await.unwrap().unwrap() {
                    seen += events.len();
                }
            }
        }));
    }
    let meter = Meter::start("event to one of 1,000 watchers");
    for n in 0..EVENTS {
        store.write(write(n, Durability::Relaxed)).await.unwrap();
    }
    for watcher in watchers {
        watcher.await.unwrap();
    }
    meter.stop(EVENTS * WATCHERS, "");
}

async fn reopen(store: Arc<EmbeddedStore>, dir: &Path) {
    let stats = store.stats().await.unwrap();
    store.close().await.unwrap();
    drop(store);
    let meter = Meter::start("restart, one object of it");
    let started = Instant::now();
    let store = open(EmbeddedOptions::new(dir)).unwrap();
    let elapsed_ms = started.elapsed().as_millis();
    meter.stop(usize::try_from(stats.keys).unwrap(), "");
    println!(
        "{:<34} {elapsed_ms} ms for {} objects, {} MiB of log",
        "restart",
        stats.keys,
        stats.disk_bytes >> 20
    );
    store.close().await.unwrap();
}
