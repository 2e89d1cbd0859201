//! `run`: a pod from an image. Flags of old notes are taken too: one line says what they mean today.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use api::Value;
use api::object::name;
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, json};

use super::change::{self, DryRun};
use super::expose;
use crate::mapper::Mapper;
use crate::print::{Output, output_args};
use crate::verb::{Ctx, Verb};

pub(crate) struct Run;

#[async_trait]
impl Verb for Run {
    fn command(&self) -> Command {
        let value = |name: &'static str, help: &'static str| Arg::new(name).long(name).help(help);
        Command::new("run")
            .about("Run a particular image in a pod")
            .arg(Arg::new("name").value_name("NAME").required(true))
            .arg(Arg::new("words").value_name("COMMAND").last(true).action(ArgAction::Append))
            .args(output_args())
            .arg(value("image", "The image").required(true))
            .arg(value("image-pull-policy", "Always, IfNotPresent or Never"))
            .arg(value("restart", "Always, OnFailure or Never").value_parser([
                "Always",
                "OnFailure",
                "Never",
            ]))
            .arg(
                value("port", "The port that the container listens on")
                    .value_parser(clap::value_parser!(u16)),
            )
            .arg(value("labels", "Labels: KEY=VALUE,KEY=VALUE").short('l'))
            .arg(value("annotations", "An annotation; may be repeated").action(ArgAction::Append))
            .arg(value("env", "KEY=VALUE; may be repeated").action(ArgAction::Append))
            .arg(
                Arg::new("command")
                    .long("command")
                    .action(ArgAction::SetTrue)
                    .help("The words after -- are the command, not its arguments"),
            )
            .arg(
                Arg::new("expose")
                    .long("expose")
                    .action(ArgAction::SetTrue)
                    .help("Make a Service for the pod too; needs --port"),
            )
            .arg(value("generator", "Of old notes: run-pod/v1 is a pod").hide(true))
            .arg(
                value("replicas", "Of old notes: a Deployment of so many pods")
                    .value_parser(clap::value_parser!(u32))
                    .hide(true),
            )
            .arg(change::dry_run_arg())
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let plan = plan(args)?;
        if let Some(note) = &plan.note {
            eprintln!("{note}");
        }
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let output = Output::from_args(args)?;
        let dry_run = DryRun::from_args(args);
        let mut objects = vec![plan.object];
        if args.get_flag("expose") {
            let Some(port) = args.get_one::<u16>("port") else {
                bail!("--port must be set when exposing a service");
            };
            let wanted =
                expose::Wanted { port: Some(port.to_string()), ..expose::Wanted::default() };
            objects.insert(0, expose::service(&objects[0], &wanted)?);
        }
        for object in objects {
            let mapping = mapper.of_object(&object)?;
            let mut made = object.clone();
            if dry_run != DryRun::Client {
                let path = mapping.collection(api.namespace());
                let path = format!("{path}{}", change::query("kubectl-run", dry_run));
                made = api.send("POST", &path, &object).await?;
            }
            if output.is_table() {
                crate::outln!(
                    "{}/{} created{}",
                    mapping.short_form(),
                    name(&made),
                    dry_run.suffix()
                );
            } else {
                output.print(&made, Some(mapping))?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

struct Plan {
    object: Value,
    /// What old flags mean today.
    note: Option<String>,
}

fn plan(args: &ArgMatches) -> Result<Plan> {
    let pod = pod(args)?;
    let generator = args.get_one::<String>("generator").map(String::as_str);
    let replicas = args.get_one::<u32>("replicas").copied();
    let name = name(&pod).to_owned();
    let count = replicas.unwrap_or(1);
    let (object, note) = match generator {
        None if replicas.is_none() => (pod, None),
        // A generator for pods never made more than one.
        Some("run-pod/v1") if count <= 1 => {
            let note = "flag --generator is of old notes: `run` makes a pod today, without it";
            (pod, Some(note.to_owned()))
        }
        None | Some("run-pod/v1") => (
            deployment(&pod, count)?,
            Some(format!(
                "flag --replicas is of old notes: it means a Deployment today, as by `create \
                 deployment {name} --image=IMAGE --replicas={count}`"
            )),
        ),
        Some(other) if other.starts_with("deployment/") => (
            deployment(&pod, count)?,
            Some(format!(
                "flag --generator is of old notes: a Deployment is made, as by `create deployment \
                 {name} --image=IMAGE`"
            )),
        ),
        Some(other) => bail!("the generator \"{other}\" is no more; see `create --help`"),
    };
    Ok(Plan { object, note })
}

fn pod(args: &ArgMatches) -> Result<Value> {
    let text = |name: &str| args.get_one::<String>(name).map(String::as_str);
    let name = text("name").unwrap_or_default();
    let labels = match text("labels") {
        Some(text) => pairs(text)?,
        None => Map::from_iter([("run".to_owned(), name.into())]),
    };
    let mut container = json!({ "name": name, "image": text("image") });
    let words: Vec<&String> = args.get_many("words").into_iter().flatten().collect();
    if !words.is_empty() {
        container[if args.get_flag("command") { "command" } else { "args" }] = json!(words);
    }
    if let Some(port) = args.get_one::<u16>("port") {
        container["ports"] = json!([{ "containerPort": port }]);
    }
    if let Some(policy) = text("image-pull-policy") {
        container["imagePullPolicy"] = policy.into();
    }
    let mut env = Vec::new();
    for own in args.get_many::<String>("env").into_iter().flatten() {
        let (key, value) = own.split_once('=').with_context(|| format!("invalid env: {own}"))?;
        env.push(json!({ "name": key, "value": value }));
    }
    if !env.is_empty() {
        container["env"] = env.into();
    }
    let mut pod = json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": { "name": name, "labels": labels },
        "spec": { "containers": [container], "restartPolicy": text("restart").unwrap_or("Always") },
    });
    for own in args.get_many::<String>("annotations").into_iter().flatten() {
        let (key, value) =
            own.split_once('=').with_context(|| format!("invalid annotation: {own}"))?;
        pod["metadata"]["annotations"][key] = value.into();
    }
    Ok(pod)
}

fn deployment(pod: &Value, replicas: u32) -> Result<Value> {
    if pod["spec"]["restartPolicy"] != "Always" {
        bail!("a Deployment's pods are always restarted: leave --restart out, or --replicas");
    }
    let metadata = &pod["metadata"];
    Ok(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata,
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": metadata["labels"] },
            "template": { "metadata": { "labels": metadata["labels"] }, "spec": pod["spec"] },
        },
    }))
}

