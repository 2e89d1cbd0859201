//! What the kernel says of a process, and many operations timed at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cli::{Api, Ctx};
use parking_lot::Mutex;
use tokio::time::Instant;

/// What many operations of one kind came to.
pub(super) struct Outcome {
    operations: u64,
    seconds: f64,
    cpu_seconds: Option<f64>,
    /// Sorted, milliseconds.
    latencies: Vec<f64>,
}

impl Outcome {
    /// Operations a second.
    pub(super) fn rate(&self) -> f64 {
        per(1.0, self.seconds) * number(self.operations)
    }

    /// The server's CPU time for one operation, in microseconds.
    pub(super) fn cpu_us(&self) -> Option<f64> {
        self.cpu_seconds.map(|own| per(own * 1e6, number(self.operations)))
    }

    /// The latency that this share of the operations did not exceed, in milliseconds.
    pub(super) fn latency_ms(&self, share: f64) -> f64 {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into some thousand numbers"
        )]
        let index = (number(self.latencies.len() as u64) * share) as usize;
        self.latencies
            .get(index.min(self.latencies.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }
}

/// Runs `one` for the numbers from 0 to `count`, by `clients` at a time, each with a connection of
/// its own as separate programs have, and counts the CPU time of process `pid` (0 for none).
pub(super) async fn measure<F>(
    ctx: &Ctx,
    pid: u64,
    clients: u64,
    count: u64,
    one: impl Fn(Arc<Api>, u64) -> F + Send + Sync + Clone + 'static,
) -> Result<Outcome>
where
    F: Future<Output = Result<()>> + Send,
{
    let (next, latencies) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
    let mut connections = Vec::new();
    for _ in 0..clients {
        let api = Arc::new(ctx.api().await?);
        // The handshake is not the operation.
        api.get("/version").await?;
        connections.push(api);
    }
    let cpu = cpu_seconds(pid);
    let start = Instant::now();
    let mut workers = Vec::new();
    for api in connections {
        let (next, latencies, one) = (next.clone(), latencies.clone(), one.clone());
        workers.push(tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= count {
                    return anyhow::Ok(());
                }
                let from = Instant::now();
                one(api.clone(), number).await?;
                latencies.lock().push(from.elapsed());
            }
        }));
    }
    for worker in workers {
        worker.await.context("a client")??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu.zip(cpu_seconds(pid)).map(|(before, after)| after - before);
    let mut latencies: Vec<Duration> = std::mem::take(&mut *latencies.lock());
    latencies.sort();
    let latencies = latencies.iter().map(|own| own.as_secs_f64() * 1000.0).collect();
    Ok(Outcome { operations: count, seconds, cpu_seconds, latencies })
}

/// CPU time of a process, user and system, in seconds; `None` without a process.
pub(super) fn cpu_seconds(pid: u64) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = text.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    Some(number(ticks) / 100.0)
}

/// How long one look at a process's CPU time lasts.
const LOOK: Duration = Duration::from_secs(1);
/// A process that uses less of a core than this has nothing left to do but its timers.
const QUIET_SHARE: f64 = 0.05;

/// Waits until a process has done what it was given to do, so that the next measurement holds
/// nothing of it. Says how long that took.
pub(super) async fn quiet(pid: u64, longest: Duration) -> Result<Duration> {
    let start = Instant::now();
    while let Some(before) = cpu_seconds(pid) {
        tokio::time::sleep(LOOK).await;
        let after = cpu_seconds(pid).unwrap_or(before);
        if after - before < QUIET_SHARE * LOOK.as_secs_f64() {
            break;
        }
        if start.elapsed() > longest {
            bail!("process {pid} is still busy after {} s", longest.as_secs());
        }
    }
    Ok(start.elapsed())
}

/// The memory that belongs to a process, shared pages counted by share: PSS, in KiB.
pub(super) fn pss_kib(pid: u64) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let Some(number) = line.and_then(|rest| rest.split_whitespace().next()) else {
        bail!("{path} has no Pss");
    };
    Ok(number.parse()?)
}

/// A count as a number that can be divided.
#[expect(clippy::cast_precision_loss, reason = "counts of benchmarks are far below 2^52")]
pub(super) fn number(count: u64) -> f64 {
    count as f64
}

/// A quotient; 0 when there is nothing to divide by.
pub(super) fn per(sum: f64, count: f64) -> f64 {
    if count > 0.0 { sum / count } else { 0.0 }
}
