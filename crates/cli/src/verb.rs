//! What a verb is, and what it gets.

use std::process::ExitCode;

use anyhow::Result;
use async_trait::async_trait;
use clap::{ArgMatches, Command};

use crate::client::Api;
use crate::connect::Connection;

/// A verb of the command line. To add one: one file in `verbs/`, its line in `verbs::all()`.
#[async_trait]
pub trait Verb: Send + Sync {
    /// Its name, arguments and help.
    fn command(&self) -> Command;

    /// Whether it must run before any thread or event loop is started (servers, the shim's kin).
    fn is_blocking(&self) -> bool {
        false
    }

    /// Does it, for a blocking verb. `global` holds the flags before the verb.
    ///
    /// # Errors
    /// Whatever kept it from doing so, for one line on stderr.
    fn run_blocking(&self, _global: &ArgMatches, _args: &ArgMatches) -> Result<ExitCode> {
        anyhow::bail!("this verb needs an event loop")
    }

    /// Does it.
    ///
    /// # Errors
    /// Whatever kept it from doing so, for one line on stderr.
    async fn run(&self, _ctx: &Ctx, _args: &ArgMatches) -> Result<ExitCode> {
        anyhow::bail!("this verb runs without an event loop")
    }
}

/// What every verb gets.
pub struct Ctx {
    /// The name the program was called by.
    pub program: &'static str,
    /// Where the cluster is, and who asks.
    pub connection: Connection,
}

impl Ctx {
    pub(crate) fn new(program: &'static str, global: &ArgMatches) -> Result<Self> {
        Ok(Self { program, connection: Connection::from_flags(global)? })
    }

    /// The API, connected on first use.
    ///
    /// # Errors
    /// When there is no kubeconfig, or it does not say where the cluster is.
    pub async fn api(&self) -> Result<Api> {
        Api::connect(&self.connection).await
    }
}
