//! The project's own checks, behind the Makefile: `cargo xtask ci` is what `make check` runs.
//!
//! To add a check: one file with `pub(crate) fn check(root: &Path) -> Result<Vec<String>>`, and its
//! line in [`TIDY`].

mod conformance;
mod files;
mod layers;
mod licenses;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

type Check = fn(&Path) -> Result<Vec<String>>;

/// The tidy checks, each by its name.
const TIDY: &[(&str, Check)] = &[
    ("layers", layers::check),
    ("files", files::check),
    ("licences", licenses::check),
    ("conformance", conformance::check),
];

fn main() -> ExitCode {
    let command = std::env::args().nth(1).unwrap_or_default();
    let done = match command.as_str() {
        "tidy" => tidy(),
        "ci" => ci(),
        _ => {
            eprintln!("usage: cargo xtask tidy | ci");
            return ExitCode::from(2);
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask {command}: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    Ok(own.parent().context("xtask lies below the workspace's root")?.to_owned())
}

fn tidy() -> Result<()> {
    let root = root()?;
    let mut found = 0;
    for (name, check) in TIDY {
        for complaint in check(&root).with_context(|| format!("the check {name} failed"))? {
            eprintln!("tidy/{name}: {complaint}");
            found += 1;
        }
    }
    if found > 0 {
        bail!("{found} complaints");
    }
    eprintln!("tidy: {} checks, nothing to complain of", TIDY.len());
    Ok(())
}

/// Everything that needs no root: format, lints, tidy, unit and in-process tests, docs.
fn ci() -> Result<()> {
    run("cargo", &["fmt", "--all", "--check"])?;
    tidy()?;
    run("cargo", &["clippy", "--workspace", "--all-targets", "--quiet", "--", "-D", "warnings"])?;
    // Tests that need root carry it in their name; `make test` runs them.
    let filter = ["--", "--skip", "root_"];
    run(
        "cargo",
        &[&["test", "--workspace", "--quiet", "--lib", "--bins", "--tests"], &filter[..]].concat(),
    )?;
    run("cargo", &["doc", "--workspace", "--no-deps", "--quiet"])
}

fn run(program: &str, arguments: &[&str]) -> Result<()> {
    eprintln!("+ {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .current_dir(root()?)
        .status()
        .with_context(|| format!("cannot run {program}"))?;
    if !status.success() {
        bail!("{program} {} ended with {status}", arguments.join(" "));
    }
    Ok(())
}
