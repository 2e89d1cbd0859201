//! Exec, attach and port-forward as byte streams.
//!
//! Where CRI answers the URL of a streaming server, these calls answer the streams themselves; a
//! remote runtime connects to that URL behind this seam.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::mpsc;

use crate::error::Result;

/// The end of a pipe that bytes are written to. Shutting it down closes the other side.
pub type ByteWriter = Box<dyn AsyncWrite + Send + Unpin>;
/// The end of a pipe that bytes are read from, until it ends.
pub type ByteReader = Box<dyn AsyncRead + Send + Unpin>;

/// Both directions of a connection.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// A connection into a sandbox, for port-forward.
pub type Connection = Box<dyn Duplex>;

/// The size of a terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub width: u16,
    /// Rows.
    pub height: u16,
}

/// What to run in a container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecRequest {
    /// The container.
    pub container_id: String,
    /// Program and arguments.
    pub cmd: Vec<String>,
    /// With a terminal; then there is no stderr of its own.
    pub tty: bool,
    /// Whether standard input is wanted.
    pub stdin: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

/// Which streams of a running container to attach to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AttachRequest {
    /// The container.
    pub container_id: String,
    /// Whether standard input is wanted; the container must have been created with one.
    pub stdin: bool,
    /// Must equal the container's own `tty`.
    pub tty: bool,
    /// Whether standard output is wanted.
    pub stdout: bool,
    /// Whether standard error is wanted.
    pub stderr: bool,
}

/// What came of a process that was run to its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecSyncResponse {
    /// Captured standard output, at most 16 MiB.
    pub stdout: Bytes,
    /// Captured standard error, at most 16 MiB.
    pub stderr: Bytes,
    /// Exit code; 128 + signal for one that was killed.
    pub exit_code: i32,
}

/// The streams of a process in a container. Dropping them detaches: an exec's process is killed,
/// an attached container goes on.
pub struct ProcessStreams {
    /// Its standard input, if asked for.
    pub stdin: Option<ByteWriter>,
    /// Its standard output, if asked for.
    pub stdout: Option<ByteReader>,
    /// Its standard error, if asked for and there is no terminal.
    pub stderr: Option<ByteReader>,
    /// Takes new sizes of the terminal, if there is one.
    pub resize: Option<mpsc::Sender<TerminalSize>>,
    /// Resolves when the process has ended, to its exit code (128 + signal if it was killed).
    pub exit: BoxFuture<'static, Result<i32>>,
}

impl fmt::Debug for ProcessStreams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProcessStreams")
            .field("stdin", &self.stdin.is_some())
            .field("stdout", &self.stdout.is_some())
            .field("stderr", &self.stderr.is_some())
            .field("resize", &self.resize.is_some())
            .finish_non_exhaustive()
    }
}
