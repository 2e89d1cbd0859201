//! `bench api`: creates, reads, updates, patches, lists and deletes objects of an API server, at
//! several numbers of clients: operations a second, latencies, and the server's CPU time.

use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use cli::clap::{Arg, ArgMatches, Command, value_parser};
use cli::{Api, Ctx};
use serde_json::{Value, json};

use super::measure::{self, Outcome};
use super::objects::{self, Kind};
use super::{count_arg, number_of, pid_arg};

pub(super) fn command() -> Command {
    Command::new("api")
        .about("Measure create, get, update, patch, list and delete of an API server")
        .arg(count_arg("count", "1000", "How many objects for each number of clients"))
        .arg(count_arg("bytes", "1024", "The size of a ConfigMap's data; 0 makes 2.4 KB Pods"))
        .arg(pid_arg())
        .arg(
            Arg::new("clients")
                .long("clients")
                .value_delimiter(',')
                .value_parser(value_parser!(u64))
                .default_value("1,16,64")
                .help("Numbers of clients"),
        )
}

pub(super) async fn run(ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
    let (count, pid) = (number_of(args, "count"), number_of(args, "pid"));
    let kind = match usize::try_from(number_of(args, "bytes"))? {
        0 => Kind::Pod,
        bytes => Kind::ConfigMap(bytes),
    };
    let api = ctx.api().await?;
    objects::make_namespace(&api).await?;
    println!(
        "{:<10} {:>8} {:>10} {:>10} {:>10} {:>12} {:>10}",
        "operation", "clients", "per s", "p50 ms", "p99 ms", "CPU us each", "budget us"
    );
    for clients in args.get_many::<u64>("clients").into_iter().flatten().copied() {
        for operation in Operation::ALL {
            // Lists carry all objects: fewer of them say as much.
            let count = match operation {
                Operation::List => (count / 50).max(clients),
                _ => count,
            };
            let outcome = measure::measure(ctx, pid, clients, count, move |api, number| {
                operation.run(api, kind, number)
            })
            .await
            .with_context(|| format!("bench {}", operation.name()))?;
            print_row(operation, clients, kind, &outcome);
        }
    }
    objects::remove_all(&api).await?;
    Ok(ExitCode::SUCCESS)
}

fn print_row(operation: Operation, clients: u64, kind: Kind, outcome: &Outcome) {
    let cpu = outcome.cpu_us().map_or("-".to_owned(), |own| format!("{own:.0}"));
    let budget = operation.budget_us(kind, clients).map_or("-".to_owned(), |own| own.to_string());
    println!(
        "{:<10} {clients:>8} {:>10.0} {:>10.2} {:>10.2} {cpu:>12} {budget:>10}",
        operation.name(),
        outcome.rate(),
        outcome.latency_ms(0.5),
        outcome.latency_ms(0.99),
    );
}

/// A kind of operation.
#[derive(Debug, Clone, Copy)]
enum Operation {
    Create,
    Get,
    Update,
    Patch,
    List,
    Delete,
}

impl Operation {
    const ALL: [Self; 6] =
        [Self::Create, Self::Get, Self::Update, Self::Patch, Self::List, Self::Delete];

    fn name(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Get => "get",
            Self::Update => "update",
            Self::Patch => "patch",
            Self::List => "list",
            Self::Delete => "delete",
        }
    }

    /// What the design allows it in CPU time of the server, in microseconds.
    fn budget_us(self, kind: Kind, clients: u64) -> Option<u32> {
        match (self, kind) {
            (Self::Create, Kind::Pod) if clients >= 64 => Some(150),
            (Self::Get, _) => Some(30),
            _ => None,
        }
    }

    async fn run(self, api: Arc<Api>, kind: Kind, number: u64) -> Result<()> {
        let path = kind.path(number);
        match self {
            Self::Create => {
                api.send("POST", &kind.collection(), &kind.object(number)).await?;
            }
            Self::Get => {
                api.get_text(&path).await?;
            }
            // A PUT without a resource version replaces whatever is there.
            Self::Update => {
                let mut object = kind.object(number);
                object["metadata"]["annotations"] = json!({ "updated": number.to_string() });
                api.send("PUT", &path, &object).await?;
            }
            Self::Patch => {
                let patch = json!({ "metadata": { "labels": { "patched": number.to_string() } } });
                api.send_as("PATCH", &path, "application/merge-patch+json", &patch).await?;
            }
            Self::List => {
                api.get_text(&kind.collection()).await?;
            }
            Self::Delete => {
                let options: Value = json!({ "gracePeriodSeconds": 0 });
                api.send("DELETE", &path, &options).await?;
            }
        }
        Ok(())
    }
}
