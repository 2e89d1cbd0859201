//! `bench api`: creates, reads, patches, lists and deletes objects of an API server, at several
//! numbers of clients, and prints operations a second, latencies, and the server's CPU time.

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cli::clap::{Arg, ArgMatches, Command, value_parser};
use cli::{Api, Ctx};
use parking_lot::Mutex;
use serde_json::{Value, json};
use tokio::time::Instant;

const NAMESPACE: &str = "ferry-bench";

pub(super) fn command() -> Command {
    let number = |name: &'static str, default: &'static str, help: &'static str| {
        Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default).help(help)
    };
    Command::new("api")
        .about("Measure create, get, patch, list and delete of an API server")
        .arg(number("count", "1000", "How many objects for each number of clients"))
        .arg(number("bytes", "1024", "The size of a ConfigMap's data; 0 makes 2.4 KB Pods"))
        .arg(number("pid", "0", "The server's process, to count its CPU time"))
        .arg(
            Arg::new("clients")
                .long("clients")
                .value_delimiter(',')
                .value_parser(value_parser!(u64))
                .default_value("1,16,64")
                .help("Numbers of clients"),
        )
}

/// What one kind of operation came to.
struct Outcome {
    operations: u64,
    seconds: f64,
    cpu_seconds: Option<f64>,
    /// Sorted, milliseconds.
    latencies: Vec<f64>,
}

pub(super) async fn run(ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
    let number = |name: &str| args.get_one::<u64>(name).copied().unwrap_or_default();
    let (count, bytes, pid) = (number("count"), number("bytes"), number("pid"));
    let api = ctx.api().await?;
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
    });
    // It may be left from an earlier run.
    let _ = api.send("POST", "/api/v1/namespaces", &namespace).await;
    println!(
        "{:<10} {:>8} {:>10} {:>10} {:>10} {:>14}",
        "operation", "clients", "per s", "p50 ms", "p99 ms", "CPU s / 1000"
    );
    for clients in args.get_many::<u64>("clients").into_iter().flatten().copied() {
        let work = Work { ctx, count, clients, bytes, pid };
        for (name, operation) in OPERATIONS {
            let outcome =
                work.measure(*operation).await.with_context(|| format!("bench {name}"))?;
            print_row(name, clients, &outcome);
        }
    }
    let path = format!("/api/v1/namespaces/{NAMESPACE}");
    api.send("DELETE", &path, &Value::Null).await?;
    Ok(ExitCode::SUCCESS)
}

fn print_row(name: &str, clients: u64, outcome: &Outcome) {
    let at = |share: f64| {
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index into some thousand numbers"
        )]
        let index = (outcome.latencies.len() as f64 * share) as usize;
        outcome.latencies.get(index.min(outcome.latencies.len().saturating_sub(1))).copied()
    };
    #[expect(clippy::cast_precision_loss, reason = "some thousand operations")]
    let operations = outcome.operations as f64;
    let cpu = outcome
        .cpu_seconds
        .map_or("-".to_owned(), |own| format!("{:.3}", own * 1000.0 / operations));
    println!(
        "{name:<10} {clients:>8} {:>10.0} {:>10.2} {:>10.2} {cpu:>14}",
        operations / outcome.seconds,
        at(0.5).unwrap_or_default(),
        at(0.99).unwrap_or_default(),
    );
}

/// A kind of operation: method, whether the path names the object, body.
#[derive(Clone, Copy)]
enum Operation {
    Create,
    Get,
    Patch,
    List,
    Delete,
}

const OPERATIONS: &[(&str, Operation)] = &[
    ("create", Operation::Create),
    ("get", Operation::Get),
    ("patch", Operation::Patch),
    ("list", Operation::List),
    ("delete", Operation::Delete),
];

struct Work<'a> {
    ctx: &'a Ctx,
    count: u64,
    clients: u64,
    bytes: u64,
    pid: u64,
}

impl Work<'_> {
    async fn measure(&self, operation: Operation) -> Result<Outcome> {
        // Lists carry all objects: fewer of them say as much.
        let count = if matches!(operation, Operation::List) {
            (self.count / 50).max(self.clients)
        } else {
            self.count
        };
        let (next, latencies) = (Arc::new(AtomicU64::new(0)), Arc::new(Mutex::new(Vec::new())));
        let cpu = cpu_seconds(self.pid);
        let start = Instant::now();
        let mut workers = Vec::new();
        for _ in 0..self.clients {
            // A connection each, as separate programs have.
            let api = self.ctx.api().await?;
            let (next, latencies, bytes) = (next.clone(), latencies.clone(), self.bytes);
            workers.push(tokio::spawn(async move {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return anyhow::Ok(());
                    }
                    let from = Instant::now();
                    one(&api, operation, number, bytes).await?;
                    latencies.lock().push(from.elapsed());
                }
            }));
        }
        for worker in workers {
            worker.await.context("a client")??;
        }
        let seconds = start.elapsed().as_secs_f64();
        let cpu_seconds = cpu.zip(cpu_seconds(self.pid)).map(|(before, after)| after - before);
        let mut latencies: Vec<Duration> = std::mem::take(&mut *latencies.lock());
        latencies.sort();
        let latencies = latencies.iter().map(|own| own.as_secs_f64() * 1000.0).collect();
        Ok(Outcome { operations: count, seconds, cpu_seconds, latencies })
    }
}

