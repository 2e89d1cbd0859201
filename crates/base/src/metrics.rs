//! Counters and histograms for hot paths, and the text that Prometheus reads.
//!
//! Invariant: counting is an atomic addition, without a lock and without an allocation; names,
//! labels and text come into being only when somebody asks for them.

use std::fmt::{Display, Write};
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// A counter at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    /// One more.
    pub fn inc(&self) {
        self.add(1);
    }

    /// Some more.
    pub fn add(&self, by: u64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub struct Gauge(AtomicI64);

impl Gauge {
    /// A gauge at zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(AtomicI64::new(0))
    }

    /// Adds to it; a negative number takes away.
    pub fn add(&self, by: i64) {
        self.0.fetch_add(by, Relaxed);
    }

    /// Sets it.
    pub fn set(&self, to: i64) {
        self.0.store(to, Relaxed);
    }

    /// The number.
    #[must_use]
    pub fn get(&self) -> i64 {
        self.0.load(Relaxed)
    }
}

/// How often values fell into ranges.
#[derive(Debug)]
pub struct Histogram {
    limits: &'static [f64],
    /// How many fell into each range alone, the last being that above all limits.
    counts: Box<[AtomicU64]>,
    /// The sum's bits.
    sum: AtomicU64,
}

impl Histogram {
    /// An empty histogram with these upper limits, in rising order.
    #[must_use]
    pub fn new(limits: &'static [f64]) -> Self {
        let counts = (0..=limits.len()).map(|_| AtomicU64::new(0)).collect();
        Self { limits, counts, sum: AtomicU64::new(0) }
    }

    /// Takes in a value.
    pub fn observe(&self, value: f64) {
        let at = self.limits.partition_point(|limit| *limit < value);
        self.counts[at].fetch_add(1, Relaxed);
        // The closure always gives a number, so this cannot fail.
        let _ = self
            .sum
            .fetch_update(Relaxed, Relaxed, |bits| Some((f64::from_bits(bits) + value).to_bits()));
    }

    /// Takes in a time.
    pub fn observe_duration(&self, took: std::time::Duration) {
        self.observe(took.as_secs_f64());
    }

    /// How many values it has taken in.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.counts.iter().map(|count| count.load(Relaxed)).sum()
    }
}

/// Prometheus' text format, version 0.0.4.
#[derive(Debug, Default)]
pub struct Text(String);

impl Text {
    /// Begins a family: its samples follow.
    pub fn family(&mut self, name: &str, kind: &str, help: &str) {
        // Writing into a string cannot fail, here and below.
        let _ = writeln!(self.0, "# HELP {name} {help}\n# TYPE {name} {kind}");
    }

    /// A sample.
    pub fn sample(&mut self, name: &str, labels: &[(&str, &str)], value: impl Display) {
        self.0.push_str(name);
        self.labels(labels, None);
        let _ = writeln!(self.0, " {value}");
    }

    /// The samples of a histogram.
    pub fn histogram(&mut self, name: &str, labels: &[(&str, &str)], histogram: &Histogram) {
        let mut count = 0;
        for (index, one) in histogram.counts.iter().enumerate() {
            count += one.load(Relaxed);
            let limit = match histogram.limits.get(index) {
                Some(limit) => limit.to_string(),
                None => "+Inf".to_owned(),
            };
            let _ = write!(self.0, "{name}_bucket");
            self.labels(labels, Some(&limit));
            let _ = writeln!(self.0, " {count}");
        }
        let _ = write!(self.0, "{name}_sum");
        self.labels(labels, None);
        let _ = writeln!(self.0, " {}", f64::from_bits(histogram.sum.load(Relaxed)));
        let _ = write!(self.0, "{name}_count");
        self.labels(labels, None);
        let _ = writeln!(self.0, " {count}");
    }

    fn labels(&mut self, labels: &[(&str, &str)], limit: Option<&str>) {
        if labels.is_empty() && limit.is_none() {
            return;
        }
        let limit = limit.map(|limit| ("le", limit));
        let mut before = '{';
        for (name, value) in labels.iter().copied().chain(limit) {
            self.0.push(before);
            before = ',';
            self.0.push_str(name);
            self.0.push_str("=\"");
            for letter in value.chars() {
                match letter {
                    '\\' => self.0.push_str("\\\\"),
                    '"' => self.0.push_str("\\\""),
                    '\n' => self.0.push_str("\\n"),
                    letter => self.0.push(letter),
                }
            }
            self.0.push('"');
        }
        self.0.push('}');
    }

    /// The text.
    #[must_use]
    pub fn finish(self) -> String {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_prometheus_own() {
        let histogram = Histogram::new(&[0.5, 1.0]);
        for value in [0.5, 0.75, 3.0] {
            histogram.observe(value);
        }
        let mut text = Text::default();
        text.family("f_seconds", "histogram", "Times.");
        text.histogram("f_seconds", &[("path", "a\"b\\c\nd")], &histogram);
        text.sample("plain", &[], 7);
        let labels = r#"path="a\"b\\c\nd""#;
        assert_eq!(
            text.finish(),
            format!(
                "# HELP f_seconds Times.\n# TYPE f_seconds histogram\n\
                 f_seconds_bucket{{{labels},le=\"0.5\"}} 1\n\
                 f_seconds_bucket{{{labels},le=\"1\"}} 2\n\
                 f_seconds_bucket{{{labels},le=\"+Inf\"}} 3\n\
                 f_seconds_sum{{{labels}}} 4.25\n\
                 f_seconds_count{{{labels}}} 3\nplain 7\n"
            )
        );
        assert_eq!(histogram.count(), 3);
    }
}
