//! `image`: the images of this node, on its own files; a running server sees what is done at once.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use async_trait::async_trait;
use cli::clap::{Arg, ArgAction, ArgMatches, Command};
use cli::{Ctx, Verb};
use container_native::image::{BuildConfig, Credentials, ImageStore, StoredImage};
use serde_json::json;

pub(crate) struct Image;

#[async_trait]
impl Verb for Image {
    fn command(&self) -> Command {
        let names =
            || Arg::new("names").value_name("IMAGE").required(true).action(ArgAction::Append);
        let list = |name: &'static str, help: &'static str| {
            Arg::new(name).long(name).action(ArgAction::Append).allow_hyphen_values(true).help(help)
        };
        let login = || {
            [
                Arg::new("username").long("username").help("The registry's user"),
                Arg::new("password").long("password").help("The user's password"),
            ]
        };
        Command::new("image")
            .about("Manage the images of this node")
            .subcommand_required(true)
            .arg_required_else_help(true)
            .arg(
                Arg::new("data-dir")
                    .long("data-dir")
                    .env("FERRY_DATA_DIR")
                    .default_value("/var/lib/ferry")
                    .global(true)
                    .help("Where the node keeps everything"),
            )
            .subcommand(
                Command::new("import")
                    .about("Import OCI and docker archives")
                    .arg(
                        Arg::new("files")
                            .value_name("FILE")
                            .required(true)
                            .action(ArgAction::Append),
                    )
                    .arg(Arg::new("tag").short('t').long("tag").help("Name the image so")),
            )
            .subcommand(
                Command::new("build")
                    .about("Make an image of a folder or tar, as one layer")
                    .arg(Arg::new("folder").value_name("FOLDER|TAR").required(true))
                    .arg(
                        Arg::new("tag")
                            .short('t')
                            .long("tag")
                            .required(true)
                            .action(ArgAction::Append)
                            .help("The image's name; may be repeated"),
                    )
                    .arg(list("entrypoint", "The program and its first arguments, one each"))
                    .arg(list("cmd", "The arguments that a pod may replace, one each"))
                    .arg(list("env", "KEY=VALUE").short('e'))
                    .arg(list("port", "A port that it listens on"))
                    .arg(list("label", "KEY=VALUE").short('l'))
                    .arg(Arg::new("workdir").long("workdir").help("Where it starts"))
                    .arg(Arg::new("user").long("user").help("USER[:GROUP]")),
            )
            .subcommand(
                Command::new("pull")
                    .about("Fetch images from their registries")
                    .arg(names())
                    .args(login()),
            )
            .subcommand(
                Command::new("push")
                    .about("Send images to their registries")
                    .arg(names())
                    .args(login()),
            )
            .subcommand(Command::new("ls").visible_alias("list").about("List the images").arg(
                Arg::new("output").short('o').long("output").value_parser(["json"]).help("json"),
            ))
            .subcommand(Command::new("rm").about("Remove images, or names of them").arg(names()))
            .subcommand(
                Command::new("tag")
                    .about("Give an image another name")
                    .arg(Arg::new("image").required(true))
                    .arg(Arg::new("name").required(true)),
            )
            .subcommand(
                Command::new("save").about("Write images into an OCI archive").arg(names()).arg(
                    Arg::new("output").short('o').long("output").required(true).help("The file"),
                ),
            )
    }

