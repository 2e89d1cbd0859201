//! `bench watch`: what one more watcher of an event costs the server.
//!
//! The same changes are made with one watcher and with many; the difference in the server's CPU
//! time, divided by the events that the others got, is the price of one. Twice: each change alone,
//! seen by all before the next is made, so that each costs a write to each connection; and as fast
//! as writers make them, as in a cluster where much happens, so that writes may hold several.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use cli::clap::{ArgMatches, Command};
use cli::{Api, Ctx};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use serde_json::json;
use tokio::sync::Barrier;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::measure::{cpu_seconds, measure, number, per, quiet};
use super::objects::{self, Kind};
use super::{count_arg, number_of, pid_arg};

/// The size of the watched ConfigMap's data.
const BYTES: usize = 1024;
const BUDGET_US: f64 = 2.0;

pub(super) fn command() -> Command {
    Command::new("watch")
        .about("Measure what one more watcher of an event costs")
        .arg(count_arg("watchers", "1000", "How many watch"))
        .arg(count_arg("events", "500", "How many changes are made"))
        .arg(pid_arg())
}

pub(super) async fn run(ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
    let (watchers, events) = (number_of(args, "watchers"), number_of(args, "events"));
    let pid = number_of(args, "pid");
    if watchers < 2 || events == 0 {
        bail!("--watchers takes 2 or more, --events 1 or more");
    }
    let api = ctx.api().await?;
    objects::make_namespace(&api).await?;
    let kind = Kind::ConfigMap(BYTES);
    api.send("POST", &kind.collection(), &kind.object(0)).await?;
    let alone = spread(ctx, pid, 1, events).await?;
    let many = spread(ctx, pid, watchers, events).await?;
    print("each change alone", watchers, events, &alone, &many);
    let alone = burst(ctx, pid, 1, events).await?;
    let many = burst(ctx, pid, watchers, events).await?;
    print("as fast as they come", watchers, events, &alone, &many);
    objects::remove_all(&api).await?;
    Ok(ExitCode::SUCCESS)
}

fn print(how: &str, watchers: u64, events: u64, alone: &Spread, many: &Spread) {
    println!("{how}, {watchers} watchers:");
    let delivered = number(events * watchers);
    println!("  {:<44} {:>12.0}", "events delivered per s", per(delivered, many.seconds));
    println!("  {:<44} {:>12.2}", "slowest change, ms", many.slowest_ms);
    if let Some((many, alone)) = many.cpu_seconds.zip(alone.cpu_seconds) {
        let each = per((many - alone) * 1e6, number(events * (watchers - 1)));
        println!(
            "  {:<44} {each:>12.2} (budget {BUDGET_US})",
            "CPU us of one more watcher of an event"
        );
    }
}

/// What some changes cost with some watchers.
struct Spread {
    seconds: f64,
    slowest_ms: f64,
    cpu_seconds: Option<f64>,
}

async fn spread(ctx: &Ctx, pid: u64, watchers: u64, events: u64) -> Result<Spread> {
    let all = usize::try_from(watchers)? + 1;
    // All meet here before each change, so that each change is seen before the next is made.
    let turn = Arc::new(Barrier::new(all));
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        tasks.push(watcher(ctx.api().await?, turn.clone(), events));
    }
    let api = ctx.api().await?;
    turn.wait().await;
    let cpu = cpu_seconds(pid);
    let start = Instant::now();
    let mut slowest_ms: f64 = 0.0;
    for number in 0..events {
        let from = Instant::now();
        let patch = json!({ "metadata": { "labels": { "turn": format!("{watchers}-{number}") } } });
        api.send_as(
            "PATCH",
            &Kind::ConfigMap(BYTES).path(0),
            "application/merge-patch+json",
            &patch,
        )
        .await?;
        turn.wait().await;
        slowest_ms = slowest_ms.max(from.elapsed().as_secs_f64() * 1000.0);
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu.zip(cpu_seconds(pid)).map(|(before, after)| after - before);
    for task in tasks {
        task.await.context("a watcher")??;
    }
    Ok(Spread { seconds, slowest_ms, cpu_seconds })
}

/// Writers at once in a burst.
const WRITERS: u64 = 16;
const SETTLING_MAX: Duration = Duration::from_secs(30);

/// Creates objects as fast as writers can, until every watcher has seen all.
async fn burst(ctx: &Ctx, pid: u64, watchers: u64, events: u64) -> Result<Spread> {
    let name = format!("burst-{watchers}");
    let begun = Arc::new(Barrier::new(usize::try_from(watchers)? + 1));
    let mut tasks = Vec::new();
    for _ in 0..watchers {
        tasks.push(counter(ctx.api().await?, begun.clone(), format!("\"name\":\"{name}-"), events));
    }
    begun.wait().await;
    quiet(pid, SETTLING_MAX).await?;
    let cpu = cpu_seconds(pid);
    let start = Instant::now();
    let made = measure(ctx, pid, WRITERS, events, move |api, number| {
        let mut object = Kind::ConfigMap(BYTES).object(number);
        object["metadata"]["name"] = format!("{name}-{number}").into();
        async move {
            api.send("POST", &Kind::ConfigMap(BYTES).collection(), &object).await?;
            Ok(())
        }
    })
    .await?;
    for task in tasks {
        task.await.context("a watcher")??;
    }
    let seconds = start.elapsed().as_secs_f64();
    let cpu_seconds = cpu.zip(cpu_seconds(pid)).map(|(before, after)| after - before);
    Ok(Spread { seconds, slowest_ms: made.latency_ms(1.0), cpu_seconds })
}

/// Ends when it has seen every object of a burst.
fn counter(api: Api, begun: Arc<Barrier>, name: String, events: u64) -> JoinHandle<Result<()>> {
    tokio::spawn(async move {
        let path = format!(
            "{}?watch=1&sendInitialEvents=true&resourceVersionMatch=NotOlderThan\
             &allowWatchBookmarks=true",
            Kind::ConfigMap(BYTES).collection()
        );
        let mut lines = api.stream(&path, "application/json").await?.lines();
        let mut seen = 0;
        while seen < events {
            let line = lines.next().await.context("the server ended a watch")??;
            if line.contains("k8s.io/initial-events-end") {
                begun.wait().await;
            } else if line.contains(&name) {
                seen += 1;
            }
        }
        Ok(())
    })
}

fn watcher(api: Api, turn: Arc<Barrier>, events: u64) -> JoinHandle<Result<()>> {
    tokio::spawn(async move {
        let path = format!("{}?watch=1", Kind::ConfigMap(BYTES).collection());
        let mut lines = api.stream(&path, "application/json").await?.lines();
        // The first is the object as it is; other ConfigMaps of the namespace are passed over.
        let mut waited = 0;
        while waited <= events {
            let line = lines.next().await.context("the server ended a watch")??;
            if line.contains("\"name\":\"bench-0\"") {
                waited += 1;
                turn.wait().await;
            }
        }
        Ok(())
    })
}
