//! `bench schedule`: what it costs to schedule and bind a Pod among many hollow nodes.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
use cli::clap::{ArgMatches, Command};
use cli::{Api, Ctx};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use tokio::time::Instant;

use super::measure::{cpu_seconds, measure, number, per, quiet};
use super::objects::{self, Kind};
use super::{count_arg, number_of, pid_arg};

const CLIENTS: u64 = 16;
/// How long the controllers may take to be done with the new nodes. After 40 s without a heartbeat
/// a node counts as lost, and takes no pods.
const SETTLING_MAX: Duration = Duration::from_secs(30);
/// The reason that a node's conditions give when it is lost.
const SILENT: &str = "NodeStatusUnknown";
/// Scheduling one among 5,000 nodes, and binding it.
const BUDGET_US: u32 = 80 + 100;

pub(super) fn command() -> Command {
    Command::new("schedule")
        .about("Measure scheduling and binding of Pods among hollow nodes")
        .arg(count_arg("nodes", "5000", "How many nodes"))
        .arg(count_arg("pods", "2000", "How many Pods"))
        .arg(pid_arg())
}

pub(super) async fn run(ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
    let (nodes, pods) = (number_of(args, "nodes"), number_of(args, "pods"));
    let pid = number_of(args, "pid");
    let api = ctx.api().await?;
    objects::make_namespace(&api).await?;
    // The same Pods for a scheduler that is not there: creating them is not scheduling them.
    let created = create_pods(ctx, pid, pods, "nobody").await?;
    remove_pods(&api).await?;
    quiet(pid, SETTLING_MAX).await?;
    let now = base::clock::system().now().to_string();
    measure(ctx, pid, CLIENTS, nodes, move |api, number| {
        let node = objects::node(number, &now);
        async move {
            api.send("POST", "/api/v1/nodes", &node).await?;
            Ok(())
        }
    })
    .await?;
    // What controllers do with new nodes is not scheduling.
    let settled = quiet(pid, SETTLING_MAX).await?;
    println!(
        "{:<44} {:>12.1}",
        "the controllers were done with the nodes, s",
        settled.as_secs_f64()
    );
    let cpu = cpu_seconds(pid);
    let start = Instant::now();
    let bound = bound_pods(ctx.api().await?, pods);
    create_pods(ctx, pid, pods, "default-scheduler").await?;
    bound.await.context("the watch of the Pods")??;
    let seconds = start.elapsed().as_secs_f64();
    let cpu = cpu.zip(cpu_seconds(pid)).map(|(before, after)| after - before);
    println!("{:<44} {:>12.0}", "created and bound per s", per(number(pods), seconds));
    if let Some((all, create_us)) = cpu.zip(created) {
        let each = per(all * 1e6, number(pods)) - create_us;
        println!(
            "{:<44} {each:>12.0} (budget {BUDGET_US})",
            format!("CPU us to schedule and bind among {nodes}")
        );
    }
    if api.get_text(&objects::nodes_path()).await?.contains(SILENT) {
        println!("nodes fell silent before the end: what the controllers did about it is in this");
    }
    remove_pods(&api).await?;
    objects::remove_all(&api).await?;
    Ok(ExitCode::SUCCESS)
}

/// Creates Pods; answers the CPU time of one, in microseconds.
async fn create_pods(
    ctx: &Ctx,
    pid: u64,
    pods: u64,
    scheduler: &'static str,
) -> Result<Option<f64>> {
    let outcome = measure(ctx, pid, CLIENTS, pods, move |api, number| {
        let pod = objects::pod(number, scheduler);
        async move {
            api.send("POST", &Kind::Pod.collection(), &pod).await?;
            Ok(())
        }
    })
    .await?;
    Ok(outcome.cpu_us())
}

async fn remove_pods(api: &Api) -> Result<()> {
    let now = serde_json::json!({ "gracePeriodSeconds": 0 });
    api.send("DELETE", &Kind::Pod.collection(), &now).await?;
    Ok(())
}

/// Ends when this many Pods have a node.
fn bound_pods(api: Api, pods: u64) -> tokio::task::JoinHandle<Result<()>> {
    tokio::spawn(async move {
        // The selector makes an ADDED of each Pod that gets its node.
        let path = format!("{}?watch=1&fieldSelector=spec.nodeName%21%3D", Kind::Pod.collection());
        let mut lines = api.stream(&path, "application/json").await?.lines();
        let mut bound = 0;
        while bound < pods {
            let line = lines.next().await.context("the server ended a watch")??;
            if line.starts_with("{\"type\":\"ADDED\"") {
                bound += 1;
            }
        }
        Ok(())
    })
}
