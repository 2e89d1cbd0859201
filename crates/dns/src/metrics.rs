//! Counters in Prometheus' text form, under CoreDNS' names.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use parking_lot::Mutex;

/// Upper bounds in seconds, doubling, as CoreDNS has them.
const BUCKETS: usize = 16;
const FIRST_BUCKET: f64 = 0.00025;

/// What was counted.
#[derive(Debug)]
pub(crate) struct Metrics {
    zone: String,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// By zone, protocol and type.
    requests: BTreeMap<(String, &'static str, String), u64>,
    /// By zone and response code.
    responses: BTreeMap<(String, String), u64>,
    buckets: [u64; BUCKETS],
    count: u64,
    seconds: f64,
}

impl Metrics {
    pub(crate) fn new(zone: String) -> Self {
        Self { zone, counts: Mutex::default() }
    }

    /// Counts one answered request. `ours` is whether it was about the cluster.
    pub(crate) fn answered(
        &self,
        ours: bool,
        protocol: &'static str,
        kind: String,
        code: String,
        took: Duration,
    ) {
        let zone = if ours { self.zone.clone() } else { ".".to_owned() };
        let seconds = took.as_secs_f64();
        let mut counts = self.counts.lock();
        *counts.requests.entry((zone.clone(), protocol, kind)).or_default() += 1;
        *counts.responses.entry((zone, code)).or_default() += 1;
        counts.count += 1;
        counts.seconds += seconds;
        for (n, bound) in bounds().enumerate() {
            counts.buckets[n] += u64::from(seconds <= bound);
        }
    }

    /// Everything, as Prometheus reads it.
    pub(crate) fn text(&self) -> String {
        let counts = self.counts.lock();
        let mut text = String::new();
        text.push_str("# TYPE coredns_dns_requests_total counter\n");
        for ((zone, protocol, kind), count) in &counts.requests {
            line(
                &mut text,
                "coredns_dns_requests_total",
                &[("zone", zone), ("proto", protocol), ("type", kind)],
                count,
            );
        }
        text.push_str("# TYPE coredns_dns_responses_total counter\n");
        for ((zone, code), count) in &counts.responses {
            line(
                &mut text,
                "coredns_dns_responses_total",
                &[("zone", zone), ("rcode", code)],
                count,
            );
        }
        text.push_str("# TYPE coredns_dns_request_duration_seconds histogram\n");
        let bucket = "coredns_dns_request_duration_seconds_bucket";
        for (bound, count) in bounds().zip(&counts.buckets) {
            line(&mut text, bucket, &[("le", &bound.to_string())], count);
        }
        line(&mut text, bucket, &[("le", "+Inf")], &counts.count);
        line(&mut text, "coredns_dns_request_duration_seconds_sum", &[], &counts.seconds);
        line(&mut text, "coredns_dns_request_duration_seconds_count", &[], &counts.count);
        text.push_str("# TYPE coredns_panics_total counter\n");
        line(&mut text, "coredns_panics_total", &[], &base::task::panics_total());
        text
    }
}

fn bounds() -> impl Iterator<Item = f64> {
    std::iter::successors(Some(FIRST_BUCKET), |bound| Some(bound * 2.0)).take(BUCKETS)
}

fn line(text: &mut String, name: &str, labels: &[(&str, &str)], value: &dyn std::fmt::Display) {
    let labels: Vec<String> =
        labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
    let labels =
        if labels.is_empty() { String::new() } else { format!("{{{}}}", labels.join(",")) };
    // Writing to a string cannot fail.
    let _infallible = writeln!(text, "{name}{labels} {value}");
}
