//! The conformance suite on each engine.

use std::time::Duration;

use store::embedded::{EmbeddedOptions, Tuning};
use store::suite::{self, Subject};

/// `STORE_SEED` replays a run.
fn seed() -> u64 {
    let given = std::env::var("STORE_SEED").ok().and_then(|seed| seed.parse().ok());
    given.unwrap_or_else(rand::random)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory_passes_the_suite() {
    let store = store::memory();
    let ttl_grain = Duration::from_millis(30);
    suite::run(&Subject { store, ttl_grain, model_writes: 8_000 }, seed()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_passes_the_suite() {
    let dir = tempfile::tempdir().unwrap();
    let store = store::embedded::open(EmbeddedOptions::new(dir.path())).unwrap();
    let ttl_grain = Duration::from_millis(30);
    suite::run(&Subject { store, ttl_grain, model_writes: 4_000 }, seed()).await;
}

/// Small segments, so that the log is cleaned all the time, and little patience with watchers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded_passes_the_suite_while_it_cleans() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = EmbeddedOptions::new(dir.path());
    options.segment_bytes = 64 << 10;
    options.tuning = Tuning { watch_buffer: 1_500, ..Tuning::default() };
    let store = store::embedded::open(options).unwrap();
    let ttl_grain = Duration::from_millis(30);
    let subject = Subject { store, ttl_grain, model_writes: 1_200 };
    for seed in [seed(), seed()] {
        suite::run(&subject, seed).await;
    }
    let stats = subject.store.stats().await.unwrap();
    assert!(stats.disk_written_bytes > 16 << 20, "{stats:?}");
    assert!(stats.disk_bytes < 8 << 20, "nothing was cleaned: {stats:?}");
}
