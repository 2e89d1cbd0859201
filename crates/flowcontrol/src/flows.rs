//! What is counted of the requests of one flow schema at one level.

use base::metrics::{Counter, Gauge, Histogram};

/// Upstream's buckets of waiting and execution times.
const SECONDS: &[f64] = &[0.0, 0.005, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0];
const SEATS: &[f64] = &[1.0, 2.0, 4.0, 10.0];

/// The counters.
#[derive(Debug)]
pub(crate) struct FlowStats {
    pub(crate) schema: String,
    pub(crate) level: String,
    pub(crate) dispatched: Counter,
    /// By reason, in [`REASONS`]' order.
    pub(crate) refused: [Counter; REASONS.len()],
    pub(crate) in_queue: Gauge,
    pub(crate) executing: Gauge,
    pub(crate) seats: Gauge,
    /// Of those that ran at last, and of those that did not.
    pub(crate) waited: [Histogram; 2],
    pub(crate) execution: Histogram,
    pub(crate) work_seats: Histogram,
}

/// Why requests are refused.
pub(crate) const REASONS: [&str; 4] = ["concurrency-limit", "queue-full", "time-out", "cancelled"];

impl FlowStats {
    pub(crate) fn new(schema: &str, level: &str) -> Self {
        Self {
            schema: schema.to_owned(),
            level: level.to_owned(),
            dispatched: Counter::new(),
            refused: Default::default(),
            in_queue: Gauge::new(),
            executing: Gauge::new(),
            seats: Gauge::new(),
            waited: [Histogram::new(SECONDS), Histogram::new(SECONDS)],
            execution: Histogram::new(SECONDS),
            work_seats: Histogram::new(SEATS),
        }
    }
}
