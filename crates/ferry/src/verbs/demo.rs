//! `demo`: the demo web server, as the built-in images run it.

use std::process::ExitCode;

use anyhow::Result;
use cli::Verb;
use cli::clap::{ArgMatches, Command};

pub(crate) struct Demo;

impl Verb for Demo {
    fn command(&self) -> Command {
        Command::new("demo").about("Run the demo web server on $PORT, or 8080")
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn run_blocking(&self, _: &ArgMatches, _: &ArgMatches) -> Result<ExitCode> {
        crate::demo::run()?;
        Ok(ExitCode::SUCCESS)
    }
}
