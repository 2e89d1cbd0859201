//! `wait`: until objects are as wanted. Everything comes from watches; the only timer is the limit.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use api::Value;
use api::object::{list_at, str_at};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::{AsyncBufReadExt as _, StreamExt as _};

use crate::client::{Api, encode};
use crate::connect::parse_duration;
use crate::mapper::Mapper;
use crate::target::{self, Target};
use crate::verb::{Ctx, Verb};
use api::jsonpath::Template;

/// What a negative limit means, as kubectl has it.
const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);

pub(crate) struct Wait;

#[async_trait]
impl Verb for Wait {
    fn command(&self) -> Command {
        Command::new("wait")
            .about("Wait for a specific condition on one or many resources")
            .args(target::target_args())
            .arg(
                Arg::new("for")
                    .long("for")
                    .required(true)
                    .action(ArgAction::Append)
                    .help("delete, create, condition=NAME[=VALUE] or jsonpath={PATH}[=VALUE]"),
            )
            .arg(
                Arg::new("timeout")
                    .long("timeout")
                    .default_value("30s")
                    .allow_hyphen_values(true)
                    .help("How long to wait; 0 looks once, a negative time is a week"),
            )
            .arg(Arg::new("all").long("all").action(ArgAction::SetTrue).help("All of the type"))
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let wanted: Vec<Wanted> = args
            .get_many::<String>("for")
            .into_iter()
            .flatten()
            .map(|text| Wanted::parse(text))
            .collect::<Result<_>>()?;
        let text = args.get_one::<String>("timeout").map_or("30s", String::as_str);
        let limit = if text.starts_with('-') { WEEK } else { parse_duration(text)? };
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let mut targets = Vec::new();
        for target in target::parse(&api, &mapper, args)? {
            if target.name.is_some() {
                targets.push(target);
            } else {
                let found = target::fetch(&api, std::slice::from_ref(&target), args).await?;
                targets.extend(found.into_iter().map(|(own, _)| own));
            }
        }
        if targets.is_empty() {
            if wanted.iter().all(|own| *own == Wanted::Deleted) {
                return Ok(ExitCode::SUCCESS);
            }
            bail!("no matching resources found");
        }
        for wanted in &wanted {
            let all = targets.iter().map(|target| one(&api, target, wanted, limit));
            let mut failed = false;
            for outcome in futures::future::join_all(all).await {
                if let Err(error) = outcome {
                    eprintln!("{}", crate::message(&error));
                    failed = true;
                }
            }
            if failed {
                return Ok(ExitCode::FAILURE);
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// What is waited for.
#[derive(Debug, PartialEq)]
enum Wanted {
    /// The object is gone.
    Deleted,
    /// The object is there.
    Created,
    /// A condition has this status; both without regard to case.
    Condition { kind: String, status: String },
    /// A path has this value, or any when none is said.
    Path { template: Template, value: Option<String> },
}

impl Wanted {
    fn parse(text: &str) -> Result<Self> {
        if let Some(rest) = text.strip_prefix("condition=") {
            let (kind, status) = rest.split_once('=').unwrap_or((rest, "true"));
            return Ok(Self::Condition { kind: kind.to_owned(), status: status.to_owned() });
        }
        if let Some(rest) = text.strip_prefix("jsonpath=") {
            let (path, value) = match rest.rfind("}=") {
                Some(at) => (&rest[..=at], Some(rest[at + 2..].trim_matches(['\'', '"']))),
                None if rest.contains('{') => (rest, None),
                None => match rest.rsplit_once('=') {
                    Some((path, value)) => (path, Some(value)),
                    None => (rest, None),
                },
            };
            let value = value.map(str::to_owned);
            if value.as_deref() == Some("") {
                bail!("jsonpath wait value cannot be empty");
            }
            return Ok(Self::Path { template: Template::parse(path)?, value });
        }
        match text.to_lowercase().as_str() {
            "delete" => Ok(Self::Deleted),
            "create" => Ok(Self::Created),
            _ => bail!("unrecognized condition: \"{text}\""),
        }
    }

    fn is_met(&self, object: Option<&Value>) -> bool {
        match (self, object) {
            (Self::Deleted, object) => object.is_none(),
            (_, None) => false,
            (Self::Created, Some(_)) => true,
            (Self::Condition { kind, status }, Some(object)) => {
                let seen = object["status"]["observedGeneration"].as_i64();
                let is_fresh = seen.is_none_or(|seen| seen >= api::object::generation(object));
                is_fresh
                    && list_at(object, &["status", "conditions"]).iter().any(|own| {
                        str_at(own, &["type"]).eq_ignore_ascii_case(kind)
                            && str_at(own, &["status"]).eq_ignore_ascii_case(status)
                    })
            }
            (Self::Path { template, value }, Some(object)) => {
                let got = template.render(object).unwrap_or_default();
                match value {
                    Some(value) => got == *value,
                    None => !got.is_empty(),
                }
            }
        }
    }
}

async fn one(api: &Api, target: &Target, wanted: &Wanted, limit: Duration) -> Result<()> {
    let name = target.name.as_deref().unwrap_or_default();
    let form = format!("{}/{name}", target.mapping.plural);
    let timed_out = || format!("timed out waiting for the condition on {form}");
    if limit.is_zero() {
        let (object, _) = look(api, target).await?;
        if !wanted.is_met(object.as_ref()) {
            bail!(timed_out());
        }
    } else {
        match tokio::time::timeout(limit, until(api, target, wanted)).await {
            Ok(done) => done?,
            Err(_) => bail!(timed_out()),
        }
    }
    crate::outln!("{}/{name} condition met", target.mapping.short_form());
    Ok(())
}

fn list_path(target: &Target) -> String {
    let name = target.name.as_deref().unwrap_or_default();
    let list = target.mapping.collection(&target.namespace);
    format!("{list}?fieldSelector=metadata.name%3D{}", encode(name))
}

/// The object, if it is there, and the version to watch from.
async fn look(api: &Api, target: &Target) -> Result<(Option<Value>, String)> {
    let list = api.get(&list_path(target)).await?;
    let revision = str_at(&list, &["metadata", "resourceVersion"]).to_owned();
    Ok((list_at(&list, &["items"]).first().cloned(), revision))
}

async fn until(api: &Api, target: &Target, wanted: &Wanted) -> Result<()> {
    let mut is_first = true;
    loop {
        let (object, revision) = look(api, target).await?;
        if wanted.is_met(object.as_ref()) {
            return Ok(());
        }
        if is_first && object.is_none() && *wanted != Wanted::Created {
            // The server's own words for what is not there.
            let name = target.name.as_deref().unwrap_or_default();
            api.get(&target.mapping.object(&target.namespace, name)).await?;
        }
        is_first = false;
        let path = format!("{}&watch=true&resourceVersion={revision}", list_path(target));
        let mut lines = api.stream(&path, "application/json").await?.lines();
        while let Some(Ok(line)) = lines.next().await {
            let event: Value = serde_json::from_str(&line).context("the watch is no JSON")?;
            let object = match str_at(&event, &["type"]) {
                "DELETED" => None,
                "ERROR" => break,
                "BOOKMARK" => continue,
                _ => Some(&event["object"]),
            };
            if wanted.is_met(object) {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_waited_for() {
        let pod = json!({"metadata": {"name": "p"}, "status": {"phase": "Running",
            "conditions": [{"type": "Ready", "status": "True"}]}});
        let check = |text: &str, object: Option<&Value>, expected: bool| {
            assert_eq!(Wanted::parse(text).unwrap().is_met(object), expected, "{text}");
        };
        check("delete", None, true);
        check("delete", Some(&pod), false);
        check("create", Some(&pod), true);
        check("condition=Ready", Some(&pod), true);
        check("condition=ready=false", Some(&pod), false);
        check("condition=Ready", None, false);
        check("jsonpath={.status.phase}=Running", Some(&pod), true);
        check("jsonpath={.status.phase}=Pending", Some(&pod), false);
        check("jsonpath={.status.podIP}", Some(&pod), false);
        check("jsonpath=.status.phase=Running", Some(&pod), true);
        assert!(Wanted::parse("x").is_err());
    }

    #[test]
    fn an_old_status_meets_nothing() {
        let own = json!({"metadata": {"generation": 2}, "status": {"observedGeneration": 1,
            "conditions": [{"type": "Available", "status": "True"}]}});
        assert!(!Wanted::parse("condition=Available").unwrap().is_met(Some(&own)));
    }
}
