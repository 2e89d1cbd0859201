//! `patch` and `replace`: change what is there, by a part or as a whole.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use api::Value;
use api::object::name;
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use super::change::{self, DryRun};
use crate::files;
use crate::mapper::Mapper;
use crate::print::{Output, output_args};
use crate::target;
use crate::verb::{Ctx, Verb};

pub(crate) struct Patch;

#[async_trait]
impl Verb for Patch {
    fn command(&self) -> Command {
        let value = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
        Command::new("patch")
            .about("Update fields of a resource")
            .args(target::target_args())
            .args(output_args())
            .arg(value("patch", "The patch, in JSON or YAML").short('p'))
            .arg(value("patch-file", "A file that has the patch"))
            .arg(
                value("type", "How the patch is meant")
                    .value_parser(["strategic", "merge", "json"])
                    .default_value("strategic"),
            )
            .arg(value("subresource", "status, scale or resize"))
            .arg(change::dry_run_arg())
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let text = match (args.get_one::<String>("patch"), args.get_one::<String>("patch-file")) {
            (Some(text), None) => text.clone(),
            (None, Some(path)) => {
                std::fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?
            }
            (None, None) => {
                bail!("must specify --patch or --patch-file containing the contents of the patch")
            }
            _ => bail!("cannot specify --patch and --patch-file together"),
        };
        let patch = parse(&text)?;
        let content = match args.get_one::<String>("type").map(String::as_str) {
            Some("merge") => change::MERGE,
            Some("json") => "application/json-patch+json",
            _ => change::STRATEGIC,
        };
        let output = Output::from_args(args)?;
        let dry_run = DryRun::from_args(args);
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let targets = target::parse(&api, &mapper, args)?;
        if targets.iter().any(|own| own.name.is_none()) {
            bail!(
                "one or more resources must be specified as <resource> <name> or <resource>/<name>"
            );
        }
        for (target, object) in target::fetch(&api, &targets, args).await? {
            let mut path = target.mapping.object(&target.namespace, name(&object));
            if let Some(part) = args.get_one::<String>("subresource") {
                path.push_str(&format!("/{part}"));
            }
            let made = change::send(&api, &path, "kubectl-patch", content, &patch, dry_run).await?;
            let made = made.unwrap_or_else(|| object.clone());
            if !output.is_table() {
                output.print(&made, Some(&target.mapping))?;
                continue;
            }
            let same = made["metadata"]["resourceVersion"] == object["metadata"]["resourceVersion"];
            let note = if same && dry_run == DryRun::None { " (no change)" } else { "" };
            let form = target.mapping.short_form();
            crate::outln!("{form}/{} patched{note}{}", name(&object), dry_run.suffix());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// A patch in JSON or YAML.
fn parse(text: &str) -> Result<Value> {
    if let Ok(value) = serde_json::from_str(text) {
        return Ok(value);
    }
    let mut all = api::yaml::parse_all(text.as_bytes()).context("unable to parse the patch")?;
    match all.pop() {
        Some(only) if all.is_empty() => Ok(only.value),
        _ => bail!("unable to parse \"{text}\": it is not one document"),
    }
}

pub(crate) struct Replace;

#[async_trait]
impl Verb for Replace {
    fn command(&self) -> Command {
        Command::new("replace")
            .about("Replace a resource by file name or stdin")
            .args(files::file_args())
            .args(output_args())
            .arg(
                Arg::new("force")
                    .long("force")
                    .action(ArgAction::SetTrue)
                    .help("Delete the object and create it anew"),
            )
            .arg(change::dry_run_arg())
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        if files::names(args).is_empty() {
            bail!("must specify --filename to replace");
        }
        let output = Output::from_args(args)?;
        let dry_run = DryRun::from_args(args);
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        for loaded in files::load(args)? {
            let target = target::of_object(&api, &mapper, &loaded.object)?;
            let Some(own) = target.name.clone() else {
                bail!("{}: metadata.name is required", loaded.source)
            };
            let form = target.mapping.short_form();
            let query = change::query("kubectl-replace", dry_run);
            let mut made = loaded.object.clone();
            if args.get_flag("force") && dry_run == DryRun::None {
                match super::delete::delete_and_wait(&api, &target, &own).await {
                    Ok(()) => crate::outln!("{form} \"{own}\" deleted"),
                    Err(error) if is_missing(&error) => {}
                    Err(error) => return Err(error),
                }
                let path = target.mapping.collection(&target.namespace);
                made = api.send("POST", &format!("{path}{query}"), &loaded.object).await?;
            } else if dry_run != DryRun::Client {
                let path = target.mapping.object(&target.namespace, &own);
                made = api.send("PUT", &format!("{path}{query}"), &loaded.object).await?;
            }
            if output.is_table() {
                crate::outln!("{form}/{own} replaced{}", dry_run.suffix());
            } else {
                output.print(&made, Some(&target.mapping))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<crate::Failure>().is_some_and(|own| own.code == 404)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn patches_are_json_or_yaml() {
        let check = |text: &str, expected: Value| assert_eq!(parse(text).unwrap(), expected);
        check(r#"{"a": {"b": 1}}"#, json!({"a": {"b": 1}}));
        check("a:\n  b: 1\n", json!({"a": {"b": 1}}));
        check(r#"[{"op": "remove", "path": "/a"}]"#, json!([{"op": "remove", "path": "/a"}]));
    }
}
