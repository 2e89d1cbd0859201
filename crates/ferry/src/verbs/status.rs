//! `status`: whether the local cluster runs, and what of it is not well.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use api::Value;
use api::object::{list_at, name, str_at};
use async_trait::async_trait;
use cli::clap::{Arg, ArgAction, ArgMatches, Command};
use cli::{Api, Ctx, Verb};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use serde_json::json;

/// Between two knocks on the door of a server that is still starting: there is no event for another
/// process's port.
const KNOCK: Duration = Duration::from_millis(50);

/// How long an answer may take.
const ANSWER: Duration = Duration::from_secs(2);
/// How long one look at the nodes goes on before another is taken.
const WATCH: Duration = Duration::from_secs(5);

pub(crate) struct Status;

#[async_trait]
impl Verb for Status {
    fn command(&self) -> Command {
        Command::new("status")
            .about("Show whether the cluster runs, and what of it is not well")
            .arg(
                Arg::new("wait")
                    .long("wait")
                    .action(ArgAction::SetTrue)
                    .help("Wait until the API server and a node are ready"),
            )
            .arg(Arg::new("timeout").long("timeout").default_value("120s").help("How long to wait"))
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_parser(["json"])
                    .help("Print as JSON"),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        if args.get_flag("wait") {
            let text = args.get_one::<String>("timeout").map_or("120s", String::as_str);
            let limit = cli::parse_duration(text)?;
            if tokio::time::timeout(limit, ready(ctx)).await.is_err() {
                bail!("the cluster was not ready within {text}; see the server's log");
            }
        }
        let api = ctx.api().await?;
        let checks = api.get_text("/readyz?verbose").await;
        let nodes = api.get("/api/v1/nodes").await?;
        let version = api.get("/version").await?;
        let shown = json!({
            "server": api.server(),
            "version": str_at(&version, &["gitVersion"]),
            "ready": checks.is_ok(),
            "nodes": list_at(&nodes, &["items"]).iter().map(|node| json!({
                "name": name(node), "ready": is_ready(node),
            })).collect::<Vec<_>>(),
        });
        if args.get_one::<String>("output").is_some() {
            cli::outln!("{shown:#}");
        } else {
            cli::outln!(
                "server   {}  {}",
                str_at(&shown, &["server"]),
                str_at(&shown, &["version"])
            );
            cli::outln!("api      {}", if checks.is_ok() { "ready" } else { "not ready" });
            for node in list_at(&shown, &["nodes"]) {
                let state = if node["ready"] == true { "ready" } else { "not ready" };
                cli::outln!("node     {}  {state}", str_at(node, &["name"]));
            }
        }
        let well =
            checks.is_ok() && list_at(&shown, &["nodes"]).iter().all(|own| own["ready"] == true);
        Ok(if well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn is_ready(node: &Value) -> bool {
    list_at(node, &["status", "conditions"])
        .iter()
        .any(|own| str_at(own, &["type"]) == "Ready" && str_at(own, &["status"]) == "True")
}

/// Waits until the API server answers, then until a node is ready.
async fn ready(ctx: &Ctx) {
    let api = loop {
        // A server that is going down may take a connection and never answer on it.
        if let Ok(api) = ctx.api().await
            && matches!(tokio::time::timeout(ANSWER, api.get_text("/readyz")).await, Ok(Ok(_)))
        {
            break api;
        }
        tokio::time::sleep(KNOCK).await;
    };
    while !matches!(tokio::time::timeout(WATCH, node_ready(&api)).await, Ok(Ok(true))) {
        tokio::time::sleep(KNOCK).await;
    }
}

/// Follows the nodes until one is ready; `false` when the watch ends before.
async fn node_ready(api: &Api) -> Result<bool> {
    let list = api.get("/api/v1/nodes").await?;
    if list_at(&list, &["items"]).iter().any(is_ready) {
        return Ok(true);
    }
    let revision = str_at(&list, &["metadata", "resourceVersion"]);
    let path = format!("/api/v1/nodes?watch=true&resourceVersion={revision}");
    let mut lines = api.stream(&path, "application/json").await?.lines();
    while let Some(line) = lines.next().await {
        let event: Value = serde_json::from_str(&line?)?;
        if is_ready(&event["object"]) {
            return Ok(true);
        }
    }
    Ok(false)
}
