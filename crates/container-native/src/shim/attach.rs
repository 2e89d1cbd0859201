//! One client that watches and feeds a container's streams.
//!
//! A slow client holds up the container's output, as a terminal would, but only so long: one that
//! takes nothing for ten seconds is cut off.

use std::io;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use nix::unistd::write;

use super::fds;
use super::log::Stream;

/// How long a client may take nothing.
const STALL: Duration = Duration::from_secs(10);

/// A place where output goes.
#[derive(Debug)]
pub(super) struct Sink {
    pub(super) fd: OwnedFd,
    pending: Vec<u8>,
    stuck_since: Option<Instant>,
}

impl Sink {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        fds::set_nonblocking(&fd)?;
        Ok(Self { fd, pending: Vec::new(), stuck_since: None })
    }

    pub(super) fn is_pending(&self) -> bool {
        !self.pending.is_empty()
    }

    fn deadline(&self) -> Option<Instant> {
        self.stuck_since.map(|since| since + STALL)
    }

    /// Writes what fits; an error means that the client is gone.
    fn flush(&mut self) -> io::Result<()> {
        while !self.pending.is_empty() {
            match write(&self.fd, &self.pending).map_err(io::Error::from) {
                Ok(length) => {
                    self.pending.drain(..length);
                    self.stuck_since = None;
                }
                Err(error) if fds::would_block(&error) => {
                    self.stuck_since.get_or_insert_with(Instant::now);
                    return Ok(());
                }
                Err(error) => return Err(error),
            }
        }
        self.stuck_since = None;
        Ok(())
    }
}

/// What a client is attached to.
#[derive(Debug)]
pub(super) struct Attachment {
    /// Key of the container.
    pub(super) container: u64,
    /// Bytes for the container's standard input.
    pub(super) input: Option<OwnedFd>,
    pub(super) stdout: Option<Sink>,
    pub(super) stderr: Option<Sink>,
}

impl Attachment {
    /// Takes the descriptors in the order of the flags.
    pub(super) fn new(
        container: u64,
        wanted: (bool, bool, bool),
        fds: Vec<OwnedFd>,
    ) -> io::Result<Self> {
        let mut fds = fds.into_iter();
        let mut next = |wanted: bool| -> io::Result<Option<OwnedFd>> {
            match (wanted, wanted.then(|| fds.next()).flatten()) {
                (true, None) => Err(io::Error::other("a stream is missing")),
                (_, fd) => Ok(fd),
            }
        };
        let input = next(wanted.0)?;
        let stdout = next(wanted.1)?.map(Sink::new).transpose()?;
        let stderr = next(wanted.2)?.map(Sink::new).transpose()?;
        if let Some(input) = &input {
            fds::set_nonblocking(input)?;
        }
        Ok(Self { container, input, stdout, stderr })
    }

    /// The sink of a stream.
    pub(super) fn sink(&mut self, stream: Stream) -> &mut Option<Sink> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }

    /// Hands output on; a sink whose reader is gone is dropped.
    pub(super) fn pass(&mut self, stream: Stream, bytes: &[u8]) {
        let sink = self.sink(stream);
        if let Some(open) = sink {
            open.pending.extend_from_slice(bytes);
            if open.flush().is_err() {
                *sink = None;
            }
        }
    }

    /// Whether some output waits for the client.
    pub(super) fn is_pending(&self) -> bool {
        self.stdout.iter().chain(&self.stderr).any(Sink::is_pending)
    }

    /// When the client is cut off if it goes on taking nothing.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.stdout.iter().chain(&self.stderr).filter_map(Sink::deadline).min()
    }

    /// Drops the sinks that are overdue.
    pub(super) fn cut(&mut self, now: Instant) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let sink = self.sink(stream);
            if sink.as_ref().and_then(Sink::deadline).is_some_and(|deadline| now >= deadline) {
                *sink = None;
            }
        }
    }
}
