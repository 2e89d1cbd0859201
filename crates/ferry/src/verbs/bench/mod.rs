//! `bench`: measures; each kind of measurement is a subcommand and a file.

mod api;
mod idle;
mod measure;
mod memory;
mod objects;
mod requests;
mod schedule;
mod watch;

use std::process::ExitCode;

use anyhow::Result;
use async_trait::async_trait;
use cli::clap::{Arg, ArgMatches, Command, value_parser};
use cli::{Ctx, Verb};

pub(crate) struct Bench;

#[async_trait]
impl Verb for Bench {
    fn command(&self) -> Command {
        Command::new("bench")
            .about("Measure a server, or a service")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(requests::command())
            .subcommand(api::command())
            .subcommand(watch::command())
            .subcommand(memory::command())
            .subcommand(schedule::command())
            .subcommand(idle::command())
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        match args.subcommand() {
            Some(("requests", own)) => requests::run(own).await,
            Some(("api", own)) => api::run(ctx, own).await,
            Some(("watch", own)) => watch::run(ctx, own).await,
            Some(("memory", own)) => memory::run(ctx, own).await,
            Some(("schedule", own)) => schedule::run(ctx, own).await,
            Some(("idle", own)) => idle::run(own).await,
            _ => Ok(ExitCode::from(2)),
        }
    }
}

/// A flag that takes a number.
fn count_arg(name: &'static str, default: &'static str, help: &'static str) -> Arg {
    Arg::new(name).long(name).value_parser(value_parser!(u64)).default_value(default).help(help)
}

/// The flag of the server's process.
fn pid_arg() -> Arg {
    count_arg("pid", "0", "The server's process, to count its CPU time and memory")
}

/// What a flag that takes a number was given.
fn number_of(args: &ArgMatches, name: &str) -> u64 {
    args.get_one::<u64>(name).copied().unwrap_or_default()
}
