//! `bench`: measures; each kind of measurement is a subcommand and a file.

mod api;
mod requests;

use std::process::ExitCode;

use anyhow::Result;
use async_trait::async_trait;
use cli::clap::{ArgMatches, Command};
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
            .subcommand(api::idle_command())
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        match args.subcommand() {
            Some(("requests", own)) => requests::run(own).await,
            Some(("api", own)) => api::run(ctx, own).await,
            Some(("idle", own)) => api::idle(own).await,
            _ => Ok(ExitCode::from(2)),
        }
    }
}
