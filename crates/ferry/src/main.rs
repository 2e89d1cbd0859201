//! The `ferry` binary: what it is depends on the name and the verb that it is called by.
//!
//! [`compose`] alone knows all parts; the verbs in `verbs/` are Ferry's own, next to kubectl's from
//! the `cli` crate.

mod compose;
mod demo;
mod logs;
mod options;
mod pki;
mod server;
mod verbs;

use std::process::ExitCode;

fn main() -> ExitCode {
    // A shim is small and single-threaded: nothing else may run before it.
    if let Some(code) = container_native::shim::dispatch() {
        std::process::exit(code);
    }
    let mut args = std::env::args();
    let called = args.next().unwrap_or_default();
    let args: Vec<String> = args.collect();
    let name = called.rsplit('/').next().unwrap_or_default();
    match name {
        "kubectl" => cli::run("kubectl", &args, Vec::new()),
        _ => cli::run("ferry", &args, verbs::all()),
    }
}
