//! `bench memory`: what stored Pods cost in memory, and how requests grow with their number.

use std::process::ExitCode;

use anyhow::Result;
use cli::Ctx;
use cli::clap::{Arg, ArgMatches, Command, value_parser};

use super::measure::{measure, number, per, pss_kib};
use super::objects::{self, Kind};
use super::{number_of, pid_arg};

/// Clients that create.
const CREATORS: u64 = 16;
/// Requests for each row.
const GETS: u64 = 500;
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
        .arg(pid_arg())
}

pub(super) async fn run(ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
    let pid = number_of(args, "pid");
    let api = ctx.api().await?;
    objects::make_namespace(&api).await?;
    let empty = pss_kib(pid)?;
    println!(
        "{:>8} {:>10} {:>14} {:>12} {:>10} {:>12} {:>14}",
        "pods", "PSS MiB", "KiB a pod (8)", "creates/s", "get us", "list ms", "list CPU ms"
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
        let listed = measure(ctx, pid, 1, LISTS, |api, _| async move {
            api.get_text(&Kind::Pod.collection()).await?;
            Ok(())
        })
        .await?;
        let each = per(number(pss.saturating_sub(empty)), number(count));
        println!(
            "{count:>8} {:>10} {each:>14.1} {:>12.0} {:>10.0} {:>12.1} {:>14.1}",
            pss / 1024,
            created.rate(),
            got.cpu_us().unwrap_or_default(),
            listed.latency_ms(0.5),
            listed.cpu_us().unwrap_or_default() / 1000.0,
        );
        if each > BUDGET_KIB {
            eprintln!("at {count} pods: over the budget of {BUDGET_KIB} KiB a pod");
        }
    }
    objects::remove_all(&api).await?;
    Ok(ExitCode::SUCCESS)
}
