//! The master side of a terminal, for tokio.
#![expect(unsafe_code, reason = "tokio cannot see for itself that a descriptor stays open")]

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::shim::fds;

/// A terminal; clones share it.
#[derive(Debug, Clone)]
pub(super) struct Terminal(Arc<AsyncFd<OwnedFd>>);

impl Terminal {
    pub(super) fn new(fd: OwnedFd) -> io::Result<Self> {
        fds::set_nonblocking(&fd)?;
        // SAFETY: the descriptor is owned, and neither closed nor replaced while it is registered.
        let registered = unsafe { AsyncFd::register(fd)? };
        Ok(Self(Arc::new(registered)))
    }

    pub(super) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        fds::set_window_size(self.0.get_ref().as_fd(), width, height)
    }
}

impl AsyncRead for Terminal {
    fn poll_read(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut guard = ready!(self.0.poll_read_ready(ctx))?;
            let space = buffer.initialize_unfilled();
            let read = |fd: &AsyncFd<OwnedFd>| Ok(nix::unistd::read(fd.get_ref(), space)?);
            match guard.try_io(read) {
                Ok(Ok(length)) => {
                    buffer.advance(length);
                    return Poll::Ready(Ok(()));
                }
                // The other side is closed: that is the end.
                Ok(Err(error)) if error.raw_os_error() == Some(libc::EIO) => {
                    return Poll::Ready(Ok(()));
                }
                Ok(Err(error)) => return Poll::Ready(Err(error)),
                Err(_would_block) => {}
            }
        }
    }
}

impl AsyncWrite for Terminal {
    fn poll_write(
        self: Pin<&mut Self>,
        ctx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            let mut guard = ready!(self.0.poll_write_ready(ctx))?;
            let write = |fd: &AsyncFd<OwnedFd>| Ok(nix::unistd::write(fd.get_ref(), bytes)?);
            if let Ok(result) = guard.try_io(write) {
                return Poll::Ready(result);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _ctx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
