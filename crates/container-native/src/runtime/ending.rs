//! Waiting for the end of a process that is not a child: the kernel says it on a pidfd.
//!
//! A socket that is closed is no end: while a process goes, its descriptors go first and its number
//! last, and under load there is a second between them.
#![expect(
    unsafe_code,
    reason = "pidfd_open has no safe call here, and tokio cannot see who owns it"
)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::io::unix::AsyncFd;

use super::client::shim_is;
use super::records::ShimProcess;

/// The end of a shim, to be waited for.
#[derive(Debug)]
pub(super) struct Ending(AsyncFd<OwnedFd>);

impl Ending {
    /// Of a shim that is still there; none when it has ended.
    pub(super) fn of(shim: ShimProcess) -> io::Result<Option<Self>> {
        // SAFETY: the call takes two numbers.
        let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, shim.pid, 0) };
        let fd = match RawFd::try_from(fd) {
            Ok(fd) if fd >= 0 => fd,
            _ => {
                let error = io::Error::last_os_error();
                let gone = error.raw_os_error() == Some(libc::ESRCH);
                return if gone { Ok(None) } else { Err(error) };
            }
        };
        // SAFETY: the kernel has just given it to this process, and nobody else has it.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        // The number may be another process's by now.
        if !shim_is(shim) {
            return Ok(None);
        }
        // SAFETY: the descriptor is owned, and neither closed nor replaced while it is registered.
        let pidfd = unsafe { AsyncFd::register(fd)? };
        Ok(Some(Self(pidfd)))
    }

    /// Returns once the process has ended, reaped or not.
    pub(super) async fn come(&self) {
        // What cannot be waited for has no end; whoever waits has a limit.
        if self.0.readable().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

/// Kills a shim that is still there.
pub(super) fn force(shim: ShimProcess) {
    if shim_is(shim) {
        _ = kill(Pid::from_raw(shim.pid), Signal::SIGKILL);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;
    use std::time::Duration;

    use super::*;
    use crate::runtime::client::start_ticks;

    #[tokio::test]
    async fn an_end_is_seen_before_anybody_reaps_it() {
        let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let shim = ShimProcess { pid, start_ticks: start_ticks(pid).unwrap() };
        let ending = Ending::of(shim).unwrap().expect("it runs");
        let early = tokio::time::timeout(Duration::ZERO, ending.come()).await;
        assert!(early.is_err(), "it has not ended");
        force(shim);
        ending.come().await;
        assert!(Ending::of(shim).unwrap().is_none(), "what waits to be reaped has ended");
        child.wait().unwrap();
        assert!(Ending::of(shim).unwrap().is_none());
        let another = ShimProcess { pid: 1, start_ticks: u64::MAX };
        assert!(Ending::of(another).unwrap().is_none(), "its number is another's now");
    }
}
