//! `events`: what happened, the oldest first.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use api::Value;
use api::object::{list_at, namespace, str_at};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::{AsyncBufReadExt as _, StreamExt as _};

use super::describe::when;
use crate::client::encode;
use crate::mapper::Mapper;
use crate::print::table::align;
use crate::verb::{Ctx, Verb};

pub(crate) struct Events;

#[async_trait]
impl Verb for Events {
    fn command(&self) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        Command::new("events")
            .about("List events")
            .arg(flag("all-namespaces", "Across all namespaces").short('A'))
            .arg(flag("watch", "Go on with new ones").short('w'))
            .arg(flag("no-headers", "Leave the headings out"))
            .arg(Arg::new("for").long("for").value_name("TYPE/NAME").help("Only about this object"))
            .arg(
                Arg::new("types")
                    .long("types")
                    .value_delimiter(',')
                    .action(ArgAction::Append)
                    .help("Normal, Warning"),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let everywhere = args.get_flag("all-namespaces");
        let mut path = if everywhere {
            "/api/v1/events?".to_owned()
        } else {
            format!("/api/v1/namespaces/{}/events?", api.namespace())
        };
        if let Some(text) = args.get_one::<String>("for") {
            let (kind, name) = text.split_once('/').with_context(|| {
                format!("--for must be in resource/name form, but got \"{text}\"")
            })?;
            let mapper = Mapper::discover(&api).await?;
            let mapping = mapper.resource(kind)?;
            let fields = format!("involvedObject.kind={},involvedObject.name={name}", mapping.kind);
            path.push_str(&format!("fieldSelector={}&", encode(&fields)));
        }
        let types: Vec<&String> = args.get_many("types").into_iter().flatten().collect();
        let is_wanted = |event: &Value| {
            let own = str_at(event, &["type"]);
            types.is_empty() || types.iter().any(|wanted| wanted.eq_ignore_ascii_case(own))
        };
        let list = api.get(&path).await?;
        let mut all: Vec<&Value> =
            list_at(&list, &["items"]).iter().filter(|own| is_wanted(own)).collect();
        all.sort_by_key(|own| when::last_seen(own));
        let mut with_headings = !args.get_flag("no-headers");
        if !all.is_empty() {
            crate::out!("{}", align(&rows(&all, everywhere, with_headings)));
            with_headings = false;
        } else if !args.get_flag("watch") {
            if everywhere {
                eprintln!("No events found.");
            } else {
                eprintln!("No events found in {} namespace.", api.namespace());
            }
        }
        if !args.get_flag("watch") {
            return Ok(ExitCode::SUCCESS);
        }
        let revision = str_at(&list, &["metadata", "resourceVersion"]);
        let path = format!("{path}watch=true&resourceVersion={revision}");
        let mut lines = api.stream(&path, "application/json").await?.lines();
        while let Some(line) = lines.next().await {
            let event: Value = serde_json::from_str(&line?)?;
            let own = &event["object"];
            if ["ADDED", "MODIFIED"].contains(&str_at(&event, &["type"])) && is_wanted(own) {
                crate::out!("{}", align(&rows(&[own], everywhere, with_headings)));
                with_headings = false;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rows(all: &[&Value], with_namespace: bool, with_headings: bool) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    let mut push = |place: &str, cells: [String; 5]| {
        let mut row = if with_namespace { vec![place.to_owned()] } else { Vec::new() };
        row.extend(cells);
        rows.push(row);
    };
    if with_headings {
        push("NAMESPACE", ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"].map(str::to_owned));
    }
    for own in all {
        let part = |path: &[&str]| str_at(own, path).to_owned();
        let kind = str_at(own, &["involvedObject", "kind"]);
        let object = format!("{kind}/{}", str_at(own, &["involvedObject", "name"]));
        let message = str_at(own, &["message"]).trim().to_owned();
        push(
            namespace(own),
            [when::event_age(own), part(&["type"]), part(&["reason"]), object, message],
        );
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn events_in_kubectls_columns() {
        let own = json!({"metadata": {"namespace": "d"}, "type": "Normal", "reason": "Pulled", "message": "m\n",
            "involvedObject": {"kind": "Pod", "name": "p"}});
        let check = |with_namespace: bool, with_headings: bool, expected: &str| {
            assert_eq!(align(&rows(&[&own], with_namespace, with_headings)), expected);
        };
        check(
            false,
            true,
            "LAST SEEN   TYPE     REASON   OBJECT   MESSAGE\n<unknown>   Normal   Pulled   Pod/p    m\n",
        );
        check(true, false, "d   <unknown>   Normal   Pulled   Pod/p   m\n");
    }
}