async fn one(api: &Api, operation: Operation, number: u64, bytes: u64) -> Result<()> {
    let plural = if bytes == 0 { "pods" } else { "configmaps" };
    let collection = format!("/api/v1/namespaces/{NAMESPACE}/{plural}");
    let path = format!("{collection}/bench-{number}");
    match operation {
        Operation::Create => api.send("POST", &collection, &object(number, bytes)).await?,
        Operation::Get => Value::String(api.get_text(&path).await?),
        Operation::Patch => {
            let patch = json!({ "metadata": { "labels": { "patched": number.to_string() } } });
            api.send_as("PATCH", &path, "application/merge-patch+json", &patch).await?
        }
        Operation::List => Value::String(api.get_text(&collection).await?),
        Operation::Delete => api.send("DELETE", &path, &json!({ "gracePeriodSeconds": 0 })).await?,
    };
    Ok(())
}

fn object(number: u64, bytes: u64) -> Value {
    let metadata = json!({
        "name": format!("bench-{number}"), "namespace": NAMESPACE, "labels": { "app": "bench" },
    });
    if bytes > 0 {
        let data = "x".repeat(usize::try_from(bytes).unwrap_or(usize::MAX));
        return json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": { "data": data } });
    }
    let env: Vec<_> = (0..16)
        .map(|at| json!({ "name": format!("SETTING_{at}"), "value": format!("value-{at}-of-a-usual-length") }))
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata,
        "spec": {
            // Bound to nobody: only the server is measured.
            "schedulerName": "nobody", "automountServiceAccountToken": false,
            "containers": [{
                "name": "main", "image": "registry.example.com/team/application:1.2.3", "env": env,
                "ports": [{ "containerPort": 8080, "name": "http" }],
                "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
            }],
        },
    })
}

/// CPU time of a process, user and system; `None` without a process.
fn cpu_seconds(pid: u64) -> Option<f64> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let after_name = text.rsplit_once(')')?.1;
    let fields: Vec<&str> = after_name.split_whitespace().collect();
    let ticks: u64 = fields.get(11)?.parse::<u64>().ok()? + fields.get(12)?.parse::<u64>().ok()?;
    #[expect(clippy::cast_precision_loss, reason = "hundredths of seconds")]
    let seconds = ticks as f64 / 100.0;
    Some(seconds)
}

/// The memory that belongs to processes, shared pages counted by share: PSS, in KiB.
pub(super) fn pss_kib(pid: u64) -> Result<u64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:"));
    let Some(number) = line.and_then(|rest| rest.split_whitespace().next()) else {
        bail!("{path} has no Pss");
    };
    Ok(number.parse()?)
}

/// `bench idle`: memory and CPU time of processes over a while.
pub(super) fn idle_command() -> Command {
    Command::new("idle")
        .about("Measure memory and CPU of processes while they do nothing")
        .arg(
            Arg::new("pids")
                .value_name("PID")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(u64)),
        )
        .arg(
            Arg::new("seconds")
                .long("seconds")
                .value_parser(value_parser!(u64))
                .default_value("30")
                .help("For how long"),
        )
}

pub(super) async fn idle(args: &ArgMatches) -> Result<ExitCode> {
    let pids: Vec<u64> = args.get_many::<u64>("pids").into_iter().flatten().copied().collect();
    let seconds = args.get_one::<u64>("seconds").copied().unwrap_or(30);
    let total = || pids.iter().filter_map(|pid| cpu_seconds(*pid)).sum::<f64>();
    let before = total();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    #[expect(clippy::cast_precision_loss, reason = "some seconds")]
    let share = (total() - before) / seconds as f64 * 100.0;
    let memory: u64 = pids.iter().filter_map(|pid| pss_kib(*pid).ok()).sum();
    println!("{}", json!({ "pss_kib": memory, "cpu_percent": share }));
    Ok(ExitCode::SUCCESS)
}
