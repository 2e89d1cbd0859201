//! `create`: make objects from files, or the simple ones from flags.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use api::Value;
use async_trait::async_trait;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use clap::{Arg, ArgAction, ArgMatches, Command};
use serde_json::{Map, json};

use crate::client::Api;
use crate::files;
use crate::mapper::Mapper;
use crate::print::{Output, output_args};
use crate::target;
use crate::verb::{Ctx, Verb};

pub(crate) struct Create;

#[async_trait]
impl Verb for Create {
    fn command(&self) -> Command {
        let name = || Arg::new("name").value_name("NAME").required(true);
        let literal = || {
            Arg::new("from-literal")
                .long("from-literal")
                .value_name("KEY=VALUE")
                .action(ArgAction::Append)
                .help("A key and its value")
        };
        let file = || {
            Arg::new("from-file")
                .long("from-file")
                .value_name("[KEY=]FILE")
                .action(ArgAction::Append)
                .help("A key whose value is a file's content")
        };
        Command::new("create")
            .about("Create a resource from a file or from flags")
            .args(files::file_args())
            .args(common_args())
            .subcommand(
                Command::new("namespace")
                    .visible_alias("ns")
                    .about("Create a namespace")
                    .arg(name())
                    .args(common_args()),
            )
            .subcommand(
                Command::new("configmap")
                    .visible_alias("cm")
                    .about("Create a ConfigMap from literals and files")
                    .args([name(), literal(), file()])
                    .args(common_args()),
            )
            .subcommand(
                Command::new("secret")
                    .about("Create a Secret")
                    .subcommand_required(true)
                    .subcommand(
                        Command::new("generic")
                            .about("Create a Secret from literals and files")
                            .args([name(), literal(), file()])
                            .args(common_args()),
                    ),
            )
            .subcommand(
                Command::new("serviceaccount")
                    .visible_alias("sa")
                    .about("Create a service account")
                    .arg(name())
                    .args(common_args()),
            )
            .subcommand(
                Command::new("deployment")
                    .visible_alias("deploy")
                    .about("Create a Deployment")
                    .arg(name())
                    .arg(
                        Arg::new("image")
                            .long("image")
                            .required(true)
                            .action(ArgAction::Append)
                            .help("The image; may be repeated"),
                    )
                    .arg(
                        Arg::new("replicas")
                            .short('r')
                            .long("replicas")
                            .default_value("1")
                            .value_parser(clap::value_parser!(u32))
                            .help("How many pods"),
                    )
                    .arg(
                        Arg::new("port")
                            .long("port")
                            .value_parser(clap::value_parser!(u16))
                            .help("The port that the container listens on"),
                    )
                    .args(common_args()),
            )
    }

    async fn run(&self, ctx: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let api = ctx.api().await?;
        let mapper = Mapper::discover(&api).await?;
        let Some((kind, own)) = args.subcommand() else {
            if files::names(args).is_empty() {
                bail!("must specify one of -f, or the type of object to create");
            }
            for loaded in files::load(args)? {
                create(&api, &mapper, &loaded.object, args)
                    .await
                    .map_err(|error| about(error, &loaded.source))?;
            }
            return Ok(ExitCode::SUCCESS);
        };
        let (kind, own) = own.subcommand().filter(|_| kind == "secret").unwrap_or((kind, own));
        let object = generate(kind, own)?;
        create(&api, &mapper, &object, own).await?;
        Ok(ExitCode::SUCCESS)
    }
}

fn common_args() -> Vec<Arg> {
    let mut args = output_args();
    args.push(
        Arg::new("dry-run")
            .long("dry-run")
            .value_parser(["none", "server", "client"])
            .default_value("none")
            .num_args(0..=1)
            .default_missing_value("client")
            .require_equals(true)
            .help("Only say what would be done: here (client) or by asking the server"),
    );
    args.push(
        Arg::new("validate")
            .long("validate")
            .default_value("strict")
            .value_parser(["strict", "warn", "ignore", "true", "false"])
            .help("What to do about unknown fields"),
    );
    args
}

/// kubectl's form of a refused creation from a file.
fn about(error: anyhow::Error, source: &str) -> anyhow::Error {
    match error.downcast::<crate::Failure>() {
        Ok(mut failure) => {
            failure.message = failure.message.trim().to_owned();
            let form = format!("error when creating \"{source}\": ");
            if !failure.message.starts_with(&form) && failure.reason != "Invalid" {
                failure.message = format!("{form}{}", failure.message);
            }
            failure.into()
        }
        Err(error) => error,
    }
}

