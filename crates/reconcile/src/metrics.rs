//! Counters of queues and reconcilers, under upstream's names, as Prometheus text.
//!
//! Counters are process-wide by name, as upstream's are: two queues of one name count together.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

static QUEUES: Mutex<BTreeMap<&'static str, Arc<QueueMetrics>>> = Mutex::new(BTreeMap::new());

/// The counters of one queue and its reconciler.
#[derive(Debug, Default)]
pub struct QueueMetrics {
    depth: AtomicU64,
    adds: AtomicU64,
    retries: AtomicU64,
    reconciles: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
    busy_micros: AtomicU64,
}

impl QueueMetrics {
    pub(crate) fn added(&self) {
        self.adds.fetch_add(1, Relaxed);
    }

    pub(crate) fn retried(&self) {
        self.retries.fetch_add(1, Relaxed);
    }

    pub(crate) fn depth(&self, depth: usize) {
        self.depth.store(u64::try_from(depth).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn reconciled(&self, took: std::time::Duration, failed: bool) {
        self.reconciles.fetch_add(1, Relaxed);
        self.errors.fetch_add(u64::from(failed), Relaxed);
        self.busy_micros.fetch_add(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), Relaxed);
    }

    pub(crate) fn panicked(&self) {
        self.panics.fetch_add(1, Relaxed);
    }

    /// How many reconciles have ended, well or not.
    #[must_use]
    pub fn reconciles(&self) -> u64 {
        self.reconciles.load(Relaxed)
    }

    /// How many reconciles have failed.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.errors.load(Relaxed)
    }

    /// How many reconciles have panicked.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.panics.load(Relaxed)
    }
}

/// The counters under a name.
#[must_use]
pub fn queue(name: &'static str) -> Arc<QueueMetrics> {
    QUEUES.lock().entry(name).or_default().clone()
}

/// All counters as Prometheus text.
#[must_use]
pub fn render() -> String {
    type Read = fn(&QueueMetrics) -> u64;
    let families: [(&str, &str, &str, Read); 6] = [
        ("workqueue_depth", "gauge", "name", |m| m.depth.load(Relaxed)),
        ("workqueue_adds_total", "counter", "name", |m| m.adds.load(Relaxed)),
        ("workqueue_retries_total", "counter", "name", |m| m.retries.load(Relaxed)),
        ("controller_runtime_reconcile_total", "counter", "controller", QueueMetrics::reconciles),
        (
            "controller_runtime_reconcile_errors_total",
            "counter",
            "controller",
            QueueMetrics::errors,
        ),
        (
            "controller_runtime_reconcile_panics_total",
            "counter",
            "controller",
            QueueMetrics::panics,
        ),
    ];
    let queues = QUEUES.lock();
    let mut text = String::new();
    // Writing to a string cannot fail.
    for (family, kind, label, read) in families {
        let _ok = writeln!(text, "# TYPE {family} {kind}");
        for (name, metrics) in &*queues {
            let _ok = writeln!(text, "{family}{{{label}=\"{name}\"}} {}", read(metrics));
        }
    }
    let _ok = writeln!(text, "# TYPE workqueue_work_duration_seconds_sum counter");
    for (name, metrics) in &*queues {
        let micros = metrics.busy_micros.load(Relaxed);
        let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
        let _ok = writeln!(
            text,
            "workqueue_work_duration_seconds_sum{{name=\"{name}\"}} {seconds}.{rest:06}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_render_as_prometheus_text() {
        let metrics = queue("render-test");
        metrics.reconciled(std::time::Duration::from_millis(1500), true);
        let text = render();
        assert!(
            text.contains(
                "controller_runtime_reconcile_errors_total{controller=\"render-test\"} 1\n"
            )
        );
        assert!(
            text.contains("workqueue_work_duration_seconds_sum{name=\"render-test\"} 1.500000\n")
        );
    }
}
