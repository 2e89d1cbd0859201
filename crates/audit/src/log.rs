//! The log: events go through a bounded queue to a thread that writes them, many at once.

use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use apiserver::audit::{AuditEvent, AuditSink, Level, Verdict};
use auth::Attributes;
use base::clock::SharedClock;
use base::metrics::{Counter, Text};
use parking_lot::Mutex;
use tokio::sync::mpsc;

use crate::event::line;
use crate::policy::Policy;
use crate::rotation::{Keep, Rotated};

/// How many events may wait to be written; upstream's batch buffer.
const QUEUE_LEN: usize = 10_000;
/// How many are written at once.
const BATCH_LEN: usize = 400;
const PLUGIN: &str = "log";

/// Where events are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOptions {
    /// The file; `-` is standard output.
    pub path: PathBuf,
    /// A file is put aside before it is longer than this; 0: never.
    pub megabytes_max: u64,
    /// So many old files are kept; 0: all.
    pub backups_max: usize,
    /// Old files are kept for so many days; 0: for ever.
    pub days_max: i64,
}

#[derive(Debug, Default)]
struct Counts {
    events: Counter,
    dropped: Counter,
    failed: Counter,
    levels: [Counter; 4],
}

/// The audit's log, with its policy.
pub struct AuditLog {
    policy: Policy,
    queue: Mutex<Option<mpsc::Sender<AuditEvent>>>,
    writer: Mutex<Option<JoinHandle<()>>>,
    counts: Arc<Counts>,
}

enum Output {
    File(Rotated),
    Standard,
}

impl AuditLog {
    /// Opens the log.
    ///
    /// # Errors
    /// When the file cannot be opened, or there is no thread.
    pub fn open(policy: Policy, options: &LogOptions, clock: SharedClock) -> std::io::Result<Self> {
        let keep = Keep {
            bytes_max: options.megabytes_max.saturating_mul(1024 * 1024),
            backups_max: options.backups_max,
            days_max: options.days_max,
        };
        let output = if options.path.as_os_str() == "-" {
            Output::Standard
        } else {
            Output::File(Rotated::open(&options.path, keep, clock)?)
        };
        let (queue, events) = mpsc::channel(QUEUE_LEN);
        let counts = Arc::new(Counts::default());
        let own = counts.clone();
        let writer = std::thread::Builder::new()
            .name("audit-log".to_owned())
            .spawn(move || write_all(events, output, &own))?;
        Ok(Self {
            policy,
            queue: Mutex::new(Some(queue)),
            writer: Mutex::new(Some(writer)),
            counts,
        })
    }

    /// Writes what waits, and no more. Blocks.
    pub fn close(&self) {
        drop(self.queue.lock().take());
        if let Some(writer) = self.writer.lock().take() {
            // It ends when the queue is empty; its panic was reported where it happened.
            let _ = writer.join();
        }
    }
}

fn write_all(mut events: mpsc::Receiver<AuditEvent>, mut output: Output, counts: &Counts) {
    let mut batch = Vec::with_capacity(BATCH_LEN);
    let mut is_broken = false;
    while events.blocking_recv_many(&mut batch, BATCH_LEN) > 0 {
        let count = batch.len() as u64;
        let lines: Vec<u8> = batch.drain(..).flat_map(line).collect();
        let written = match &mut output {
            Output::File(file) => file.write(&lines),
            Output::Standard => std::io::stdout().lock().write_all(&lines),
        };
        match written {
            Ok(()) => is_broken = false,
            Err(error) => {
                counts.failed.add(count);
                // Once, not for every batch while the disk is full.
                if !std::mem::replace(&mut is_broken, true) {
                    tracing::error!(%error, "cannot write the audit log; events are lost until it can be written");
                }
            }
        }
    }
}

impl AuditSink for AuditLog {
    fn verdict(&self, attributes: &Attributes) -> Verdict {
        let verdict = self.policy.verdict(attributes);
        self.counts.levels[verdict.level as usize].inc();
        verdict
    }

    fn record(&self, event: AuditEvent) {
        self.counts.events.inc();
        let queue = self.queue.lock().clone();
        let sent = queue.is_some_and(|queue| queue.try_send(event).is_ok());
        if !sent {
            self.counts.dropped.inc();
        }
    }

    fn metrics(&self) -> String {
        let mut text = Text::default();
        const EVENTS: &str = "apiserver_audit_event_total";
        text.family(
            EVENTS,
            "counter",
            "Counter of audit events generated and sent to the audit backend.",
        );
        text.sample(EVENTS, &[], self.counts.events.get());
        const LEVELS: &str = "apiserver_audit_level_total";
        text.family(
            LEVELS,
            "counter",
            "Counter of policy levels for audit events (1 per request).",
        );
        let levels = [Level::None, Level::Metadata, Level::Request, Level::RequestResponse];
        for (level, count) in levels.iter().zip(&self.counts.levels) {
            text.sample(LEVELS, &[("level", level.name())], count.get());
        }
        const ERRORS: &str = "apiserver_audit_error_total";
        text.family(
            ERRORS,
            "counter",
            "Counter of audit events that failed to be audited properly. Plugin identifies the plugin affected by the error.",
        );
        let lost = self.counts.dropped.get() + self.counts.failed.get();
        text.sample(ERRORS, &[("plugin", PLUGIN)], lost);
        const REJECTED: &str = "apiserver_audit_requests_rejected_total";
        text.family(
            REJECTED,
            "counter",
            "Counter of apiserver requests rejected due to an error in audit logging backend.",
        );
        // No request is rejected: the log loses events rather than requests.
        text.sample(REJECTED, &[], 0);
        text.finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiserver::audit::{AuditedRequest, Stage};
    use auth::{NonResource, Target, UserInfo};

    fn event(number: usize) -> AuditEvent {
        let target = NonResource { verb: "get".into(), path: format!("/{number}") };
        let attributes =
            Attributes { user: UserInfo::anonymous(), target: Target::NonResource(target) };
        let at = base::clock::Timestamp::UNIX_EPOCH;
        AuditEvent {
            request: Arc::new(AuditedRequest {
                id: number.to_string(),
                received: at,
                uri: format!("/{number}"),
                attributes,
                source_ips: Vec::new(),
                user_agent: String::new(),
            }),
            level: Level::Metadata,
            stage: Stage::ResponseComplete,
            at,
            impersonated: None,
            ended: None,
            request_object: None,
            response_object: None,
            annotations: Vec::new(),
            omit_managed_fields: false,
        }
    }

    #[test]
    fn events_are_written_in_order_and_whole_when_it_closes() {
        let dir = tempfile::tempdir().unwrap();
        let policy =
            Policy::parse(b"apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]")
                .unwrap();
        let options = LogOptions {
            path: dir.path().join("audit.log"),
            megabytes_max: 1,
            backups_max: 1,
            days_max: 1,
        };
        let log = AuditLog::open(policy, &options, base::clock::system()).unwrap();
        for number in 0..1000 {
            log.record(event(number));
        }
        log.close();
        let text = std::fs::read_to_string(&options.path).unwrap();
        for (number, line) in text.lines().enumerate() {
            let line: api::Value = serde_json::from_str(line).unwrap();
            assert_eq!(line["auditID"], number.to_string());
        }
        assert_eq!(text.lines().count(), 1000);
        log.record(event(0));
        let metrics = log.metrics();
        assert!(metrics.contains("apiserver_audit_event_total 1001\n"), "{metrics}");
        assert!(metrics.contains("apiserver_audit_error_total{plugin=\"log\"} 1\n"), "{metrics}");
    }
}
