//! What is noted of a request while it goes through the server: its steps, for slow ones; what
//! authorization and admission say, for the audit; how long it waited for others.

use std::fmt::Display;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use base::clock::Timestamp;
use http::request::Parts;
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::chain::recorder::Recorder;
use crate::server::Core;

/// Requests that take longer are logged with their steps. (apiserver's trace threshold)
const SLOW: Duration = Duration::from_millis(500);

/// One request's journal.
pub(crate) struct Journal {
    /// `Audit-ID`.
    pub(crate) id: String,
    pub(crate) received: Timestamp,
    pub(crate) started: Instant,
    steps: Mutex<Vec<(&'static str, Instant)>>,
    notes: Mutex<Vec<(String, String)>>,
    warnings: Mutex<Vec<String>>,
    waited_nanos: AtomicU64,
    /// Who tells the audit; nobody when its policy wants nothing.
    pub(crate) recorder: OnceLock<Recorder>,
}

impl Journal {
    /// Begins a request's journal.
    pub(crate) fn begin(core: &Core, parts: &Parts) -> Self {
        let given = parts.headers.get("audit-id").and_then(|value| value.to_str().ok());
        let id = match given {
            Some(id) if !id.is_empty() => id.to_owned(),
            _ => uuid::Builder::from_random_bytes(core.rng.bytes16()).into_uuid().to_string(),
        };
        Self {
            id,
            received: core.clock.now(),
            started: Instant::now(),
            steps: Mutex::new(Vec::with_capacity(8)),
            notes: Mutex::default(),
            warnings: Mutex::default(),
            waited_nanos: AtomicU64::new(0),
            recorder: OnceLock::new(),
        }
    }

    /// A step is done.
    pub(crate) fn step(&self, what: &'static str) {
        self.steps.lock().push((what, Instant::now()));
    }

    /// Something for the audit's annotations. What was noted first stays.
    pub(crate) fn note(&self, key: &str, value: &str) {
        let mut notes = self.notes.lock();
        if notes.iter().all(|(known, _)| known != key) {
            notes.push((key.to_owned(), value.to_owned()));
        }
    }

    /// Warnings for the caller that a success has not carried: a refusal will.
    pub(crate) fn warn(&self, warnings: impl IntoIterator<Item = String>) {
        self.warnings.lock().extend(warnings);
    }

    /// The warnings that go with a refusal.
    pub(crate) fn warnings(&self) -> Vec<String> {
        self.warnings.lock().clone()
    }

    /// The annotations.
    pub(crate) fn notes(&self) -> Vec<(String, String)> {
        self.notes.lock().clone()
    }

    /// The request waited for others for so long, which is no fault of the server's speed.
    pub(crate) fn waited(&self, time: Duration) {
        self.waited_nanos.fetch_add(u64::try_from(time.as_nanos()).unwrap_or(u64::MAX), Relaxed);
    }

    /// How long the request has been worked on.
    pub(crate) fn worked(&self) -> Duration {
        let waited = Duration::from_nanos(self.waited_nanos.load(Relaxed));
        self.started.elapsed().saturating_sub(waited)
    }

    /// Logs the steps of a request that was slow.
    pub(crate) fn log_when_slow(&self, what: &dyn Display, agent: &str, code: u16) {
        let total = self.started.elapsed();
        if total < SLOW {
            return;
        }
        let mut before = self.started;
        let mut steps = String::new();
        for (what, at) in self.steps.lock().iter() {
            let separator = if steps.is_empty() { "" } else { ", " };
            steps.push_str(&format!("{separator}{what} {}ms", (*at - before).as_millis()));
            before = *at;
        }
        let (total, audit_id) = (total.as_millis(), self.id.as_str());
        tracing::info!(request = %what, code, total_ms = %total, steps, agent, audit_id, "a slow request");
    }
}
