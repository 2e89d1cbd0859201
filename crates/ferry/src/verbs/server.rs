//! `server`: the control plane and, unless told otherwise, a node in one process.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use cli::Verb;
use cli::clap::{ArgMatches, Command};

use crate::{compose, logs, options};

pub(crate) struct Server;

impl Verb for Server {
    fn command(&self) -> Command {
        Command::new("server")
            .about("Run a server: the control plane, and a node with it")
            .args(options::args())
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn run_blocking(&self, global: &ArgMatches, args: &ArgMatches) -> Result<ExitCode> {
        let options = options::parse(global, args)?;
        if args.get_flag("clean") {
            return compose::clean(&options).map(|()| ExitCode::SUCCESS);
        }
        let verbosity = global.get_one::<String>("v").and_then(|text| text.parse().ok());
        let clock = base::clock::system();
        let rings = logs::start(verbosity.unwrap_or(0), clock.clone());
        tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .context("cannot start the event loop")?
            .block_on(compose::run(options, clock, rings))?;
        Ok(ExitCode::SUCCESS)
    }
}
