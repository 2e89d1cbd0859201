//! `logs`: what a container has written.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Result, bail};
use api::Value;
use api::object::{annotation, at, list_at, name, str_at};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::AsyncReadExt as _;

use crate::client::{Api, encode};
use crate::connect::parse_duration;
use crate::mapper::Mapper;
use crate::out::Out;
use crate::verb::{Ctx, Verb};

pub(crate) struct Logs;

#[async_trait]
impl Verb for Logs {
    fn command(&self) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        let value = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
        Command::new("logs")
            .about("Print the logs of a container in a pod")
            .arg(Arg::new("target").value_name("POD | TYPE/NAME"))
            .arg(Arg::new("positional-container").value_name("CONTAINER").hide(true))
            .arg(value("container", "The container").short('c'))
            .arg(value("selector", "Label query for the pods").short('l'))
            .arg(flag("follow", "Go on printing what is written").short('f'))
            .arg(flag("previous", "The container's instance before this one").short('p'))
            .arg(flag("timestamps", "Begin each line with its time"))
            .arg(flag("all-containers", "All containers of the pod"))
            .arg(flag("prefix", "Begin each line with its pod and container"))
            .arg(
                value("tail", "How many of the last lines; all when negative")
                    .allow_negative_numbers(true)
                    .value_parser(clap::value_parser!(i64)),
            )
            .arg(value("since", "Only lines newer than this (5s, 2m, 3h)"))
            .arg(value("since-time", "Only lines after this time (RFC 3339)"))
            .arg(
                value("limit-bytes", "At most this many bytes")
                    .value_parser(clap::value_parser!(u64)),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let pods = pods(&api, args).await?;
        if pods.is_empty() {
            eprintln!("No resources found in {} namespace.", api.namespace());
            return Ok(ExitCode::SUCCESS);
        }
        let mut sources = Vec::new();
        for pod in &pods {
            for container in containers(pod, args)? {
                sources.push((name(pod).to_owned(), container));
            }
        }
        let with_prefix = args.get_flag("prefix");
        let copies = sources.iter().map(|(pod, container)| {
            let prefix =
                if with_prefix { format!("[pod/{pod}/{container}] ") } else { String::new() };
            copy(&api, pod, container, prefix, args)
        });
        if args.get_flag("follow") {
            futures::future::try_join_all(copies).await?;
        } else {
            for copy in copies {
                copy.await?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

async fn pods(api: &Api, args: &ArgMatches) -> Result<Vec<Value>> {
    let collection = format!("/api/v1/namespaces/{}/pods", api.namespace());
    if let Some(selector) = args.get_one::<String>("selector") {
        let list = api.get(&format!("{collection}?labelSelector={}", encode(selector))).await?;
        return Ok(list_at(&list, &["items"]).to_vec());
    }
    let Some(target) = args.get_one::<String>("target") else {
        bail!("expected 'logs [-f] POD', 'logs TYPE/NAME' or 'logs -l SELECTOR'");
    };
    let Some((kind, name)) = target.split_once('/') else {
        return Ok(vec![api.get(&format!("{collection}/{}", encode(target))).await?]);
    };
    let mapper = Mapper::discover(api).await?;
    let mapping = mapper.resource(kind)?;
    let object = api.get(&mapping.object(api.namespace(), name)).await?;
    if mapping.kind == "Pod" {
        return Ok(vec![object]);
    }
    let selector = at(&object, &["spec", "selector"]);
    let labels = selector.and_then(|own| own.get("matchLabels").or(Some(own)));
    let Some(labels) = labels.and_then(Value::as_object).filter(|labels| !labels.is_empty()) else {
        bail!("cannot get the logs from {target}: it selects no pods");
    };
    let query: Vec<_> = labels
        .iter()
        .filter_map(|(key, value)| Some(format!("{key}={}", value.as_str()?)))
        .collect();
    let list = api.get(&format!("{collection}?labelSelector={}", encode(&query.join(",")))).await?;
    let all = list_at(&list, &["items"]);
    if all.len() > 1 {
        eprintln!("Found {} pods, using pod/{}", all.len(), self::name(&all[0]));
    }
    Ok(all.iter().take(1).cloned().collect())
}

fn containers(pod: &Value, args: &ArgMatches) -> Result<Vec<String>> {
    let names = |list: &str| -> Vec<String> {
        list_at(pod, &["spec", list]).iter().map(|own| str_at(own, &["name"]).to_owned()).collect()
    };
    if args.get_flag("all-containers") {
        return Ok([names("initContainers"), names("containers")].concat());
    }
    let asked = args
        .get_one::<String>("container")
        .or_else(|| args.get_one::<String>("positional-container"));
    if let Some(asked) = asked {
        return Ok(vec![asked.clone()]);
    }
    let all = names("containers");
    if let Some(default) = annotation(pod, "kubectl.kubernetes.io/default-container") {
        return Ok(vec![default.to_owned()]);
    }
    let Some(first) = all.first() else { bail!("pod {} has no containers", name(pod)) };
    if all.len() > 1 {
        eprintln!(
            "Defaulted container \"{first}\" out of: {}",
            [
                all.clone(),
                names("initContainers").iter().map(|own| format!("{own} (init)")).collect()
            ]
            .concat()
            .join(", ")
        );
    }
    Ok(vec![first.clone()])
}

async fn copy(
    api: &Api,
    pod: &str,
    container: &str,
    prefix: String,
    args: &ArgMatches,
) -> Result<()> {
    let mut path = format!(
        "/api/v1/namespaces/{}/pods/{}/log?container={}",
        api.namespace(),
        encode(pod),
        encode(container)
    );
    for flag in ["follow", "previous", "timestamps"] {
        if args.get_flag(flag) {
            path.push_str(&format!("&{flag}=true"));
        }
    }
    if let Some(tail) = args.get_one::<i64>("tail").filter(|tail| **tail >= 0) {
        path.push_str(&format!("&tailLines={tail}"));
    } else if args.get_one::<String>("selector").is_some() && args.get_one::<i64>("tail").is_none()
    {
        // With a selector, kubectl shows the last ten lines of each.
        path.push_str("&tailLines=10");
    }
    if let Some(bytes) = args.get_one::<u64>("limit-bytes") {
        path.push_str(&format!("&limitBytes={bytes}"));
    }
    if let Some(since) = args.get_one::<String>("since") {
        path.push_str(&format!("&sinceSeconds={}", parse_duration(since)?.as_secs().max(1)));
    }
    if let Some(time) = args.get_one::<String>("since-time") {
        path.push_str(&format!("&sinceTime={}", encode(time)));
    }
    let mut stream = Box::pin(api.stream(&path, "*/*").await?);
    let mut buffer = vec![0; 16 << 10];
    let mut at_line_start = true;
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        let mut out = Out;
        if prefix.is_empty() {
            out.write_all(&buffer[..count])?;
        } else {
            for line in buffer[..count].split_inclusive(|byte| *byte == b'\n') {
                if at_line_start {
                    out.write_all(prefix.as_bytes())?;
                }
                out.write_all(line)?;
                at_line_start = line.ends_with(b"\n");
            }
        }
        out.flush()?;
    }
}
