//! `rollout`: how far a new version has come, what versions there were, and the way back.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use api::Value;
use api::object::{annotation, at, int_at, list_at, name, owner_references, str_at, uid};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use serde_json::json;

use crate::client::{Api, encode};
use crate::connect::parse_duration;
use crate::mapper::Mapper;
use crate::print::table::align;
use crate::target::{self, Target};
use crate::verb::{Ctx, Verb};

const REVISION: &str = "deployment.kubernetes.io/revision";
const CAUSE: &str = "kubernetes.io/change-cause";
const STRATEGIC: &str = "application/strategic-merge-patch+json";

pub(crate) struct Rollout;

#[async_trait]
impl Verb for Rollout {
    fn command(&self) -> Command {
        let own = |name: &'static str, about: &'static str| {
            Command::new(name).about(about).args(target::target_args())
        };
        let number = |name: &'static str, help: &'static str| {
            Arg::new(name)
                .long(name)
                .value_parser(clap::value_parser!(i64))
                .default_value("0")
                .help(help)
        };
        Command::new("rollout")
            .about("Manage the rollout of a Deployment")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .subcommand(
                own("status", "Show the status of the rollout")
                    .arg(
                        Arg::new("timeout")
                            .long("timeout")
                            .default_value("0")
                            .help("How long to wait"),
                    )
                    .arg(number("revision", "Fail when another revision is rolled out"))
                    .arg(
                        Arg::new("watch")
                            .short('w')
                            .long("watch")
                            .value_parser(clap::value_parser!(bool))
                            .default_value("true")
                            .num_args(0..=1)
                            .default_missing_value("true")
                            .require_equals(true)
                            .action(ArgAction::Set)
                            .help("Go on until the rollout is done"),
                    ),
            )
            .subcommand(
                own("history", "Show the revisions")
                    .arg(number("revision", "Show this revision's template")),
            )
            .subcommand(
                own("undo", "Go back to an earlier revision")
                    .arg(number("to-revision", "The revision; the one before by default")),
            )
            .subcommand(own("pause", "Hold changes back"))
            .subcommand(own("resume", "Go on after a pause"))
            .subcommand(own("restart", "Make all pods anew"))
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let Some((what, own)) = args.subcommand() else { return Ok(ExitCode::from(2)) };
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let targets = target::parse(&api, &mapper, own)?;
        for (target, object) in target::fetch(&api, &targets, own).await? {
            match what {
                "status" => status(&api, &target, object, own).await?,
                "history" => history(&api, &mapper, &target, &object, own).await?,
                "undo" => undo(&api, &mapper, &target, &object, own).await?,
                "pause" => pause(&api, &target, &object, true).await?,
                "resume" => pause(&api, &target, &object, false).await?,
                _ => restart(&api, &target, &object).await?,
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

/// Where a rollout stands: what to say, and whether it is done.
fn progress(kind: &str, object: &Value) -> Result<(String, bool)> {
    let name = name(object);
    let spec = |field: &str| int_at(object, &["spec", field]);
    let status = |field: &str| int_at(object, &["status", field]).unwrap_or_default();
    let seen = status("observedGeneration") >= api::object::generation(object);
    match kind {
        "Deployment" => {
            if !seen {
                return Ok(("Waiting for deployment spec update to be observed...".into(), false));
            }
            let late = list_at(object, &["status", "conditions"]).iter().any(|own| {
                str_at(own, &["type"]) == "Progressing"
                    && str_at(own, &["reason"]) == "ProgressDeadlineExceeded"
            });
            if late {
                bail!("deployment \"{name}\" exceeded its progress deadline");
            }
            let wanted = spec("replicas").unwrap_or(1);
            let (all, updated) = (status("replicas"), status("updatedReplicas"));
            let available = status("availableReplicas");
            let waiting = |text: String| {
                (format!("Waiting for deployment \"{name}\" rollout to finish: {text}..."), false)
            };
            Ok(if updated < wanted {
                waiting(format!("{updated} out of {wanted} new replicas have been updated"))
            } else if all > updated {
                waiting(format!("{} old replicas are pending termination", all - updated))
            } else if available < updated {
                waiting(format!("{available} of {updated} updated replicas are available"))
            } else {
                (format!("deployment \"{name}\" successfully rolled out"), true)
            })
        }
        "DaemonSet" => {
            let (wanted, updated) =
                (status("desiredNumberScheduled"), status("updatedNumberScheduled"));
            let available = status("numberAvailable");
            Ok(if !seen {
                ("Waiting for daemon set spec update to be observed...".into(), false)
            } else if updated < wanted {
                (
                    format!(
                        "Waiting for daemon set \"{name}\" rollout to finish: {updated} out of {wanted} new pods have been updated..."
                    ),
                    false,
                )
            } else if available < wanted {
                (
                    format!(
                        "Waiting for daemon set \"{name}\" rollout to finish: {available} of {wanted} updated pods are available..."
                    ),
                    false,
                )
            } else {
                (format!("daemon set \"{name}\" successfully rolled out"), true)
            })
        }
        "StatefulSet" => {
            let (wanted, ready) = (spec("replicas").unwrap_or(1), status("readyReplicas"));
            let (current, update) = (
                str_at(object, &["status", "currentRevision"]),
                str_at(object, &["status", "updateRevision"]),
            );
            Ok(if !seen {
                ("Waiting for statefulset spec update to be observed...".into(), false)
            } else if ready < wanted {
                (format!("Waiting for {} pods to be ready...", wanted - ready), false)
            } else if current != update {
                (
                    format!(
                        "waiting for statefulset rolling update to complete {} pods at revision {update}...",
                        status("updatedReplicas")
                    ),
                    false,
                )
            } else {
                (
                    format!(
                        "statefulset rolling update complete {} pods at revision {current}...",
                        status("currentReplicas")
                    ),
                    true,
                )
            })
        }
        other => bail!("no status viewer has been implemented for {other}"),
    }
}

async fn status(api: &Api, target: &Target, object: Value, args: &ArgMatches) -> Result<()> {
    let limit = parse_duration(args.get_one::<String>("timeout").map_or("0", String::as_str))?;
    let wanted = args.get_one::<i64>("revision").copied().unwrap_or_default();
    if wanted > 0 && annotation(&object, REVISION).and_then(|own| own.parse().ok()) != Some(wanted)
    {
        bail!("desired revision ({wanted}) is different from the running revision");
    }
    let follow = follow(api, target, object, args);
    if limit.is_zero() {
        return follow.await;
    }
    match tokio::time::timeout(limit, follow).await {
        Ok(done) => done,
        Err(_) => bail!("timed out waiting for the condition"),
    }
}

async fn follow(api: &Api, target: &Target, object: Value, args: &ArgMatches) -> Result<()> {
    let mut object = object;
    let mut said = String::new();
    let list = format!(
        "{}?fieldSelector=metadata.name%3D{}",
        target.mapping.collection(&target.namespace),
        encode(target.name.as_deref().unwrap_or_default())
    );
    loop {
        let (text, is_done) = progress(&target.mapping.kind, &object)?;
        if text != said {
            crate::outln!("{text}");
            said = text;
        }
        if is_done || !args.get_one::<bool>("watch").copied().unwrap_or(true) {
            return Ok(());
        }
        let revision = str_at(&object, &["metadata", "resourceVersion"]);
        let path = format!("{list}&watch=true&resourceVersion={revision}");
        let mut lines = api.stream(&path, "application/json").await?.lines();
        let mut next = None;
        while let Some(line) = lines.next().await {
            let event: Value = serde_json::from_str(&line?)?;
            match str_at(&event, &["type"]) {
                "DELETED" => bail!("object has been deleted"),
                "ERROR" => break,
                "BOOKMARK" => {}
                _ => {
                    let (text, is_done) = progress(&target.mapping.kind, &event["object"])?;
                    if text != said || is_done {
                        next = Some(event["object"].clone());
                        break;
                    }
                }
            }
        }
        object = match next {
            Some(next) => next,
            // The watch ended: look again.
            None => {
                let name = target.name.as_deref().unwrap_or_default();
                api.get(&target.mapping.object(&target.namespace, name)).await?
            }
        };
    }
}

/// The ReplicaSets of a Deployment by revision, the oldest first.
async fn revisions(
    api: &Api,
    mapper: &Mapper,
    target: &Target,
    object: &Value,
) -> Result<Vec<(i64, Value)>> {
    if target.mapping.kind != "Deployment" {
        bail!("no history viewer has been implemented for {}", target.mapping.kind);
    }
    let sets = mapper.resource("replicasets.apps")?;
    let list = api.get(&sets.collection(&target.namespace)).await?;
    let mut revisions: Vec<_> = list_at(&list, &["items"])
        .iter()
        .filter(|set| owner_references(set).iter().any(|own| str_at(own, &["uid"]) == uid(object)))
        .filter_map(|set| Some((annotation(set, REVISION)?.parse().ok()?, set.clone())))
        .collect();
    revisions.sort_by_key(|(revision, _)| *revision);
    Ok(revisions)
}

async fn history(
    api: &Api,
    mapper: &Mapper,
    target: &Target,
    object: &Value,
    args: &ArgMatches,
) -> Result<()> {
    let revisions = revisions(api, mapper, target, object).await?;
    let form = target.mapping.short_form();
    let wanted = args.get_one::<i64>("revision").copied().unwrap_or_default();
    if wanted > 0 {
        let (_, set) = revisions
            .iter()
            .find(|(revision, _)| *revision == wanted)
            .with_context(|| format!("unable to find the specified revision {wanted}"))?;
        crate::outln!("{form}/{} with revision #{wanted}", name(object));
        crate::outln!("Pod Template:");
        let template = at(set, &["spec", "template"]).cloned().unwrap_or_default();
        crate::out!("{}", api::yaml::to_string(&template));
        return Ok(());
    }
    crate::outln!("{form}/{} ", name(object));
    let mut rows = vec![vec!["REVISION".to_owned(), "CHANGE-CAUSE".to_owned()]];
    for (revision, set) in &revisions {
        let cause = annotation(set, CAUSE).unwrap_or("<none>");
        rows.push(vec![revision.to_string(), cause.to_owned()]);
    }
    crate::outln!("{}", align(&rows));
    Ok(())
}

async fn undo(
    api: &Api,
    mapper: &Mapper,
    target: &Target,
    object: &Value,
    args: &ArgMatches,
) -> Result<()> {
    let revisions = revisions(api, mapper, target, object).await?;
    if object["spec"]["paused"] == true {
        bail!(
            "cannot rollback a paused deployment; resume it first with 'rollout resume' and try again"
        );
    }
    let wanted = args.get_one::<i64>("to-revision").copied().unwrap_or_default();
    let found = if wanted > 0 {
        revisions
            .iter()
            .find(|(revision, _)| *revision == wanted)
            .with_context(|| format!("unable to find specified revision {wanted} in history"))?
    } else {
        let before = revisions.len().checked_sub(2).and_then(|at| revisions.get(at));
        before.with_context(|| {
            format!("no rollout history found for deployment \"{}\"", name(object))
        })?
    };
    let mut template = found.1["spec"]["template"].clone();
    if let Some(labels) = template.pointer_mut("/metadata/labels").and_then(Value::as_object_mut) {
        labels.remove("pod-template-hash");
    }
    let form = format!("{}/{}", target.mapping.short_form(), name(object));
    if template == object["spec"]["template"] {
        crate::outln!(
            "{form} skipped rollback (current template already matches revision {})",
            found.0
        );
        return Ok(());
    }
    // The whole template is replaced, so that what later revisions added goes too.
    let patch = json!([{ "op": "replace", "path": "/spec/template", "value": template }]);
    let path = target.mapping.object(&target.namespace, name(object));
    let path = format!("{path}?fieldManager=kubectl-rollout");
    api.send_as("PATCH", &path, "application/json-patch+json", &patch).await?;
    crate::outln!("{form} rolled back");
    Ok(())
}

async fn pause(api: &Api, target: &Target, object: &Value, paused: bool) -> Result<()> {
    let form = format!("{}/{}", target.mapping.short_form(), name(object));
    if (object["spec"]["paused"] == true) == paused {
        bail!("{form} is {} paused", if paused { "already" } else { "not" });
    }
    let patch = json!({ "spec": { "paused": paused } });
    let path = target.mapping.object(&target.namespace, name(object));
    let path = format!("{path}?fieldManager=kubectl-rollout");
    api.send_as("PATCH", &path, STRATEGIC, &patch).await?;
    crate::outln!("{form} {}", if paused { "paused" } else { "resumed" });
    Ok(())
}

async fn restart(api: &Api, target: &Target, object: &Value) -> Result<()> {
    let form = format!("{}/{}", target.mapping.short_form(), name(object));
    if object["spec"]["paused"] == true {
        bail!("{form} can't restart paused deployment (run rollout resume first)");
    }
    let now = base::clock::rfc3339_seconds(base::clock::system().now());
    let patch = json!({ "spec": { "template": { "metadata": { "annotations": {
        "kubectl.kubernetes.io/restartedAt": now,
    } } } } });
    let path = target.mapping.object(&target.namespace, name(object));
    let path = format!("{path}?fieldManager=kubectl-rollout");
    api.send_as("PATCH", &path, STRATEGIC, &patch).await?;
    crate::outln!("{form} restarted");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: Value, expected: &str, done: bool) {
        let (text, is_done) = progress("Deployment", &object).unwrap();
        assert!(text.contains(expected), "{text}");
        assert_eq!(is_done, done);
    }

    #[test]
    fn a_deployments_progress_in_kubectls_words() {
        let with = |generation: i64, status: Value| json!({"metadata": {"name": "w", "generation": generation}, "spec": {"replicas": 3}, "status": status});
        check(with(2, json!({"observedGeneration": 1})), "spec update to be observed", false);
        check(
            with(1, json!({"observedGeneration": 1, "updatedReplicas": 1})),
            "1 out of 3 new",
            false,
        );
        check(
            with(1, json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 4})),
            "1 old replicas are pending termination",
            false,
        );
        check(
            with(
                1,
                json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 2}),
            ),
            "2 of 3 updated replicas are available",
            false,
        );
        check(
            with(
                1,
                json!({"observedGeneration": 1, "updatedReplicas": 3, "replicas": 3, "availableReplicas": 3}),
            ),
            "successfully rolled out",
            true,
        );
    }
}
