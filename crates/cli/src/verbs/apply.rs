//! `apply`: bring objects to what files say, keeping what others have set.

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use api::Value;
use api::object::{annotation, entry, name};
use async_trait::async_trait;
use clap::{Arg, ArgAction, ArgMatches, Command};

use crate::Failure;
use crate::client::{Api, encode};
use crate::files;
use crate::mapper::Mapper;
use crate::print::{Output, output_args};
use crate::target::{self, Target};
use crate::verb::{Ctx, Verb};

/// Where the configuration that was applied last is kept.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";
const STRATEGIC: &str = "application/strategic-merge-patch+json";
const MERGE: &str = "application/merge-patch+json";
const APPLY: &str = "application/apply-patch+yaml";
/// Tries when others write the same object meanwhile.
const TRIES: usize = 5;

pub(crate) struct Apply;

#[async_trait]
impl Verb for Apply {
    fn command(&self) -> Command {
        let flag = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::SetTrue).help(help)
        };
        Command::new("apply")
            .about("Apply a configuration to a resource by file name or stdin")
            .args(files::file_args())
            .args(output_args())
            .arg(flag("server-side", "Let the server merge, by field ownership"))
            .arg(flag("force-conflicts", "Take over fields that others own (server side)"))
            .arg(flag("force", "Delete and create anew what cannot be changed"))
            .arg(
                Arg::new("field-manager")
                    .long("field-manager")
                    .help("The name under which fields are owned"),
            )
            .arg(
                Arg::new("selector")
                    .short('l')
                    .long("selector")
                    .help("Only objects with these labels"),
            )
            .arg(
                Arg::new("dry-run")
                    .long("dry-run")
                    .value_parser(["none", "server", "client"])
                    .default_value("none")
                    .num_args(0..=1)
                    .default_missing_value("client")
                    .require_equals(true)
                    .help("Only say what would be done"),
            )
            .arg(
                Arg::new("validate")
                    .long("validate")
                    .default_value("strict")
                    .num_args(0..=1)
                    .default_missing_value("strict")
                    .require_equals(true)
                    .value_parser(["strict", "warn", "ignore", "true", "false"])
                    .help("What to do about unknown fields"),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        if files::names(args).is_empty() {
            anyhow::bail!("must specify one of -f");
        }
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let output = Output::from_args(args)?;
        let selector = match args.get_one::<String>("selector") {
            Some(text) => Some(api::selector::LabelSelector::parse(text)?),
            None => None,
        };
        let mut failed = false;
        for loaded in files::load(args)? {
            if selector.as_ref().is_some_and(|own| !own.matches_object(&loaded.object)) {
                continue;
            }
            if let Err(error) = apply(&api, &mapper, &loaded.object, args, &output).await {
                failed = true;
                eprintln!("{}", crate::message(&error));
            }
        }
        Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

async fn apply(
    api: &Api,
    mapper: &Mapper,
    object: &Value,
    args: &ArgMatches,
    output: &Output,
) -> Result<()> {
    let target = target::of_object(api, mapper, object)?;
    let (made, verb) = if args.get_flag("server-side") {
        (server_side(api, &target, object, args).await?, "serverside-applied")
    } else {
        client_side(api, &target, object, args).await?
    };
    if !output.is_table() {
        let mut made = made;
        if let Some(meta) = made["metadata"].as_object_mut() {
            meta.remove("managedFields");
        }
        return output.print(&made, Some(&target.mapping));
    }
    let suffix = match dry_run(args) {
        "client" => " (dry run)",
        "server" => " (server dry run)",
        _ => "",
    };
    crate::outln!("{}/{} {verb}{suffix}", target.mapping.short_form(), name(&made));
    Ok(())
}

fn dry_run(args: &ArgMatches) -> &str {
    args.get_one::<String>("dry-run").map_or("none", String::as_str)
}

fn query(args: &ArgMatches, manager: &str) -> String {
    let manager = args.get_one::<String>("field-manager").map_or(manager, String::as_str);
    let validation = match args.get_one::<String>("validate").map(String::as_str) {
        Some("warn") => "Warn",
        Some("ignore" | "false") => "Ignore",
        _ => "Strict",
    };
    let dry = if dry_run(args) == "server" { "&dryRun=All" } else { "" };
    format!("?fieldManager={}&fieldValidation={validation}{dry}", encode(manager))
}

async fn server_side(
    api: &Api,
    target: &Target,
    object: &Value,
    args: &ArgMatches,
) -> Result<Value> {
    let name = target.name.as_deref().context("an applied object needs a name")?;
    let force = args.get_flag("force-conflicts");
    let path = format!(
        "{}{}&force={force}",
        target.mapping.object(&target.namespace, name),
        query(args, "kubectl")
    );
    api.send_as("PATCH", &path, APPLY, object).await
}

async fn client_side(
    api: &Api,
    target: &Target,
    object: &Value,
    args: &ArgMatches,
) -> Result<(Value, &'static str)> {
    let name = target.name.as_deref().context("an applied object needs a name")?;
    let modified = annotated(object)?;
    let path = target.mapping.object(&target.namespace, name);
    for attempt in 1.. {
        let current = match api.get(&path).await {
            Ok(current) => current,
            Err(error) if is_code(&error, 404) => {
                if dry_run(args) == "client" {
                    return Ok((modified, "created"));
                }
                let collection = target.mapping.collection(&target.namespace);
                let path = format!("{collection}{}", query(args, "kubectl-client-side-apply"));
                return Ok((api.send("POST", &path, &modified).await?, "created"));
            }
            Err(error) => return Err(error),
        };
        let (content, patch) = patch(target, &modified, &current)?;
        if patch.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok((current, "unchanged"));
        }
        if annotation(&current, LAST_APPLIED).is_none() {
            eprintln!(
                "Warning: resource {}/{name} is missing the {LAST_APPLIED} annotation which is \
                 required by apply. apply should only be used on resources created declaratively \
                 by either create --save-config or apply. The missing annotation will be patched \
                 automatically.",
                target.mapping.plural
            );
        }
        if dry_run(args) == "client" {
            return Ok((current, "configured"));
        }
        let sent = format!("{path}{}", query(args, "kubectl-client-side-apply"));
        match api.send_as("PATCH", &sent, content, &patch).await {
            Ok(made) => {
                let before = api::object::resource_version(&current);
                let same = before == api::object::resource_version(&made);
                return Ok((made, if same { "unchanged" } else { "configured" }));
            }
            Err(error) if is_code(&error, 409) && attempt < TRIES => {}
            Err(error)
                if args.get_flag("force") && (is_code(&error, 422) || is_code(&error, 409)) =>
            {
                return recreate(api, target, &modified, args).await;
            }
            Err(error) => return Err(error),
        }
    }
    anyhow::bail!("others kept changing {name}")
}

