//! `version`: what this program is, and what the server is.

use std::process::ExitCode;

use anyhow::Result;
use api::object::str_at;
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use crate::verb::{Ctx, Verb};
use api::yaml;

/// The version of Kubernetes that Ferry is, with its own behind it.
pub(crate) const GIT_VERSION: &str = concat!("v1.36.0+ferry", env!("CARGO_PKG_VERSION_MINOR"));

pub(crate) struct Version;

#[async_trait]
impl Verb for Version {
    fn command(&self) -> Command {
        Command::new("version")
            .about("Print the client and server version information")
            .arg(
                Arg::new("client")
                    .long("client")
                    .action(ArgAction::SetTrue)
                    .help("Only this program's"),
            )
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_parser(["json", "yaml"])
                    .help("json or yaml"),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let client = json!({ "major": "1", "minor": "36", "gitVersion": GIT_VERSION });
        let server = if args.get_flag("client") {
            None
        } else {
            Some(ctx.api().await?.get("/version").await?)
        };
        let mut all = json!({ "clientVersion": client });
        if let Some(server) = &server {
            all["serverVersion"] = server.clone();
        }
        match args.get_one::<String>("output").map(String::as_str) {
            Some("json") => crate::outln!("{}", serde_json::to_string_pretty(&all)?),
            Some(_) => crate::out!("{}", yaml::to_string(&all)),
            None => {
                crate::outln!("Client Version: {GIT_VERSION}");
                if let Some(server) = server {
                    crate::outln!("Server Version: {}", str_at(&server, &["gitVersion"]));
                }
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}
