//! `delete`: take objects away, and wait until they are gone.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use api::Value;
use api::object::{list_at, str_at, uid};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use serde_json::json;

use crate::Failure;
use crate::client::{Api, encode};
use crate::connect::parse_duration;
use crate::mapper::Mapper;
use crate::target::{self, Target};
use crate::verb::{Ctx, Verb};

pub(crate) struct Delete;

#[async_trait]
impl Verb for Delete {
    fn command(&self) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        Command::new("delete")
            .about("Delete resources by file, name, or selector")
            .args(target::target_args())
            .arg(flag("all", "All objects of the types"))
            .arg(flag("now", "Shut down at once, as with --grace-period=1"))
            .arg(flag("force", "Do not wait for the kubelet to confirm"))
            .arg(flag("ignore-not-found", "Missing objects are no error"))
            .arg(
                Arg::new("grace-period")
                    .long("grace-period")
                    .allow_negative_numbers(true)
                    .value_parser(clap::value_parser!(i64))
                    .default_value("-1")
                    .help("Seconds to shut down in; the object's own when negative"),
            )
            .arg(
                Arg::new("cascade")
                    .long("cascade")
                    .value_parser(["background", "foreground", "orphan"])
                    .default_value("background")
                    .help("What becomes of dependents"),
            )
            .arg(
                Arg::new("wait")
                    .long("wait")
                    .value_parser(clap::value_parser!(bool))
                    .default_value("true")
                    .num_args(0..=1)
                    .default_missing_value("true")
                    .require_equals(true)
                    .help("Wait until the objects are gone"),
            )
            .arg(Arg::new("timeout").long("timeout").default_value("0").help("How long to wait"))
            .arg(
                Arg::new("output")
                    .short('o')
                    .long("output")
                    .value_parser(["name"])
                    .help("Only print names"),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let targets = target::parse(&api, &mapper, args)?;
        let selects = args.get_flag("all")
            || args.get_one::<String>("selector").is_some()
            || args.get_one::<String>("field-selector").is_some();
        if args.get_flag("all") && args.get_one::<String>("selector").is_some() {
            bail!("setting 'all' parameter but found a non empty selector");
        }
        if targets.iter().any(|target| target.name.is_none()) && !selects {
            bail!("resource(s) were provided, but no name was specified; name them, or say --all");
        }
        if args.get_flag("force") {
            eprintln!(
                "Warning: Immediate deletion does not wait for confirmation that the running \
                 resource has been terminated. The resource may continue to run on the cluster \
                 indefinitely."
            );
        }
        let (mut gone, mut failed) = (Vec::new(), false);
        for (target, uid) in expand(&api, &targets, args, &mut failed).await? {
            match delete(&api, &target, args).await {
                Ok(found) => gone.push((target, found.unwrap_or(uid))),
                Err(error) => report(&error, args, &mut failed),
            }
        }
        if gone.is_empty() && !failed && !args.get_flag("ignore-not-found") {
            crate::outln!("No resources found");
        }
        let waits = args.get_one::<bool>("wait").copied().unwrap_or(true);
        if waits && !args.get_flag("force") {
            let limit = args.get_one::<String>("timeout").map_or("0", String::as_str);
            wait(&api, &gone, parse_duration(limit)?).await?;
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn report(error: &anyhow::Error, args: &ArgMatches, failed: &mut bool) {
    let is_missing = error.downcast_ref::<Failure>().is_some_and(|own| own.code == 404);
    if !(is_missing && args.get_flag("ignore-not-found")) {
        *failed = true;
        eprintln!("{}", crate::message(error));
    }
}

/// Each object by name, with its UID where it is known already.
async fn expand(
    api: &Api,
    targets: &[Target],
    args: &ArgMatches,
    failed: &mut bool,
) -> Result<Vec<(Target, String)>> {
    let mut all = Vec::new();
    for target in targets {
        if target.name.is_some() {
            all.push((target.clone(), String::new()));
            continue;
        }
        match target::fetch(api, std::slice::from_ref(target), args).await {
            Ok(found) => {
                all.extend(found.into_iter().map(|(own, object)| (own, uid(&object).to_owned())));
            }
            Err(error) => report(&error, args, failed),
        }
    }
    Ok(all)
}

/// Deletes one object; the UID that the server's answer names.
async fn delete(api: &Api, target: &Target, args: &ArgMatches) -> Result<Option<String>> {
    let mut options = json!({ "apiVersion": "v1", "kind": "DeleteOptions" });
    let cascade = args.get_one::<String>("cascade").map_or("background", String::as_str);
    options["propagationPolicy"] = match cascade {
        "foreground" => "Foreground",
        "orphan" => "Orphan",
        _ => "Background",
    }
    .into();
    let mut grace = args.get_one::<i64>("grace-period").copied().unwrap_or(-1);
    if args.get_flag("now") {
        grace = 1;
    } else if args.get_flag("force") && grace < 0 {
        grace = 0;
    }
    if grace == 0 && !args.get_flag("force") {
        // kubectl's rule: an immediate end must be asked for twice.
        grace = 1;
    }
    if grace >= 0 {
        options["gracePeriodSeconds"] = grace.into();
    }
    let name = target.name.as_deref().unwrap_or_default();
    let path = target.mapping.object(&target.namespace, name);
    let answer = api.send("DELETE", &path, &options).await?;
    let form = target.mapping.short_form();
    if args.get_one::<String>("output").is_some() {
        crate::outln!("{form}/{name}");
    } else {
        let how = if grace == 0 { "force deleted" } else { "deleted" };
        let place = if target.namespace.is_empty() {
            String::new()
        } else {
            format!(" from {} namespace", target.namespace)
        };
        crate::outln!("{form} \"{name}\" {how}{place}");
    }
    let found = match str_at(&answer, &["kind"]) {
        "Status" => str_at(&answer, &["details", "uid"]),
        _ => uid(&answer),
    };
    Ok(Some(found).filter(|uid| !uid.is_empty()).map(str::to_owned))
}

/// Deletes one object and waits until it is gone.
pub(super) async fn delete_and_wait(api: &Api, target: &Target, name: &str) -> Result<()> {
    let path = target.mapping.object(&target.namespace, name);
    let answer = api.send("DELETE", &path, &json!({ "propagationPolicy": "Background" })).await?;
    let found = match str_at(&answer, &["kind"]) {
        "Status" => str_at(&answer, &["details", "uid"]),
        _ => uid(&answer),
    };
    until_gone(api, target, found).await
}

/// Waits until all these objects are gone; for ever when the limit is zero.
async fn wait(api: &Api, gone: &[(Target, String)], limit: Duration) -> Result<()> {
    let all = async {
        for (target, uid) in gone {
            until_gone(api, target, uid).await?;
        }
        anyhow::Ok(())
    };
    if limit.is_zero() {
        return all.await;
    }
    match tokio::time::timeout(limit, all).await {
        Ok(done) => done,
        Err(_) => bail!("timed out waiting for the condition"),
    }
}

/// Waits for the deletion event of an object, or finds that it is gone, or another.
async fn until_gone(api: &Api, target: &Target, expected: &str) -> Result<()> {
    let name = target.name.as_deref().unwrap_or_default();
    let collection = target.mapping.collection(&target.namespace);
    let list = format!("{collection}?fieldSelector=metadata.name%3D{}", encode(name));
    loop {
        let current = match api.get(&list).await {
            Ok(current) => current,
            // Without the right to list there is nothing to wait by; the deletion was accepted.
            Err(error) if error.downcast_ref::<Failure>().is_some() => return Ok(()),
            Err(error) => return Err(error),
        };
        let is_there = |object: &Value| expected.is_empty() || uid(object) == expected;
        if !list_at(&current, &["items"]).iter().any(is_there) {
            return Ok(());
        }
        let revision = str_at(&current, &["metadata", "resourceVersion"]);
        let path = format!("{list}&watch=true&resourceVersion={revision}");
        let mut lines = api.stream(&path, "application/json").await?.lines();
        while let Some(Ok(line)) = lines.next().await {
            let event: Value = serde_json::from_str(&line)?;
            match str_at(&event, &["type"]) {
                "DELETED" => return Ok(()),
                // The watch is too old: begin anew.
                "ERROR" => break,
                _ => {}
            }
        }
    }
}
