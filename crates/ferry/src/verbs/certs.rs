//! `certs`: new keys for a cluster, of tokens and of encryption at rest. A running server takes them
//! in by itself; what was signed or encrypted with the former ones goes on being read.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use api::Value;
use cli::Verb;
use cli::clap::{Arg, ArgAction, ArgMatches, Command};

use crate::pki;

const KEYS: &[&str] = &["service-account", "encryption"];

pub(crate) struct Certs;

impl Verb for Certs {
    fn command(&self) -> Command {
        let rotate = Command::new("rotate")
            .about("Make new keys; the former ones are still accepted")
            .arg(
                Arg::new("keys")
                    .value_name("KEYS")
                    .help("Which; all of them by default")
                    .action(ArgAction::Append)
                    .value_parser(KEYS.to_vec()),
            )
            .arg(
                Arg::new("data-dir")
                    .long("data-dir")
                    .env("FERRY_DATA_DIR")
                    .value_name("VALUE")
                    .default_value("/var/lib/ferry")
                    .help("Where the server keeps everything"),
            );
        Command::new("certs")
            .about("Rotate the keys of a cluster")
            .subcommand_required(true)
            .subcommand(rotate)
    }

    fn is_blocking(&self) -> bool {
        true
    }

    fn run_blocking(&self, _: &ArgMatches, args: &ArgMatches) -> Result<ExitCode> {
        let Some(("rotate", args)) = args.subcommand() else { return Ok(ExitCode::FAILURE) };
        let dir = args.get_one::<String>("data-dir").map(PathBuf::from).unwrap_or_default();
        let server = dir.join("server");
        ensure!(server.is_dir(), "there is no server in {}; see --data-dir", dir.display());
        let asked: Vec<&String> = args.get_many("keys").into_iter().flatten().collect();
        let wants = |name: &str| asked.is_empty() || asked.iter().any(|one| *one == name);
        if wants("service-account") {
            pki::tokens::rotate(&server.join("tls"))?;
            cli::outln!("service-account tokens are signed with a new key");
        }
        if wants("encryption") {
            rotate_encryption(&server.join("encryption-key"))?;
            cli::outln!(
                "secrets are encrypted with a new key from their next write on; to rewrite all now:\n  \
                 kubectl get secrets --all-namespaces -o json | kubectl replace -f -"
            );
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn rotate_encryption(path: &Path) -> Result<()> {
    let shown = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read {shown}"))?;
    let now = api::yaml::parse(&text).with_context(|| format!("cannot read {shown}"))?.value;
    let rotated = encryption::with_new_key(&now, &next_name(&now))
        .with_context(|| format!("cannot put a new key into {shown}"))?;
    let text = serde_norway::to_string(&rotated).context("cannot write the keys")?;
    // The server reads it too: what it cannot use must not be there.
    text.parse::<encryption::Encryption>()?;
    pki::write_secret(path, text.as_bytes())
}

/// `keyN`, above all that are there.
fn next_name(configuration: &Value) -> String {
    let keys = configuration.pointer("/resources/0/providers/0/secretbox/keys");
    let names = keys.and_then(Value::as_array).into_iter().flatten().filter_map(|key| {
        let name = key.get("name")?.as_str()?;
        name.strip_prefix("key")?.parse::<u32>().ok()
    });
    format!("key{}", names.max().unwrap_or_default() + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_key_goes_before_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("encryption-key");
        let first = encryption::new_configuration("key1").unwrap();
        std::fs::write(&path, serde_norway::to_string(&first).unwrap()).unwrap();
        rotate_encryption(&path).unwrap();
        rotate_encryption(&path).unwrap();
        let now = api::yaml::parse(&std::fs::read(&path).unwrap()).unwrap().value;
        let keys = now.pointer("/resources/0/providers/0/secretbox/keys").unwrap();
        let names: Vec<_> = keys.as_array().unwrap().iter().map(|key| &key["name"]).collect();
        assert_eq!(names, ["key3", "key2", "key1"]);
    }
}
