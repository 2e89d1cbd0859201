//! The shim: one small process per pod, between the pod's containers and a Ferry that may come
//! and go.
//!
//! It holds the pod's network, UTS and IPC namespaces by being in them, is the parent of its
//! containers, writes their logs, and remembers how they ended. It is started by running Ferry's
//! own binary again, leaves Ferry's session and keeps nothing of Ferry's open. It has one thread
//! and waits in `poll`; it never creates a container itself but runs a fresh helper for each
//! create and exec, since the container library clones without exec. Invariant: when the shim
//! dies, its containers die (each asks the kernel for SIGKILL on its parent's death, and Ferry
//! kills what is left of their cgroups).
//!
//! The composition calls [`dispatch`] before anything else in `main`: before threads, logging and
//! tokio.

mod attach;
mod cgroups;
mod container;
pub(crate) mod fds;
mod helper;
pub(crate) mod log;
mod notes;
mod operations;
pub(crate) mod protocol;
mod rootfs;
mod serve;
mod server;
mod users;

use std::ffi::OsString;
use std::path::Path;

pub(crate) use cgroups::Groups;
pub(crate) use helper::{Create, Report, report};
pub(crate) use rootfs::Layers;
pub(crate) use serve::{Ready, Setup};
pub(crate) use users::WantedUser;

/// The word that makes Ferry's binary a shim.
pub const SUBCOMMAND: &str = "ferry-shim";

/// Runs the process as a shim or helper if its first argument says so, and answers its exit code;
/// none for any other command line.
#[must_use]
pub fn dispatch() -> Option<i32> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != SUBCOMMAND {
        return None;
    }
    Some(main(&args.collect::<Vec<_>>()))
}

/// Runs a shim or helper with the arguments after [`SUBCOMMAND`]; answers its exit code.
#[must_use]
pub fn main(args: &[OsString]) -> i32 {
    let words: Vec<&str> = args.iter().filter_map(|word| word.to_str()).collect();
    let result = match words.as_slice() {
        ["serve", dir] => serve::serve(Path::new(dir)),
        ["init", dir] => helper::create(Path::new(dir)),
        ["exec", dir, tty, cmd @ ..] => helper::exec(Path::new(dir), *tty == "tty", cmd),
        _ => Err("a shim is started by Ferry, not by hand".to_owned()),
    };
    match result {
        Ok(()) => 0,
        Err(why) => {
            eprintln!("{why}");
            1
        }
    }
}
