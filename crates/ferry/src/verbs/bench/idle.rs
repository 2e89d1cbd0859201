//! `bench idle`: memory and CPU time of processes that do nothing, over a while.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use cli::clap::{Arg, ArgMatches, Command, value_parser};
use serde_json::json;

use super::measure::{cpu_seconds, number, pss_kib};
use super::{count_arg, number_of};

pub(super) fn command() -> Command {
    Command::new("idle")
        .about("Measure memory and CPU of processes while they do nothing")
        .arg(
            Arg::new("pids")
                .value_name("PID")
                .required(true)
                .num_args(1..)
                .value_parser(value_parser!(u64)),
        )
        .arg(count_arg("seconds", "30", "For how long"))
}

pub(super) async fn run(args: &ArgMatches) -> Result<ExitCode> {
    let pids: Vec<u64> = args.get_many::<u64>("pids").into_iter().flatten().copied().collect();
    let seconds = number_of(args, "seconds");
    let total = || pids.iter().filter_map(|pid| cpu_seconds(*pid)).sum::<f64>();
    let before = total();
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    let share = (total() - before) / number(seconds) * 100.0;
    let memory: u64 = pids.iter().filter_map(|pid| pss_kib(*pid).ok()).sum();
    println!("{}", json!({ "pss_kib": memory, "cpu_percent": share }));
    Ok(ExitCode::SUCCESS)
}
