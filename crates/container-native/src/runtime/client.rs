//! Ferry's side of the shims' sockets.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use container_runtime::{Error, Result};
use tokio::io::Interest;
use tokio::net::UnixStream;

use super::records::ShimProcess;
use crate::shim::fds;
use crate::shim::protocol::{Failure, Message, Request, encode, take_frame};
use crate::shim::{Ready, SUBCOMMAND};

/// A connection to a shim: one operation.
#[derive(Debug)]
pub(super) struct ShimConnection {
    stream: UnixStream,
    buffer: Vec<u8>,
    fds: VecDeque<OwnedFd>,
}

impl ShimConnection {
    /// Connects to the shim of a sandbox's folder.
    pub(super) async fn open(dir: &Path) -> io::Result<Self> {
        // Socket paths are short; a folder's descriptor makes any path short.
        let folder = File::options().read(true).custom_flags(libc::O_PATH).open(dir)?;
        let path = format!("/proc/self/fd/{}/shim.sock", folder.as_raw_fd());
        let stream = UnixStream::connect(path).await?;
        Ok(Self { stream, buffer: Vec::new(), fds: VecDeque::new() })
    }

    pub(super) async fn send(&self, request: &Request, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
        let frame = encode(request)?;
        let (mut sent, mut fds) = (0, fds);
        while sent < frame.len() {
            let socket = &self.stream;
            let step = || fds::send(socket.as_fd(), &frame[sent..], fds);
            sent += socket.async_io(Interest::WRITABLE, step).await?;
            // They went with the first byte.
            fds = &[];
        }
        Ok(())
    }

    /// The next message; none when the shim has hung up.
    pub(super) async fn receive(&mut self) -> io::Result<Option<Message>> {
        loop {
            if let Some(frame) = take_frame(&mut self.buffer)? {
                // A newer shim may say things that this Ferry does not know.
                match serde_json::from_slice(&frame) {
                    Ok(message) => return Ok(Some(message)),
                    Err(error) => tracing::debug!(%error, "a shim's message was skipped"),
                }
                continue;
            }
            let socket = &self.stream;
            let mut chunk = vec![0; 16 * 1024];
            let (length, fds) = socket
                .async_io(Interest::READABLE, || fds::receive(socket.as_fd(), &mut chunk))
                .await?;
            if length == 0 {
                return Ok(None);
            }
            self.buffer.extend_from_slice(&chunk[..length]);
            self.fds.extend(fds);
        }
    }

    /// A descriptor that came with a message.
    pub(super) fn take_fd(&mut self) -> Option<OwnedFd> {
        self.fds.pop_front()
    }

    /// Sends a request and answers the first message that comes back.
    pub(super) async fn ask(
        &mut self,
        request: &Request,
        fds: &[BorrowedFd<'_>],
    ) -> Result<Message> {
        let lost = |error: io::Error| Error::Unavailable(format!("the shim: {error}"));
        self.send(request, fds).await.map_err(lost)?;
        match self.receive().await.map_err(lost)? {
            Some(Message::Failed { kind, message }) => Err(match kind {
                Failure::NotFound => Error::NotFound(message),
                Failure::Precondition => Error::FailedPrecondition(message),
                Failure::Start => Error::Internal(message),
                Failure::Unknown => Error::Unimplemented(message),
            }),
            Some(message) => Ok(message),
            None => Err(Error::Unavailable("the shim has hung up".to_owned())),
        }
    }
}

/// Connects and asks once.
pub(super) async fn ask(dir: &Path, request: &Request) -> Result<Message> {
    let opened = ShimConnection::open(dir).await;
    let mut connection = opened.map_err(|e| Error::Unavailable(format!("the shim: {e}")))?;
    connection.ask(request, &[]).await
}

/// Starts a shim for a folder that holds its `shim.json`. Blocks for some milliseconds.
pub(super) fn spawn(binary: &Path, dir: &Path) -> Result<(ShimProcess, Option<i32>)> {
    let output = Command::new(binary)
        .arg(SUBCOMMAND)
        .arg("serve")
        .arg(dir)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| Error::Internal(format!("run the shim {}: {e}", binary.display())))?;
    if !output.status.success() {
        let why = String::from_utf8_lossy(&output.stderr);
        return Err(Error::Internal(format!("start the shim: {}", why.trim())));
    }
    let ready: Ready = serde_json::from_slice(&output.stdout)
        .map_err(|e| Error::Internal(format!("understand the shim: {e}")))?;
    let start_ticks = start_ticks(ready.pid)
        .ok_or_else(|| Error::Internal("the shim died right away".to_owned()))?;
    Ok((ShimProcess { pid: ready.pid, start_ticks }, ready.pause_pid))
}

/// When a process that has not ended was started, in ticks since boot.
pub(super) fn start_ticks(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; what follows it does not.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    // A zombie has ended, though nobody has asked how yet.
    fields.next().filter(|state| !matches!(*state, "Z" | "X"))?;
    fields.nth(18)?.parse().ok()
}

/// Whether a shim's process is still that shim.
pub(crate) fn shim_is(process: ShimProcess) -> bool {
    start_ticks(process.pid) == Some(process.start_ticks)
}
