//! Where log lines go: to stderr, and the last of each part's into memory, where `kubectl logs`
//! finds them as those of the part's mirror pod.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use base::clock::{SharedClock, Timestamp};
use parking_lot::Mutex;
use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer};

/// How many lines of a part are kept.
const LINES_MAX: usize = 1000;

/// Which crate's lines belong to which part.
const PARTS: &[(&str, &str)] = &[
    ("apiserver", "kube-apiserver"),
    ("store", "kube-apiserver"),
    ("resources", "kube-apiserver"),
    ("admission", "kube-apiserver"),
    ("controllers", "kube-controller-manager"),
    ("reconcile", "kube-controller-manager"),
    ("scheduler", "kube-scheduler"),
    ("proxy", "kube-proxy"),
];

/// The lines of all parts.
#[derive(Debug, Clone)]
pub(crate) struct Rings {
    clock: SharedClock,
    rings: Arc<BTreeMap<&'static str, Ring>>,
}

/// A line: when, and what.
pub(crate) type Line = (Timestamp, String);

#[derive(Debug, Default)]
struct Ring {
    lines: Mutex<VecDeque<Line>>,
    written: watch::Sender<u64>,
}

impl Rings {
    fn new(clock: SharedClock) -> Self {
        let rings = PARTS.iter().map(|(_, part)| (*part, Ring::default())).collect();
        Self { clock, rings: Arc::new(rings) }
    }

    /// The lines of a part that came after the first `after` ones of its life, and how many there
    /// have been by now.
    pub(crate) fn since(&self, part: &str, after: u64) -> (Vec<Line>, u64) {
        let Some(ring) = self.rings.get(part) else { return (Vec::new(), 0) };
        let lines = ring.lines.lock();
        let written = *ring.written.borrow();
        let kept = u64::try_from(lines.len()).unwrap_or(u64::MAX);
        let skip = after.saturating_sub(written - kept.min(written));
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        (lines.iter().skip(skip).cloned().collect(), written)
    }

    /// Tells when a part has written more.
    pub(crate) fn follow(&self, part: &str) -> Option<watch::Receiver<u64>> {
        self.rings.get(part).map(|ring| ring.written.subscribe())
    }

    fn write(&self, part: &str, line: String) {
        let Some(ring) = self.rings.get(part) else { return };
        let mut lines = ring.lines.lock();
        if lines.len() == LINES_MAX {
            lines.pop_front();
        }
        lines.push_back((self.clock.now(), line));
        ring.written.send_modify(|written| *written += 1);
    }
}

/// Starts logging by `RUST_LOG`, or by how much `-v` asks for. Returns the parts' lines.
pub(crate) fn start(verbosity: u8, clock: SharedClock) -> Rings {
    let default = match verbosity {
        0 => "warn,ferry=info",
        1 => "info",
        2..=4 => "debug,hyper=info,h2=info,rustls=info,tower=info",
        _ => "trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let rings = Rings::new(clock);
    let stderr = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        .with_target(true)
        .with_filter(filter);
    let kept = rings.clone().with_filter(tracing_subscriber::filter::LevelFilter::INFO);
    // Only fails when logging runs already, which leaves it as it is.
    let _ = tracing_subscriber::registry().with(stderr).with(kept).try_init();
    rings
}

impl<S: Subscriber> Layer<S> for Rings {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let meta = event.metadata();
        let crate_name = meta.target().split("::").next().unwrap_or_default();
        let Some((_, part)) = PARTS.iter().find(|(own, _)| *own == crate_name) else { return };
        let mut line = Words(format!("{} {}:", meta.level(), meta.target()));
        event.record(&mut line);
        self.write(part, line.0);
    }
}

struct Words(String);

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        // Writing into a string cannot fail.
        let _ = match field.name() {
            "message" => write!(self.0, " {value:?}"),
            name => write!(self.0, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_followed_by_number() {
        let rings = Rings::new(base::clock::system());
        for number in 0..LINES_MAX + 5 {
            rings.write("kube-scheduler", number.to_string());
        }
        let (lines, written) = rings.since("kube-scheduler", 0);
        assert_eq!((lines.len(), written), (LINES_MAX, 1005));
        assert_eq!(lines[0].1, "5");
        rings.write("kube-scheduler", "new".into());
        let (lines, _) = rings.since("kube-scheduler", written);
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].1, "new");
    }
}
