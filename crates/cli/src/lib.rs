//! The command line: kubectl's verbs, and whatever verbs the composition adds.
//!
//! A verb is one file on the [`Verb`] trait; `verbs::all()` lists them, and help comes from the
//! list. Everything goes through `kube::Client`; nothing here knows a server from the inside. Data
//! goes to stdout, messages for people to stderr. Exit status 0 on success, 1 on failure, 2 on a
//! wrong command line.

pub use clap;

mod client;
mod connect;
mod files;
mod mapper;
pub mod out;
mod print;
mod target;
mod verb;
pub mod verbs;

use std::process::ExitCode;

pub use client::{Api, Failure};
pub use connect::{Connection, parse_duration};
pub use print::table::align;
pub use verb::{Ctx, Verb};

/// Runs a command line (without the program's name) over kubectl's verbs and `own` ones. `program`
/// is the name in help and messages.
#[must_use]
pub fn run(program: &'static str, args: &[String], own: Vec<Box<dyn Verb>>) -> ExitCode {
    let verbs: Vec<Box<dyn Verb>> = own.into_iter().chain(verbs::all()).collect();
    let mut command = clap::Command::new(program)
        .subcommand_required(true)
        .arg_required_else_help(true)
        .disable_version_flag(true)
        .args(connect::global_args());
    for verb in &verbs {
        command = command.subcommand(verb.command());
    }
    let line = std::iter::once(program.to_owned()).chain(args.iter().cloned());
    let matches = match command.try_get_matches_from(line) {
        Ok(matches) => matches,
        Err(error) => {
            // Help goes to stdout and is a success; a wrong line goes to stderr and is 2.
            let _ = error.print();
            return ExitCode::from(if error.use_stderr() { 2 } else { 0 });
        }
    };
    let Some((name, own)) = matches.subcommand() else { return ExitCode::from(2) };
    let Some(verb) = verbs.iter().find(|verb| verb.command().get_name() == name) else {
        return ExitCode::from(2);
    };
    let outcome = if verb.is_blocking() {
        verb.run_blocking(&matches, own)
    } else {
        runtime().and_then(|runtime| {
            runtime.block_on(async { verb.run(&Ctx::new(program, &matches)?, own).await })
        })
    };
    outcome.unwrap_or_else(|error| {
        eprintln!("{}", message(&error));
        ExitCode::FAILURE
    })
}

fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// One line for people: `Error from server (NotFound): pods "x" not found`, or `error: …`.
fn message(error: &anyhow::Error) -> String {
    match error.downcast_ref::<Failure>() {
        Some(failure) => failure.to_string(),
        None => format!("error: {error:#}"),
    }
}
