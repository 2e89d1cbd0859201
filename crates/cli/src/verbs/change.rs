//! What the verbs that change objects share: `--dry-run`, words of a command line, patches.

use anyhow::Result;
use api::Value;
use clap::{Arg, ArgMatches};

use crate::client::Api;
use crate::mapper::Mapper;
use crate::target::{self, Target};

pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const MERGE: &str = "application/merge-patch+json";

/// How much is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DryRun {
    /// All of it.
    None,
    /// Nothing is sent.
    Client,
    /// The server does all but store it.
    Server,
}

/// `--dry-run`.
pub(super) fn dry_run_arg() -> Arg {
    Arg::new("dry-run")
        .long("dry-run")
        .value_parser(["none", "server", "client"])
        .default_value("none")
        .num_args(0..=1)
        .default_missing_value("client")
        .require_equals(true)
        .help("Only say what would be done: here (client) or by asking the server")
}

impl DryRun {
    pub(super) fn from_args(args: &ArgMatches) -> Self {
        match args.get_one::<String>("dry-run").map(String::as_str) {
            Some("client") => Self::Client,
            Some("server") => Self::Server,
            _ => Self::None,
        }
    }

    /// What messages end with.
    pub(super) fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Client => " (dry run)",
            Self::Server => " (server dry run)",
        }
    }
}

/// The query that every change sends.
pub(super) fn query(manager: &str, dry_run: DryRun) -> String {
    let dry = if dry_run == DryRun::Server { "&dryRun=All" } else { "" };
    format!("?fieldManager={manager}{dry}")
}

/// Sends a patch, unless nothing is to be sent.
pub(super) async fn send(
    api: &Api,
    path: &str,
    manager: &str,
    content: &str,
    patch: &Value,
    dry_run: DryRun,
) -> Result<Option<Value>> {
    if dry_run == DryRun::Client {
        return Ok(None);
    }
    let path = format!("{path}{}", query(manager, dry_run));
    api.send_as("PATCH", &path, content, patch).await.map(Some)
}

/// The words that name objects, and those that say what to change.
pub(super) fn split_words(
    args: &ArgMatches,
    is_change: impl Fn(&str) -> bool,
) -> (Vec<String>, Vec<String>) {
    let all = args.get_many::<String>("targets").into_iter().flatten().cloned();
    // The type comes first, whatever it looks like.
    let has_files = !crate::files::names(args).is_empty();
    let mut at = 0;
    all.partition(|word| {
        at += 1;
        (at == 1 && !has_files) || !is_change(word)
    })
}

/// The objects that `words` name; files and selectors come from `args` as ever.
pub(super) fn targets(
    api: &Api,
    mapper: &Mapper,
    args: &ArgMatches,
    words: &[String],
) -> Result<Vec<Target>> {
    let selects = args.get_flag("all") || args.get_one::<String>("selector").is_some();
    if words.len() == 1 && !words[0].contains('/') && !selects && !args.get_flag("all-namespaces") {
        anyhow::bail!(
            "one or more resources must be specified as <resource> <name> or <resource>/<name>"
        );
    }
    target::parse_words(api, mapper, args, words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_names_or_changes() {
        let check = |line: &[&str], names: &[&str], changes: &[&str]| {
            let command = clap::Command::new("x").args(target::target_args());
            let line = std::iter::once("x").chain(line.iter().copied());
            let args = command.get_matches_from(line);
            let is_change = |word: &str| word.contains('=') || word.ends_with('-');
            let (got_names, got_changes) = split_words(&args, is_change);
            assert_eq!(
                (got_names.as_slice(), got_changes.as_slice()),
                (
                    names.iter().map(|own| (*own).to_owned()).collect::<Vec<_>>().as_slice(),
                    changes.iter().map(|own| (*own).to_owned()).collect::<Vec<_>>().as_slice(),
                )
            );
        };
        check(&["pods", "a", "x=y", "z-"], &["pods", "a"], &["x=y", "z-"]);
        check(&["-f", "file", "x=y"], &[], &["x=y"]);
        check(&["pods/a", "x=y"], &["pods/a"], &["x=y"]);
    }
}
