//! Waits for a file to grow, or to be replaced: the kernel tells, nothing is polled.

use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A watch on one file and the folder that it is in.
pub struct FileWatch {
    inotify: Inotify,
    ready: AsyncFd<OwnedFd>,
}

impl FileWatch {
    /// Begins to watch.
    ///
    /// # Errors
    /// When the kernel has no more watches to give.
    pub fn new(path: &Path) -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        if let Some(folder) = path.parent() {
            // The log is moved away and made anew when it is turned over.
            inotify.add_watch(folder, AddWatchFlags::IN_CREATE | AddWatchFlags::IN_MOVED_TO)?;
        }
        let watch = Self::over(inotify)?;
        watch.on(path);
        Ok(watch)
    }

    /// Begins to watch what is in a folder.
    ///
    /// # Errors
    /// When there is no such folder, or the kernel has no more watches to give.
    pub fn folder(path: &Path) -> std::io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let flags =
            AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVE | AddWatchFlags::IN_DELETE;
        inotify.add_watch(path, flags)?;
        Self::over(inotify)
    }

    fn over(inotify: Inotify) -> std::io::Result<Self> {
        let own = inotify.as_fd().try_clone_to_owned()?;
        #[expect(
            deprecated,
            reason = "its replacement is unsafe; the AsyncFd owns this descriptor, so nobody closes it under it"
        )]
        let ready = AsyncFd::with_interest(own, Interest::READABLE)?;
        Ok(Self { inotify, ready })
    }

    /// Also watches this file, if it is there.
    pub fn on(&self, path: &Path) {
        let _absent = self.inotify.add_watch(path, AddWatchFlags::IN_MODIFY);
    }

    /// Returns when something happened since the last call.
    ///
    /// # Errors
    /// When the kernel's queue cannot be read.
    pub async fn changed(&self) -> std::io::Result<()> {
        loop {
            let mut guard = self.ready.readable().await?;
            match self.inotify.read_events() {
                Ok(events) if !events.is_empty() => return Ok(()),
                Ok(_) | Err(nix::errno::Errno::EAGAIN) => guard.clear_ready(),
                Err(error) => return Err(error.into()),
            }
        }
    }
}