    async fn run(&self, _: &Ctx, args: &ArgMatches) -> Result<ExitCode> {
        let Some((what, own)) = args.subcommand() else { return Ok(ExitCode::from(2)) };
        let dir = args.get_one::<String>("data-dir").map_or("/var/lib/ferry", String::as_str);
        let dir = Path::new(dir).join("agent/images");
        let store = ImageStore::open(&dir).with_context(|| {
            format!("cannot open the images in {}; run this as root", dir.display())
        })?;
        match what {
            "import" => import(&store, own)?,
            "build" => build(&store, own)?,
            "pull" => {
                for name in many(own, "names") {
                    let image = store.pull(&name, &credentials(own), None).await?;
                    announce(&image);
                }
            }
            "push" => {
                for name in many(own, "names") {
                    cli::outln!("{name} {}", store.push(&name, &credentials(own)).await?);
                }
            }
            "ls" => list(&store, own)?,
            "rm" => {
                for name in many(own, "names") {
                    for removed in store.remove(&name)? {
                        cli::outln!("removed {removed}");
                    }
                }
            }
            "tag" => store.tag(one(own, "image"), one(own, "name"))?,
            _ => {
                let path = one(own, "output");
                let file =
                    std::fs::File::create(path).with_context(|| format!("cannot write {path}"))?;
                store.save(&many(own, "names"), file)?;
            }
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn one<'a>(args: &'a ArgMatches, name: &str) -> &'a str {
    args.get_one::<String>(name).map_or("", String::as_str)
}

fn many(args: &ArgMatches, name: &str) -> Vec<String> {
    args.get_many::<String>(name).into_iter().flatten().cloned().collect()
}

fn credentials(args: &ArgMatches) -> Credentials {
    match (args.get_one::<String>("username"), args.get_one::<String>("password")) {
        (Some(username), Some(password)) => Credentials::Basic(username.clone(), password.clone()),
        _ => Credentials::Anonymous,
    }
}

fn announce(image: &StoredImage) {
    for name in &image.names {
        cli::outln!("{name}");
    }
}

fn import(store: &ImageStore, args: &ArgMatches) -> Result<()> {
    let tag = args.get_one::<String>("tag").map(String::as_str);
    let files = many(args, "files");
    if tag.is_some() && files.len() > 1 {
        bail!("--tag names one image; import the files one at a time");
    }
    for file in files {
        let images = if file == "-" {
            store.import_stream(std::io::stdin().lock(), tag)
        } else {
            store.import(Path::new(&file), tag)
        };
        let images = images.with_context(|| format!("cannot import {file}"))?;
        images.iter().for_each(announce);
    }
    Ok(())
}

fn build(store: &ImageStore, args: &ArgMatches) -> Result<()> {
    let folder = PathBuf::from(one(args, "folder"));
    let labels = many(args, "label")
        .into_iter()
        .map(|label| match label.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => bail!("--label {label}: expected KEY=VALUE"),
        })
        .collect::<Result<_>>()?;
    let config = BuildConfig {
        entrypoint: many(args, "entrypoint"),
        cmd: many(args, "cmd"),
        env: many(args, "env"),
        working_dir: one(args, "workdir").to_owned(),
        exposed_ports: many(args, "port"),
        user: one(args, "user").to_owned(),
        labels,
        ..BuildConfig::default()
    };
    let image = store
        .build(&folder, &config, &many(args, "tag"))
        .with_context(|| format!("cannot make an image of {}", folder.display()))?;
    announce(&image);
    Ok(())
}

fn list(store: &ImageStore, args: &ArgMatches) -> Result<()> {
    let images = store.list()?;
    if args.get_one::<String>("output").is_some() {
        let all: Vec<_> = images
            .iter()
            .map(|image| json!({ "id": image.id, "names": image.names, "size": image.size }))
            .collect();
        cli::outln!("{:#}", json!(all));
        return Ok(());
    }
    let mut rows = vec![["IMAGE", "ID", "SIZE"].map(str::to_owned).to_vec()];
    for image in &images {
        let id = image.id.trim_start_matches("sha256:").chars().take(12).collect::<String>();
        let size = format!("{} KiB", image.size.div_ceil(1024));
        let names =
            if image.names.is_empty() { vec!["<none>".to_owned()] } else { image.names.clone() };
        rows.extend(names.into_iter().map(|name| vec![name, id.clone(), size.clone()]));
    }
    cli::out!("{}", cli::align(&rows));
    Ok(())
}
