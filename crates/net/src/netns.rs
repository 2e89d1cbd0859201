//! Network namespaces: making, binding to a path, and doing something inside one.
//!
//! Invariant: no thread of the caller ever changes its namespace. Work inside a namespace runs on
//! a thread of its own that ends afterwards; a socket opened there stays in that namespace and
//! can be used from anywhere.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, setns, unshare};

use crate::Error;

const OWN: &str = "/proc/thread-self/ns/net";

/// An open network namespace. It lives at least as long as this handle.
#[derive(Debug)]
pub struct NetNs {
    fd: OwnedFd,
}

impl NetNs {
    /// The calling thread's namespace.
    ///
    /// # Errors
    /// `/proc` is not mounted.
    pub fn current() -> Result<Self, Error> {
        Self::open(Path::new(OWN))
    }

    /// The namespace at a path: a bind mount, or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// There is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = File::open(path)
            .map_err(|e| Error::io(format!("open network namespace {}", path.display()), e))?;
        Ok(Self { fd: file.into() })
    }

    /// A new namespace that ends with its last user.
    ///
    /// # Errors
    /// The caller lacks CAP_SYS_ADMIN.
    pub fn new() -> Result<Self, Error> {
        on_thread("making a network namespace", || {
            unshare(CloneFlags::CLONE_NEWNET)
                .map_err(|e| Error::io("make a network namespace", e))?;
            Self::current()
        })?
    }

    /// A new namespace that stays until [`NetNs::unbind`], bound to a file at `path`.
    ///
    /// # Errors
    /// The caller lacks CAP_SYS_ADMIN, or the path cannot be made.
    pub fn new_bound(path: &Path) -> Result<Self, Error> {
        let what = || format!("bind a network namespace to {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| Error::io(what(), e))?;
        }
        File::create_new(path).map_err(|e| Error::io(what(), e))?;
        let made = on_thread("making a network namespace", || {
            unshare(CloneFlags::CLONE_NEWNET).map_err(|e| Error::io(what(), e))?;
            mount(Some(OWN), path, None::<&str>, MsFlags::MS_BIND, None::<&str>)
                .map_err(|e| Error::io(what(), e))?;
            Self::current()
        });
        match made.and_then(|inner| inner) {
            Ok(ns) => Ok(ns),
            Err(error) => {
                // The file alone is of no use, and would make the next attempt fail.
                let _gone = fs::remove_file(path);
                Err(error)
            }
        }
    }

    /// Takes away a path made by [`NetNs::new_bound`]. Nothing there is not an error.
    ///
    /// # Errors
    /// The mount or the file cannot be taken away.
    pub fn unbind(path: &Path) -> Result<(), Error> {
        let what = || format!("unbind the network namespace {}", path.display());
        match umount2(path, MntFlags::MNT_DETACH) {
            // EINVAL: a plain file, left by an attempt that was cut short.
            Ok(()) | Err(nix::Error::EINVAL | nix::Error::ENOENT) => {}
            Err(error) => return Err(Error::io(what(), error)),
        }
        match fs::remove_file(path) {
            Ok(()) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(Error::io(what(), error)),
        }
    }

    /// Runs `work` inside this namespace, on a thread of its own, and waits for it.
    ///
    /// # Errors
    /// The namespace cannot be entered, or `work` panicked.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
        on_thread("work in a network namespace", || {
            setns(&self.fd, CloneFlags::CLONE_NEWNET)
                .map_err(|e| Error::io("enter a network namespace", e))?;
            Ok(work())
        })?
    }

    /// Another handle to the same namespace.
    ///
    /// # Errors
    /// The process has no file descriptor left.
    pub fn try_clone(&self) -> Result<Self, Error> {
        let fd = self.fd.try_clone().map_err(|e| Error::io("copy a namespace handle", e))?;
        Ok(Self { fd })
    }
}

impl AsFd for NetNs {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<OwnedFd> for NetNs {
    fn from(fd: OwnedFd) -> Self {
        Self { fd }
    }
}

fn on_thread<T: Send>(what: &'static str, work: impl FnOnce() -> T + Send) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let builder = std::thread::Builder::new().name("netns".to_owned()).stack_size(256 * 1024);
        let thread =
            builder.spawn_scoped(scope, work).map_err(|e| Error::io("start a thread", e))?;
        thread.join().map_err(|_panic| Error::Thread(what))
    })
}