/// `--force`: the object goes, and comes back as the file has it.
async fn recreate(
    api: &Api,
    target: &Target,
    modified: &Value,
    args: &ArgMatches,
) -> Result<(Value, &'static str)> {
    let name = target.name.as_deref().unwrap_or_default();
    super::delete::delete_and_wait(api, target, name).await?;
    let collection = target.mapping.collection(&target.namespace);
    let path = format!("{collection}{}", query(args, "kubectl-client-side-apply"));
    Ok((api.send("POST", &path, modified).await?, "configured"))
}

fn is_code(error: &anyhow::Error, code: u16) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == code)
}

/// The object with itself in its annotation, as the next apply will want it.
fn annotated(object: &Value) -> Result<Value> {
    let mut bare = object.clone();
    if let Some(annotations) = bare.pointer_mut("/metadata/annotations")
        && let Some(annotations) = annotations.as_object_mut()
    {
        annotations.remove(LAST_APPLIED);
    }
    // Like kubectl: the field is there, if empty, and the text ends with a line break.
    let mut kept = bare.clone();
    let slot = entry(&mut kept, &["metadata", "annotations"]);
    if slot.is_null() {
        *slot = Value::Object(serde_json::Map::new());
    }
    let text = format!("{}\n", serde_json::to_string(&kept)?);
    *entry(&mut bare, &["metadata", "annotations", LAST_APPLIED]) = text.into();
    Ok(bare)
}

/// The patch that brings what is there to what the file says: by the kind's schema where there is
/// one, by maps otherwise.
fn patch(target: &Target, modified: &Value, current: &Value) -> Result<(&'static str, Value)> {
    let original: Option<Value> = annotation(current, LAST_APPLIED)
        .map(serde_json::from_str)
        .transpose()
        .context("the last-applied annotation is no JSON")?;
    let own = &target.mapping;
    match api::schema::by_kind(&own.group, &own.version, &own.kind) {
        Some(schema) => {
            let patch = apply::strategic::create_three_way_merge_patch(
                original.as_ref(),
                modified,
                current,
                &schema,
                true,
            )?;
            Ok((STRATEGIC, patch))
        }
        None => {
            let patch = apply::create_three_way_merge_patch(original.as_ref(), modified, current);
            Ok((MERGE, patch))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_annotation_holds_the_object_without_itself() {
        let object = json!({"kind": "Pod", "metadata": {"name": "a"}});
        let once = annotated(&object).unwrap();
        let twice = annotated(&once).unwrap();
        assert_eq!(once, twice);
        assert_eq!(
            annotation(&once, LAST_APPLIED),
            Some("{\"kind\":\"Pod\",\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n")
        );
    }
}
