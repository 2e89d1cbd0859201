//! `check`: what this machine lacks to be a node, before anything is started.

use std::process::ExitCode;

use anyhow::Result;
use cli::Verb;
use cli::clap::{Arg, ArgMatches, Command};
use serde_json::json;

pub(crate) struct Check;

impl Verb for Check {
    fn command(&self) -> Command {
        Command::new("check")
            .about("Say what this machine lacks to be a node")
            .arg(Arg::new("output").short('o').long("output").value_parser(["json"]).help("json"))
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn run_blocking(&self, _: &ArgMatches, args: &ArgMatches) -> Result<ExitCode> {
        let findings = findings();
        let all_well = findings.iter().all(|finding| finding.ok);
        if args.get_one::<String>("output").is_some() {
            let all: Vec<_> = findings
                .iter()
                .map(|own| json!({ "what": own.what, "ok": own.ok, "detail": own.detail }))
                .collect();
            cli::outln!("{:#}", json!({ "ok": all_well, "findings": all }));
        } else {
            let rows: Vec<_> = findings
                .iter()
                .map(|own| {
                    let sign = if own.ok { "ok" } else { "missing" };
                    vec![sign.to_owned(), own.what.clone(), own.detail.clone()]
                })
                .collect();
            cli::out!("{}", cli::align(&rows));
        }
        Ok(if all_well { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

struct Finding {
    what: String,
    ok: bool,
    detail: String,
}

fn findings() -> Vec<Finding> {
    let is_root = nix::unistd::geteuid().is_root();
    let root = Finding {
        what: "root".to_owned(),
        ok: is_root,
        detail: if is_root {
            "this is root".to_owned()
        } else {
            "a node needs root: run ferry as root".to_owned()
        },
    };
    let containers = container_native::check().into_iter().map(|own| Finding {
        what: own.what.to_owned(),
        ok: own.ok,
        detail: own.detail,
    });
    let network = net::check::check().into_iter().map(|own| Finding {
        what: own.name.to_owned(),
        ok: own.outcome.is_ok(),
        detail: own.outcome.err().unwrap_or_else(|| "works".to_owned()),
    });
    std::iter::once(root).chain(containers).chain(network).collect()
}
