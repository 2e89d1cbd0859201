//! What is counted of requests, under upstream's names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::request::RequestInfo;

/// Upstream's buckets of `apiserver_request_duration_seconds`.
const BUCKETS: [f64; 14] =
    [0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 2.0, 4.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Key {
    verb: String,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
}

#[derive(Debug, Default)]
struct Series {
    codes: BTreeMap<u16, u64>,
    buckets: [u64; BUCKETS.len()],
    sum: f64,
    count: u64,
}

/// The counters.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    series: Mutex<BTreeMap<Key, Series>>,
    in_flight: [AtomicI64; 2],
    watches: AtomicI64,
}

impl Metrics {
    /// Counts an answered request.
    pub(crate) fn observe(&self, info: &RequestInfo, code: u16, took: Duration) {
        let key = Key {
            verb: info.verb.to_uppercase(),
            group: info.group.clone(),
            version: info.version.clone(),
            resource: info.resource.clone(),
            subresource: if info.is_resource {
                info.subresource.clone()
            } else {
                info.path.clone()
            },
            scope: scope(info),
        };
        let seconds = took.as_secs_f64();
        let mut all = self.series.lock();
        // Unknown paths must not fill the memory.
        if all.len() > 4096 && !all.contains_key(&key) {
            return;
        }
        let series = all.entry(key).or_default();
        *series.codes.entry(code).or_default() += 1;
        // A watch's duration is its life, which upstream does not count here either.
        if info.verb != "watch" {
            for (bucket, limit) in series.buckets.iter_mut().zip(BUCKETS) {
                *bucket += u64::from(seconds <= limit);
            }
            series.sum += seconds;
            series.count += 1;
        }
    }

    /// Counts a request while the guard lives.
    pub(crate) fn begin(&self, is_read_only: bool) -> InFlightGuard<'_> {
        let counter = &self.in_flight[usize::from(!is_read_only)];
        counter.fetch_add(1, Ordering::Relaxed);
        InFlightGuard(counter)
    }

    /// Counts watches.
    pub(crate) fn watch_changed(&self, by: i64) {
        self.watches.fetch_add(by, Ordering::Relaxed);
    }

    /// Everything as Prometheus text.
    pub(crate) fn render(&self) -> String {
        let mut out = String::new();
        let all = self.series.lock();
        out.push_str("# HELP apiserver_request_total Counter of apiserver requests broken out for each verb, dry run value, group, version, resource, scope, component, and HTTP response code.\n# TYPE apiserver_request_total counter\n");
        for (key, series) in all.iter() {
            for (code, count) in &series.codes {
                let labels = key.labels();
                let _ = writeln!(
                    out,
                    "apiserver_request_total{{code=\"{code}\",component=\"apiserver\",dry_run=\"\",{labels}}} {count}"
                );
            }
        }
        out.push_str("# HELP apiserver_request_duration_seconds Response latency distribution in seconds for each verb, dry run value, group, version, resource, subresource, scope and component.\n# TYPE apiserver_request_duration_seconds histogram\n");
        for (key, series) in all.iter().filter(|(_, series)| series.count > 0) {
            series.render(&key.labels(), &mut out);
        }
        out.push_str("# HELP apiserver_current_inflight_requests Maximal number of currently used inflight request limit of this apiserver per request kind in last second.\n# TYPE apiserver_current_inflight_requests gauge\n");
        for (kind, counter) in ["readOnly", "mutating"].iter().zip(&self.in_flight) {
            let count = counter.load(Ordering::Relaxed);
            let _ = writeln!(
                out,
                "apiserver_current_inflight_requests{{request_kind=\"{kind}\"}} {count}"
            );
        }
        let watches = self.watches.load(Ordering::Relaxed);
        let _ = writeln!(
            out,
            "# HELP apiserver_longrunning_requests Gauge of all active long-running apiserver requests.\n# TYPE apiserver_longrunning_requests gauge\napiserver_longrunning_requests{{component=\"apiserver\",verb=\"WATCH\"}} {watches}"
        );
        out
    }
}

impl Key {
    fn labels(&self) -> String {
        format!(
            "group=\"{}\",resource=\"{}\",scope=\"{}\",subresource=\"{}\",verb=\"{}\",version=\"{}\"",
            self.group,
            self.resource,
            self.scope,
            self.subresource.replace(['"', '\\', '\n'], "_"),
            self.verb,
            self.version
        )
    }
}

impl Series {
    fn render(&self, labels: &str, out: &mut String) {
        const NAME: &str = "apiserver_request_duration_seconds";
        let labels = format!("component=\"apiserver\",dry_run=\"\",{labels}");
        for (limit, count) in BUCKETS.iter().zip(&self.buckets) {
            let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"{limit}\"}} {count}");
        }
        let _ = writeln!(out, "{NAME}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{NAME}_sum{{{labels}}} {}", self.sum);
        let _ = writeln!(out, "{NAME}_count{{{labels}}} {}", self.count);
    }
}

fn scope(info: &RequestInfo) -> &'static str {
    match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
        (false, ..) => "",
        (_, false, _) => "resource",
        (_, true, false) => "namespace",
        (_, true, true) => "cluster",
    }
}

/// A request in flight.
pub(crate) struct InFlightGuard<'a>(&'a AtomicI64);

impl Drop for InFlightGuard<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
