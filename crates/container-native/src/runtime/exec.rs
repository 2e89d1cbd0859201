//! Exec, attach and port-forward. The bytes do not pass through the shim for exec: it hands the
//! ends of Ferry's own pipes to the command.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use bytes::Bytes;
use container_runtime::{
    AttachRequest, ByteReader, ByteWriter, Connection, Error, ExecRequest, ExecSyncResponse,
    ProcessStreams, Result, TerminalSize,
};
use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, setns};
use nix::unistd::pipe2;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;

use super::client::{self, ShimConnection, shim_is};
use super::terminal::Terminal;
use super::{NativeRuntime, internal};
use crate::shim::protocol::{Message, Request};

/// Most bytes that one output of a command that is run to its end may have.
const OUTPUT_BYTES_MAX: u64 = 16 << 20;

/// How long outputs may stay open after a command has ended: something in the background holds
/// them.
const DRAIN: Duration = Duration::from_secs(2);

fn io_error(error: impl std::fmt::Display) -> Error {
    internal("make streams", error)
}

/// A pipe to read from, and its other end.
fn output() -> Result<(pipe::Receiver, OwnedFd)> {
    let (ours, theirs) = pipe2(OFlag::O_CLOEXEC).map_err(io_error)?;
    Ok((pipe::Receiver::from_owned_fd(ours).map_err(io_error)?, theirs))
}

/// A pipe to write to, and its other end.
fn input() -> Result<(pipe::Sender, OwnedFd)> {
    let (theirs, ours) = pipe2(OFlag::O_CLOEXEC).map_err(io_error)?;
    Ok((pipe::Sender::from_owned_fd(ours).map_err(io_error)?, theirs))
}

fn null() -> Result<OwnedFd> {
    crate::shim::fds::dev_null().map_err(io_error)
}

/// Waits for a command's or container's end on its connection.
async fn until_exit(mut connection: ShimConnection) -> Result<i32> {
    loop {
        match connection.receive().await {
            Ok(Some(Message::Exited { exit, .. })) => return Ok(exit.code),
            Ok(Some(_)) => {}
            // The shim died, and took the process along.
            Ok(None) | Err(_) => return Ok(137),
        }
    }
}

impl NativeRuntime {
    async fn connect(&self, container: &str) -> Result<ShimConnection> {
        let sandbox = self.state.lock().running(container)?.sandbox.clone();
        let opened = ShimConnection::open(&self.sandbox_dir(&sandbox)).await;
        opened.map_err(|e| Error::Unavailable(format!("the shim: {e}")))
    }

    pub(super) async fn run_exec(&self, request: &ExecRequest) -> Result<ProcessStreams> {
        let id = &request.container_id;
        if request.cmd.is_empty() {
            return Err(Error::InvalidArgument("there is no command".to_owned()));
        }
        let mut connection = self.connect(id).await?;
        let ask = Request::Exec { id: id.clone(), cmd: request.cmd.clone(), tty: request.tty };
        if request.tty {
            connection.ask(&ask, &[]).await?;
            let terminal = connection.take_fd().ok_or_else(|| io_error("no terminal came"))?;
            let terminal = Terminal::new(terminal).map_err(io_error)?;
            let (sizes, mut resize) = mpsc::channel::<TerminalSize>(4);
            let screen = terminal.clone();
            tokio::spawn(async move {
                while let Some(size) = resize.recv().await {
                    // A terminal that is gone has no size.
                    drop(screen.resize(size.width, size.height));
                }
            });
            return Ok(ProcessStreams {
                stdin: request.stdin.then(|| Box::new(terminal.clone()) as ByteWriter),
                stdout: request.stdout.then(|| Box::new(terminal) as ByteReader),
                stderr: None,
                resize: Some(sizes),
                exit: Box::pin(until_exit(connection)),
            });
        }
        let (stdin, their_stdin) = if request.stdin {
            let (ours, theirs) = input()?;
            (Some(Box::new(ours) as ByteWriter), theirs)
        } else {
            (None, null()?)
        };
        let reader = |wanted: bool| -> Result<(Option<ByteReader>, OwnedFd)> {
            if !wanted {
                return Ok((None, null()?));
            }
            let (ours, theirs) = output()?;
            Ok((Some(Box::new(ours) as ByteReader), theirs))
        };
        let (stdout, their_stdout) = reader(request.stdout)?;
        let (stderr, their_stderr) = reader(request.stderr)?;
        let theirs = [their_stdin.as_fd(), their_stdout.as_fd(), their_stderr.as_fd()];
        connection.ask(&ask, &theirs).await?;
        Ok(ProcessStreams {
            stdin,
            stdout,
            stderr,
            resize: None,
            exit: Box::pin(until_exit(connection)),
        })
    }

