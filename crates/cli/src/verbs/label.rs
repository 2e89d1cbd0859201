//! `label` and `annotate`: give objects marks, take them away, show them.

use std::process::ExitCode;

use anyhow::{Result, bail};
use api::Value;
use api::object::{annotation, label, labels, name};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, json};

use super::change::{self, DryRun};
use crate::mapper::Mapper;
use crate::target;
use crate::verb::{Ctx, Verb};

/// Which marks a verb sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Marks {
    Labels,
    Annotations,
}

pub(crate) struct Mark(Marks);

impl Mark {
    pub(crate) fn label() -> Self {
        Self(Marks::Labels)
    }

    pub(crate) fn annotate() -> Self {
        Self(Marks::Annotations)
    }
}

#[async_trait]
impl Verb for Mark {
    fn command(&self) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        let (name, about) = match self.0 {
            Marks::Labels => {
                ("label", "Update the labels on a resource: KEY=VALUE sets, KEY- removes")
            }
            Marks::Annotations => {
                ("annotate", "Update the annotations on a resource: KEY=VALUE sets, KEY- removes")
            }
        };
        Command::new(name)
            .about(about)
            .args(target::target_args())
            .arg(flag("overwrite", "Allow a mark to change its value"))
            .arg(flag("all", "All objects of the type in the namespace"))
            .arg(flag("list", "Show the marks"))
            .arg(
                Arg::new("resource-version")
                    .long("resource-version")
                    .help("Only when the object has this version"),
            )
            .arg(change::dry_run_arg())
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let (words, changes) =
            change::split_words(args, |word| word.contains('=') || word.ends_with('-'));
        let wanted = parse(&changes)?;
        let noun = if self.0 == Marks::Labels { "label" } else { "annotation" };
        if wanted.is_empty() && !args.get_flag("list") {
            bail!("at least one {noun} update is required");
        }
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let dry_run = DryRun::from_args(args);
        let targets = change::targets(&api, &mapper, args, &words)?;
        let mut failed = false;
        for (target, object) in target::fetch(&api, &targets, args).await? {
            let form = format!("{}/{}", target.mapping.short_form(), name(&object));
            let outcome = plan(&object, &wanted, self.0, args.get_flag("overwrite"));
            let (patch, verb) = match outcome {
                Ok(planned) => planned,
                Err(error) => {
                    eprintln!("{}", crate::message(&error));
                    failed = true;
                    continue;
                }
            };
            if let Some(mut patch) = patch {
                if let Some(version) = args.get_one::<String>("resource-version") {
                    patch["metadata"]["resourceVersion"] = version.clone().into();
                }
                let path = target.mapping.object(&target.namespace, name(&object));
                let manager =
                    if self.0 == Marks::Labels { "kubectl-label" } else { "kubectl-annotate" };
                change::send(&api, &path, manager, change::MERGE, &patch, dry_run).await?;
            }
            if args.get_flag("list") {
                for (key, value) in listed(&object, self.0) {
                    crate::outln!("{key}={value}");
                }
            } else {
                crate::outln!("{form} {verb}{}", dry_run.suffix());
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn listed(object: &Value, marks: Marks) -> Vec<(String, String)> {
    match marks {
        Marks::Labels => labels(object).map(|(key, value)| (key.into(), value.into())).collect(),
        Marks::Annotations => object["metadata"]["annotations"]
            .as_object()
            .into_iter()
            .flatten()
            .map(|(key, value)| (key.clone(), value.as_str().unwrap_or_default().to_owned()))
            .collect(),
    }
}

/// Keys to set, and keys (without a value) to take away.
fn parse(changes: &[String]) -> Result<Vec<(String, Option<String>)>> {
    let mut wanted: Vec<(String, Option<String>)> = Vec::new();
    for own in changes {
        let (key, value) = match own.split_once('=') {
            Some((key, value)) => (key, Some(value.to_owned())),
            None => (own.strip_suffix('-').unwrap_or(own), None),
        };
        if wanted.iter().any(|(other, set)| other == key && set.is_some() != value.is_some()) {
            bail!("cannot modify and remove the same label");
        }
        wanted.push((key.to_owned(), value));
    }
    Ok(wanted)
}

/// The patch (none when nothing changes), and the word for what it does.
fn plan(
    object: &Value,
    wanted: &[(String, Option<String>)],
    marks: Marks,
    overwrite: bool,
) -> Result<(Option<Value>, &'static str)> {
    let (field, noun) = match marks {
        Marks::Labels => ("labels", "label"),
        Marks::Annotations => ("annotations", "annotation"),
    };
    let current = |key: &str| match marks {
        Marks::Labels => label(object, key),
        Marks::Annotations => annotation(object, key),
    };
    let (mut map, mut set, mut removed) = (Map::new(), false, false);
    for (key, value) in wanted {
        let now = current(key);
        match value {
            Some(value) => {
                if let Some(now) = now.filter(|now| now != value && !overwrite) {
                    bail!("'{key}' already has a value ({now}), and --overwrite is false");
                }
                if now != Some(value) {
                    set = true;
                    map.insert(key.clone(), value.clone().into());
                }
            }
            None if now.is_some() => {
                removed = true;
                map.insert(key.clone(), Value::Null);
            }
            None => crate::outln!("{noun} \"{key}\" not found."),
        }
    }
    let verb = match (marks, set, removed) {
        (Marks::Annotations, ..) => "annotated",
        (_, true, _) => "labeled",
        (_, false, true) => "unlabeled",
        (_, false, false) => "not labeled",
    };
    let patch = (!map.is_empty()).then(|| json!({ "metadata": { field: map } }));
    Ok((patch, verb))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_set_kept_and_taken_away() {
        let own = json!({"metadata": {"labels": {"app": "a"}}});
        let check = |changes: &[&str], overwrite: bool, expected: Option<(Value, &str)>| {
            let changes: Vec<_> = changes.iter().map(|own| (*own).to_owned()).collect();
            let got = plan(&own, &parse(&changes).unwrap(), Marks::Labels, overwrite).ok();
            let expected = expected.map(|(map, verb)| {
                let patch = (!map.is_null()).then(|| json!({"metadata": {"labels": map}}));
                (patch, verb)
            });
            assert_eq!(got, expected);
        };
        check(&["disk=ssd"], false, Some((json!({"disk": "ssd"}), "labeled")));
        check(&["app=b"], false, None);
        check(&["app=b"], true, Some((json!({"app": "b"}), "labeled")));
        check(&["app=a"], false, Some((Value::Null, "not labeled")));
        check(&["app-"], false, Some((json!({"app": null}), "unlabeled")));
        assert!(parse(&["a=1".to_owned(), "a-".to_owned()]).is_err());
    }
}