/// `a=b,c=d`, with quotes of old notes taken off.
pub(super) fn pairs(text: &str) -> Result<Map<String, Value>> {
    text.trim_matches('"')
        .split(',')
        .filter(|own| !own.is_empty())
        .map(|own| {
            let (key, value) =
                own.split_once('=').with_context(|| format!("invalid label spec: {own}"))?;
            Ok((key.trim().to_owned(), Value::from(value)))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn planned(line: &[&str]) -> Result<Plan> {
        let line = std::iter::once("run").chain(line.iter().copied());
        plan(&Run.command().get_matches_from(line))
    }

    #[test]
    fn old_flags_say_what_they_mean() {
        let check = |line: &[&str], kind: &str, has_note: bool| {
            let plan = planned(line).unwrap();
            assert_eq!(api::object::kind(&plan.object), kind, "{line:?}");
            assert_eq!(plan.note.is_some(), has_note, "{line:?}");
        };
        check(&["kuard", "--image=k:1"], "Pod", false);
        check(&["kuard", "--generator=run-pod/v1", "--image=k:1"], "Pod", true);
        check(
            &["web", "--image=k:1", "--replicas=1", "--port=8080", "--labels=app=a,env=p"],
            "Deployment",
            true,
        );
        check(&["web", "--image=k:1", "--generator=deployment/apps.v1"], "Deployment", true);
        assert!(planned(&["web", "--image=k:1", "--generator=x/v1"]).is_err());
        assert!(planned(&["web", "--image=k:1", "--replicas=2", "--restart=Never"]).is_err());
    }

    #[test]
    fn a_pod_from_flags() {
        let plan = planned(&[
            "b",
            "--image=busybox",
            "--restart=Never",
            "--env=A=1",
            "--command",
            "--",
            "sh",
            "-c",
            "ls",
        ]);
        let pod = plan.unwrap().object;
        assert_eq!(pod["spec"]["containers"][0]["command"], json!(["sh", "-c", "ls"]));
        assert_eq!(pod["spec"]["containers"][0]["env"], json!([{"name": "A", "value": "1"}]));
        assert_eq!(pod["spec"]["restartPolicy"], "Never");
        assert_eq!(pod["metadata"]["labels"], json!({"run": "b"}));
    }
}