    pub(super) async fn run_exec_sync(
        &self,
        id: &str,
        cmd: &[String],
        timeout: Duration,
    ) -> Result<ExecSyncResponse> {
        let request = ExecRequest {
            container_id: id.to_owned(),
            cmd: cmd.to_vec(),
            stdout: true,
            stderr: true,
            ..ExecRequest::default()
        };
        let run = async {
            let streams = self.run_exec(&request).await?;
            let (mut out, mut err) = (Vec::new(), Vec::new());
            let mut exit = streams.exit;
            let code = {
                let outputs = async {
                    tokio::join!(
                        collect(streams.stdout, &mut out),
                        collect(streams.stderr, &mut err)
                    );
                };
                tokio::pin!(outputs);
                tokio::select! {
                    () = &mut outputs => exit.await?,
                    code = &mut exit => {
                        // Take what is still on its way, but do not wait for a daemon's silence.
                        drop(tokio::time::timeout(DRAIN, &mut outputs).await);
                        code?
                    }
                }
            };
            Ok((code, out, err))
        };
        // Giving up drops the connection, which kills the command.
        let done = if timeout.is_zero() {
            run.await
        } else {
            tokio::time::timeout(timeout, run).await.unwrap_or_else(|_| {
                let why = format!("command {cmd:?} took longer than {timeout:?}");
                Err(Error::DeadlineExceeded(why))
            })
        };
        done.map(|(exit_code, out, err)| ExecSyncResponse {
            stdout: Bytes::from(out),
            stderr: Bytes::from(err),
            exit_code,
        })
    }

    pub(super) async fn run_attach(&self, request: &AttachRequest) -> Result<ProcessStreams> {
        let id = &request.container_id;
        let config = self.state.lock().running(id)?.config.clone();
        if config.tty != request.tty {
            let why =
                format!("container {id} {} a terminal", if config.tty { "has" } else { "has no" });
            return Err(Error::InvalidArgument(why));
        }
        if request.stdin && !config.stdin {
            let why = format!("container {id} was created without a standard input");
            return Err(Error::FailedPrecondition(why));
        }
        let mut connection = self.connect(id).await?;
        let mut theirs = Vec::new();
        let stdin = request.stdin.then(input).transpose()?.map(|(ours, fd)| {
            theirs.push(fd);
            Box::new(ours) as ByteWriter
        });
        let mut reader = |wanted: bool| -> Result<Option<ByteReader>> {
            Ok(wanted.then(output).transpose()?.map(|(ours, fd)| {
                theirs.push(fd);
                Box::new(ours) as ByteReader
            }))
        };
        let stdout = reader(request.stdout)?;
        let with_stderr = request.stderr && !config.tty;
        let stderr = reader(with_stderr)?;
        let ask = Request::Attach {
            id: id.clone(),
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: with_stderr,
        };
        let fds: Vec<_> = theirs.iter().map(AsFd::as_fd).collect();
        connection.ask(&ask, &fds).await?;
        let resize = config.tty.then(|| self.resizer(id)).transpose()?;
        Ok(ProcessStreams { stdin, stdout, stderr, resize, exit: Box::pin(until_exit(connection)) })
    }

    /// Passes sizes on to a container's terminal, which its shim holds.
    fn resizer(&self, id: &str) -> Result<mpsc::Sender<TerminalSize>> {
        let dir = self.sandbox_dir(&self.state.lock().running(id)?.sandbox);
        let (sizes, mut resize) = mpsc::channel::<TerminalSize>(4);
        let id = id.to_owned();
        tokio::spawn(async move {
            while let Some(TerminalSize { width, height }) = resize.recv().await {
                let ask = Request::Resize { id: id.clone(), width, height };
                // A terminal that is gone has no size.
                drop(client::ask(&dir, &ask).await);
            }
        });
        Ok(sizes)
    }

    pub(super) async fn connect_to_port(&self, sandbox: &str, port: u16) -> Result<Connection> {
        let record = self.state.lock().ready(sandbox)?.clone();
        let shim = record.shim.filter(|shim| shim_is(*shim));
        let shim =
            shim.ok_or_else(|| Error::Unavailable(format!("sandbox {sandbox} is ending")))?;
        let (answer, connected) = tokio::sync::oneshot::channel();
        // A thread of its own that ends afterwards: its namespace must not come back to a pool.
        std::thread::Builder::new()
            .name("port-forward".to_owned())
            .spawn(move || drop(answer.send(connect_in(shim.pid, port))))
            .map_err(io_error)?;
        let stream = connected.await.map_err(io_error)?;
        let stream =
            stream.map_err(|e| Error::Unavailable(format!("connect to port {port}: {e}")))?;
        stream.set_nonblocking(true).map_err(io_error)?;
        Ok(Box::new(tokio::net::TcpStream::from_std(stream).map_err(io_error)?))
    }
}

/// Connects to a port on the loopback of a process's network namespace.
fn connect_in(pid: i32, port: u16) -> std::io::Result<std::net::TcpStream> {
    let namespace = std::fs::File::open(format!("/proc/{pid}/ns/net"))?;
    setns(&namespace, CloneFlags::CLONE_NEWNET)?;
    let limit = Duration::from_secs(5);
    let v4 = std::net::SocketAddr::from(([127, 0, 0, 1], port));
    std::net::TcpStream::connect_timeout(&v4, limit).or_else(|error| {
        let v6 = std::net::SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, port));
        std::net::TcpStream::connect_timeout(&v6, limit).map_err(|_| error)
    })
}

/// Reads a stream to its end, keeping no more than it may have.
async fn collect(stream: Option<ByteReader>, into: &mut Vec<u8>) {
    let Some(mut stream) = stream else { return };
    // What was read before an error is what there is.
    drop((&mut stream).take(OUTPUT_BYTES_MAX).read_to_end(into).await);
    drain(&mut stream).await;
}

/// Reads on without keeping, so that the command does not block.
async fn drain(stream: &mut (dyn AsyncRead + Send + Unpin)) {
    drop(tokio::io::copy(stream, &mut tokio::io::sink()).await);
}