async fn create(api: &Api, mapper: &Mapper, object: &Value, args: &ArgMatches) -> Result<()> {
    let target = target::of_object(api, mapper, object)?;
    let output = Output::from_args(args)?;
    let dry_run = args.get_one::<String>("dry-run").map_or("none", String::as_str);
    let mut made = object.clone();
    if dry_run != "client" {
        let validation = match args.get_one::<String>("validate").map(String::as_str) {
            Some("warn") => "Warn",
            Some("ignore" | "false") => "Ignore",
            _ => "Strict",
        };
        let mut path = format!(
            "{}?fieldManager=kubectl-create&fieldValidation={validation}",
            target.mapping.collection(&target.namespace)
        );
        if dry_run == "server" {
            path.push_str("&dryRun=All");
        }
        made = api.send("POST", &path, object).await?;
    }
    if output.is_table() {
        let suffix = match dry_run {
            "client" => " (dry run)",
            "server" => " (server dry run)",
            _ => "",
        };
        crate::outln!(
            "{}/{} created{suffix}",
            target.mapping.short_form(),
            api::object::name(&made)
        );
        return Ok(());
    }
    if let Some(meta) = made["metadata"].as_object_mut() {
        meta.remove("managedFields");
    }
    output.print(&made, Some(&target.mapping))
}

fn generate(kind: &str, args: &ArgMatches) -> Result<Value> {
    let name = args.get_one::<String>("name").cloned().unwrap_or_default();
    let metadata = json!({ "name": name });
    Ok(match kind {
        "namespace" => json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": metadata }),
        "serviceaccount" => {
            json!({ "apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata })
        }
        "configmap" => {
            let mut data = Map::new();
            for (key, value) in pairs(args)? {
                let text = String::from_utf8(value)
                    .map_err(|_| anyhow::anyhow!("{key} is no text; put it into a Secret"))?;
                data.insert(key, text.into());
            }
            json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data })
        }
        "generic" => {
            let data: Map<_, _> = pairs(args)?
                .into_iter()
                .map(|(key, value)| (key, BASE64.encode(&value).into()))
                .collect();
            json!({ "apiVersion": "v1", "kind": "Secret", "metadata": metadata,
                "type": "Opaque", "data": data })
        }
        "deployment" => deployment(&name, args),
        other => bail!("cannot create a {other} from flags; use -f"),
    })
}

fn deployment(name: &str, args: &ArgMatches) -> Value {
    let labels = json!({ "app": name });
    let images = args.get_many::<String>("image").into_iter().flatten();
    let containers: Vec<Value> = images
        .map(|image| {
            let base = image.rsplit('/').next().unwrap_or(image);
            let base = base.split([':', '@']).next().unwrap_or(base);
            let mut container = json!({ "name": base, "image": image });
            if let Some(port) = args.get_one::<u16>("port") {
                container["ports"] = json!([{ "containerPort": port }]);
            }
            container
        })
        .collect();
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "replicas": args.get_one::<u32>("replicas"),
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": containers } },
        },
    })
}

/// The keys and values of `--from-literal` and `--from-file` (a folder gives all its files).
fn pairs(args: &ArgMatches) -> Result<Vec<(String, Vec<u8>)>> {
    let mut pairs = Vec::new();
    for literal in args.get_many::<String>("from-literal").into_iter().flatten() {
        let (key, value) = literal
            .split_once('=')
            .with_context(|| format!("invalid literal source {literal}, expected key=value"))?;
        pairs.push((key.to_owned(), value.as_bytes().to_vec()));
    }
    for source in args.get_many::<String>("from-file").into_iter().flatten() {
        let (key, path) = match source.split_once('=') {
            Some((key, path)) => (Some(key.to_owned()), path),
            None => (None, source.as_str()),
        };
        let path = std::path::Path::new(path);
        let mut paths = vec![path.to_owned()];
        if path.is_dir() {
            let entries = std::fs::read_dir(path)?.map(|entry| entry.map(|own| own.path()));
            paths = entries.collect::<Result<_, _>>()?;
            paths.retain(|path| path.is_file());
            paths.sort();
        }
        for path in paths {
            let own = path.file_name().map(|name| name.to_string_lossy().into_owned());
            let key = key.clone().or(own).unwrap_or_default();
            let value =
                std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            pairs.push((key, value));
        }
    }
    Ok(pairs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deployment_from_flags() {
        let matches = Create.command().get_matches_from([
            "create",
            "deployment",
            "web",
            "--image=a/b:1",
            "--port",
            "80",
        ]);
        let (kind, own) = matches.subcommand().unwrap();
        let made = generate(kind, own).unwrap();
        let container = &made["spec"]["template"]["spec"]["containers"][0];
        assert_eq!(container["name"], "b");
        assert_eq!(container["ports"][0]["containerPort"], 80);
    }
}
