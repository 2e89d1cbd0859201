//! `bench memory`: what stored Pods cost in memory, and how requests grow with their number.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use cli::clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use cli::{Api, Ctx};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use serde_json::json;

use super::measure::{measure, number, per, pss_kib};
use super::objects::{self, Kind};
use super::{number_of, pid_arg};

/// Clients that create.
const CREATORS: u64 = 16;
/// Requests for each row.
const GETS: u64 = 500;
const PATCHES: u64 = 500;
const LISTS: u64 = 5;
const BUDGET_KIB: f64 = 8.0;

pub(super) fn command() -> Command {
    Command::new("memory")
        .about("Measure the memory of stored Pods, and how requests grow with their number")
        .arg(
            Arg::new("counts")
                .long("counts")
                .value_delimiter(',')
                .value_parser(value_parser!(u64))
                .default_value("1000,10000,100000")
                .help("Numbers of Pods, ascending"),
        )
        .arg(
            Arg::new("keep")
                .long("keep")
                .action(ArgAction::SetTrue)
                .help("Leave the Pods there, for a server that is thrown away"),
        )
        .arg(pid_arg())
}

pub(super) async fn run(ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
    let pid = number_of(args, "pid");
    let api = ctx.api().await?;
    objects::make_namespace(&api).await?;
    let empty = pss_kib(pid)?;
    println!(
        "{:>8} {:>8} {:>14} {:>9} {:>10} {:>8} {:>9} {:>14} {:>8} {:>12}",
        "pods",
        "PSS MiB",
        "KiB a pod (8)",
        "create/s",
        "create us",
        "get us",
        "patch us",
        "watch from 0 ms",
        "list ms",
        "list CPU ms"
    );
    let mut there = 0;
    for count in args.get_many::<u64>("counts").into_iter().flatten().copied() {
        let from = there;
        let created =
            measure(ctx, pid, CREATORS, count.saturating_sub(from), move |api, number| {
                let object = Kind::Pod.object(from + number);
                async move {
                    api.send("POST", &Kind::Pod.collection(), &object).await?;
                    Ok(())
                }
            })
            .await?;
        there = there.max(count);
        let pss = pss_kib(pid)?;
        let got = measure(ctx, pid, 1, GETS, move |api, number| async move {
            api.get_text(&Kind::Pod.path(number * 7919 % count)).await?;
            Ok(())
        })
        .await?;
        let patched = measure(ctx, pid, 1, PATCHES, move |api, number| async move {
            let patch = json!({ "metadata": { "labels": { "turn": number.to_string() } } });
            let path = Kind::Pod.path(number * 7919 % count);
            api.send_as("PATCH", &path, "application/merge-patch+json", &patch).await?;
            Ok(())
        })
        .await?;
        let watched = measure(ctx, pid, 1, LISTS, move |api, _| watch_all(api, count)).await?;
        let listed = measure(ctx, pid, 1, LISTS, |api, _| async move {
            api.get_text(&Kind::Pod.collection()).await?;
            Ok(())
        })
        .await?;
        let each = per(number(pss.saturating_sub(empty)), number(count));
        println!(
            "{count:>8} {:>8} {each:>14.1} {:>9.0} {:>10.0} {:>8.0} {:>9.0} {:>14.1} {:>8.1} {:>12.1}",
            pss / 1024,
            created.rate(),
            created.cpu_us().unwrap_or_default(),
            got.cpu_us().unwrap_or_default(),
            patched.cpu_us().unwrap_or_default(),
            watched.latency_ms(0.5),
            listed.latency_ms(0.5),
            listed.cpu_us().unwrap_or_default() / 1000.0,
        );
        if each > BUDGET_KIB {
            eprintln!("at {count} pods: over the budget of {BUDGET_KIB} KiB a pod");
        }
    }
    if !args.get_flag("keep") {
        objects::remove_all(&api).await?;
    }
    Ok(ExitCode::SUCCESS)
}

/// A watch that begins with everything, until everything is there.
async fn watch_all(api: Arc<Api>, count: u64) -> Result<()> {
    let path = format!("{}?watch=1&resourceVersion=0", Kind::Pod.collection());
    let mut lines = api.stream(&path, "application/json").await?.lines();
    for _ in 0..count {
        lines.next().await.context("the server ended a watch")??;
    }
    Ok(())
}
