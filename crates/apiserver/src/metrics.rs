//! What is counted of requests, under upstream's names.
//!
//! Invariant: counting a request takes no lock that others wait for and no allocation: a series is
//! found by borrowed labels under a read lock, and counts atomically.

mod admission;
mod key;
mod render;
mod requests;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use auth::UserInfo;
use base::metrics::{Counter, Gauge, Histogram};
use http::HeaderMap;
use parking_lot::RwLock;

use crate::request::{Query, RequestInfo};
use crate::server::Core;

pub(crate) use admission::AdmissionMetrics;
use key::{AsKey, Key, KeyRef};
pub(crate) use requests::{Lasting, RequestSeries, SECONDS};

/// Series beyond these are not made, so that odd requests cannot fill the memory.
const SERIES_MAX: usize = 4096;
/// Upstream's buckets of authentication and authorization times.
const CHECK_SECONDS: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096,
    8.192, 16.384,
];
const EVENT_BYTES: &[f64] = &[1024.0, 2048.0, 4096.0, 8192.0, 16384.0, 32768.0, 65536.0, 131_072.0];

/// What is counted of the events that watchers of a resource get.
#[derive(Debug)]
pub(crate) struct WatchSeries {
    events: Counter,
    sizes: Histogram,
}

impl WatchSeries {
    /// Counts a sent event.
    pub(crate) fn sent(&self, bytes: usize) {
        self.events.inc();
        self.sizes.observe(bytes as f64);
    }
}

/// What became of a check, and how long it took.
#[derive(Debug)]
struct Checks {
    passed: Counter,
    failed: Counter,
    passed_times: Histogram,
    failed_times: Histogram,
}

impl Default for Checks {
    fn default() -> Self {
        Self {
            passed: Counter::new(),
            failed: Counter::new(),
            passed_times: Histogram::new(CHECK_SECONDS),
            failed_times: Histogram::new(CHECK_SECONDS),
        }
    }
}

impl Checks {
    fn note(&self, passed: bool, took: Duration) {
        let (count, times) = if passed {
            (&self.passed, &self.passed_times)
        } else {
            (&self.failed, &self.failed_times)
        };
        count.inc();
        times.observe_duration(took);
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    requests: RwLock<HashMap<Key, Arc<RequestSeries>>>,
    watches: RwLock<HashMap<[String; 3], Arc<WatchSeries>>>,
    in_flight: [Gauge; 2],
    authentication: Checks,
    authorization: Checks,
    /// Requests of the system's own callers, and of everybody else.
    users: [Counter; 2],
    pub(crate) admission: AdmissionMetrics,
    pub(crate) health: crate::health::Outcomes,
}

impl Metrics {
    /// Counts a request while the guard lives.
    pub(crate) fn begin(&self, is_read_only: bool) -> InFlightGuard<'_> {
        let gauge = &self.in_flight[usize::from(!is_read_only)];
        gauge.add(1);
        InFlightGuard(gauge)
    }

    /// A caller was asked for who it is.
    pub(crate) fn authenticated(&self, caller: Option<&UserInfo>, took: Duration) {
        self.authentication.note(caller.is_some(), took);
        if let Some(caller) = caller {
            let is_own = caller.username.starts_with("system:");
            self.users[usize::from(!is_own)].inc();
        }
    }

    /// A caller was asked for whether it may.
    pub(crate) fn authorized(&self, allowed: bool, took: Duration) {
        self.authorization.note(allowed, took);
    }

    /// The series of a resource's watchers.
    pub(crate) fn watch_series(
        &self,
        group: &str,
        version: &str,
        resource: &str,
    ) -> Arc<WatchSeries> {
        let key = [group, version, resource].map(str::to_owned);
        if let Some(series) = self.watches.read().get(&key) {
            return series.clone();
        }
        let new =
            || Arc::new(WatchSeries { events: Counter::new(), sizes: Histogram::new(EVENT_BYTES) });
        self.watches.write().entry(key).or_insert_with(new).clone()
    }

    fn request_series(&self, key: &KeyRef<'_>) -> Option<Arc<RequestSeries>> {
        if let Some(series) = self.requests.read().get(key as &dyn AsKey) {
            return Some(series.clone());
        }
        let mut all = self.requests.write();
        if all.len() >= SERIES_MAX {
            return None;
        }
        Some(all.entry(key.owned()).or_default().clone())
    }
}

impl Core {
    /// The series that a request is counted in; none for what is not served.
    pub(crate) fn series_of(
        &self,
        info: &RequestInfo,
        headers: &HeaderMap,
        query: &Query<'_>,
    ) -> Option<Arc<RequestSeries>> {
        if info.is_resource {
            let snapshot = self.registry.snapshot();
            snapshot.find(&info.group, &info.version, &info.resource)?;
        }
        let dry_run = query.all("dryRun").any(|value| value == "All");
        self.metrics.request_series(&KeyRef::of(info, headers, dry_run))
    }
}

/// A request in flight.
pub(crate) struct InFlightGuard<'a>(&'a Gauge);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.add(-1);
    }
}
