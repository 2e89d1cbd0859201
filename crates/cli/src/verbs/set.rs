//! `set image`: give the containers of a workload other images.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use api::Value;
use api::object::{kind, list_at, name, str_at};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::json;

use super::change::{self, DryRun};
use crate::mapper::Mapper;
use crate::target;
use crate::verb::{Ctx, Verb};

pub(crate) struct Set;

#[async_trait]
impl Verb for Set {
    fn command(&self) -> Command {
        Command::new("set")
            .about("Set specific features on objects")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(
                Command::new("image")
                    .about("Update the image of a pod template")
                    .args(target::target_args())
                    .arg(
                        Arg::new("all")
                            .long("all")
                            .action(ArgAction::SetTrue)
                            .help("All objects of the type in the namespace"),
                    )
                    .arg(change::dry_run_arg()),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let Some((_, args)) = args.subcommand() else { return Ok(ExitCode::from(2)) };
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let (words, changes) = change::split_words(args, |word| word.contains('='));
        let images: Vec<(&str, &str)> =
            changes.iter().filter_map(|own| own.split_once('=')).collect();
        if images.is_empty() {
            bail!("at least one image update is required");
        }
        let dry_run = DryRun::from_args(args);
        let targets = change::targets(&api, &mapper, args, &words)?;
        for (target, object) in target::fetch(&api, &targets, args).await? {
            let form = format!("{}/{}", target.mapping.short_form(), name(&object));
            let (patch, is_change) = patch(&object, &images)
                .with_context(|| format!("cannot set the image of {form}"))?;
            if !is_change {
                continue;
            }
            let path = target.mapping.object(&target.namespace, name(&object));
            change::send(&api, &path, "kubectl-set", change::STRATEGIC, &patch, dry_run).await?;
            crate::outln!("{form} image updated{}", dry_run.suffix());
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a kind keeps its pod's spec.
fn pod_spec_path(kind: &str) -> Result<&'static [&'static str]> {
    Ok(match kind {
        "Pod" => &["spec"],
        "CronJob" => &["spec", "jobTemplate", "spec", "template", "spec"],
        "Deployment"
        | "ReplicaSet"
        | "ReplicationController"
        | "DaemonSet"
        | "StatefulSet"
        | "Job" => &["spec", "template", "spec"],
        other => bail!("{other} has no pod template"),
    })
}

/// The patch that sets images by container name (`*` is all), and whether it changes anything.
fn patch(object: &Value, images: &[(&str, &str)]) -> Result<(Value, bool)> {
    let path = pod_spec_path(kind(object))?;
    let mut spec = json!({});
    let mut is_change = false;
    let mut found = vec![false; images.len()];
    for list in ["initContainers", "containers"] {
        let place: Vec<&str> = path.iter().copied().chain([list]).collect();
        let mut changed = Vec::new();
        for container in list_at(object, &place) {
            let own = str_at(container, &["name"]);
            for (at, (wanted, image)) in images.iter().enumerate() {
                if *wanted == own || *wanted == "*" {
                    found[at] = true;
                    is_change |= str_at(container, &["image"]) != *image;
                    changed.push(json!({ "name": own, "image": image }));
                }
            }
        }
        if !changed.is_empty() {
            spec[list] = changed.into();
        }
    }
    if let Some(at) = found.iter().position(|own| !own) {
        bail!("unable to find container named \"{}\"", images[at].0);
    }
    let whole = path.iter().rev().fold(spec, |inner, field| json!({ *field: inner }));
    Ok((whole, is_change))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_go_to_the_containers_that_are_named() {
        let own = json!({"kind": "Deployment", "spec": {"template": {"spec": {
            "containers": [{"name": "a", "image": "a:1"}, {"name": "b", "image": "b:1"}]}}}});
        let check = |images: &[(&str, &str)], containers: Value, is_change: bool| {
            let (got, got_change) = patch(&own, images).unwrap();
            assert_eq!(got["spec"]["template"]["spec"]["containers"], containers);
            assert_eq!(got_change, is_change);
        };
        check(&[("a", "a:2")], json!([{"name": "a", "image": "a:2"}]), true);
        check(&[("a", "a:1")], json!([{"name": "a", "image": "a:1"}]), false);
        check(
            &[("*", "c:1")],
            json!([{"name": "a", "image": "c:1"}, {"name": "b", "image": "c:1"}]),
            true,
        );
        assert!(patch(&own, &[("x", "y")]).is_err());
        assert!(patch(&json!({"kind": "Service"}), &[("x", "y")]).is_err());
    }
}
