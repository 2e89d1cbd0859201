//! One container as its shim sees it: its streams, its log, its end.

use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use base::clock::Timestamp;
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, pipe2, read, write};

use super::fds;
use super::log::{Log, Stream};
use super::protocol::{Exit, Known, Start, User};

/// How long after a container's end its outputs may stay open before the end is reported anyway.
const DRAIN: Duration = Duration::from_millis(500);

/// The shim's ends of a container's streams.
#[derive(Debug, Default)]
pub(super) struct Ends {
    pub(super) stdin: Option<OwnedFd>,
    /// Standard output, or the terminal.
    pub(super) stdout: Option<OwnedFd>,
    pub(super) stderr: Option<OwnedFd>,
}

/// The container's ends.
pub(super) type Theirs = [OwnedFd; 3];

/// Makes the streams of a container. With a terminal they are made by the helper.
pub(super) fn streams(start: &Start) -> io::Result<(Ends, Theirs)> {
    let flags = nix::fcntl::OFlag::O_CLOEXEC;
    if start.tty {
        let null = fds::dev_null()?;
        return Ok((Ends::default(), [null.try_clone()?, null.try_clone()?, null]));
    }
    let (stdin, their_stdin) = if start.stdin {
        let (theirs, ours) = pipe2(flags)?;
        fds::set_nonblocking(&ours)?;
        (Some(ours), theirs)
    } else {
        (None, fds::dev_null()?)
    };
    let (stdout, their_stdout) = pipe2(flags)?;
    let (stderr, their_stderr) = pipe2(flags)?;
    fds::set_nonblocking(&stdout)?;
    fds::set_nonblocking(&stderr)?;
    let ends = Ends { stdin, stdout: Some(stdout), stderr: Some(stderr) };
    Ok((ends, [their_stdin, their_stdout, their_stderr]))
}

/// A container that was started.
#[derive(Debug)]
pub(super) struct Container {
    pub(super) start: Start,
    pub(super) pid: i32,
    pub(super) started_at: i64,
    pub(super) user: Option<User>,
    pub(super) ends: Ends,
    /// Bytes for its standard input that did not fit yet.
    pub(super) stdin_pending: Vec<u8>,
    /// Whether standard input is closed once those are written.
    pub(super) stdin_closing: bool,
    log: Option<Log>,
    /// How its process ended; reported once its outputs are drained.
    pub(super) exit: Option<Exit>,
    pub(super) reported: bool,
    drain_until: Option<Instant>,
}

impl Container {
    pub(super) fn new(start: Start, pid: i32, user: Option<User>, ends: Ends) -> Self {
        let log = (!start.log_path.is_empty()).then(|| Log::open(Path::new(&start.log_path)));
        Self {
            start,
            pid,
            started_at: nanos(),
            user,
            ends,
            stdin_pending: Vec::new(),
            stdin_closing: false,
            log,
            exit: None,
            reported: false,
            drain_until: None,
        }
    }

    pub(super) fn known(&self) -> Known {
        Known {
            id: self.start.id.clone(),
            pid: self.pid,
            started_at: self.started_at,
            exit: self.exit.filter(|_| self.reported),
            user: self.user.clone(),
        }
    }

    pub(super) fn is_running(&self) -> bool {
        self.exit.is_none()
    }

    pub(super) fn signal(&self, signal: i32) -> io::Result<()> {
        let signal = Signal::try_from(signal)?;
        // The process is this one's child and not reaped yet, so its number is not reused.
        kill(Pid::from_raw(self.pid), signal)?;
        Ok(())
    }

    pub(super) fn reopen_log(&mut self) -> io::Result<()> {
        self.log.as_mut().map_or(Ok(()), Log::reopen)
    }

    /// Its process has ended: what it left behind is killed, what it said is taken in.
    pub(super) fn ended(&mut self, exit: Exit) {
        self.exit = Some(exit);
        self.drain_until = Some(Instant::now() + DRAIN);
        self.ends.stdin = None;
        if !self.start.cgroup_procs.is_empty() {
            kill_all(Path::new(&self.start.cgroup_procs));
        }
    }

    /// Whether its end can be reported now.
    pub(super) fn is_drained(&self, now: Instant) -> bool {
        let open = self.ends.stdout.is_some() || self.ends.stderr.is_some();
        self.exit.is_some() && (!open || self.drain_until.is_none_or(|until| now >= until))
    }

    /// Reports its end: to its folder, for a Ferry that finds the shim gone.
    pub(super) fn report(&mut self) -> Option<Exit> {
        let exit = self.exit?;
        self.reported = true;
        self.ends = Ends::default();
        let now = timestamp();
        if let Some(mut log) = self.log.take() {
            log.finish(Stream::Stdout, &now);
            log.finish(Stream::Stderr, &now);
        }
        let dir = Path::new(&self.start.dir);
        let (temporary, path) = (dir.join("exit.json.new"), dir.join("exit.json"));
        let text = serde_json::to_vec(&exit).unwrap_or_default();
        if fs::write(&temporary, text).is_ok() {
            drop(fs::rename(temporary, path));
        }
        Some(exit)
    }

    /// Reads what a stream has to say; none when it has nothing now.
    pub(super) fn read(&mut self, stream: Stream, buffer: &mut [u8]) -> Option<usize> {
        let end = match stream {
            Stream::Stdout => &mut self.ends.stdout,
            Stream::Stderr => &mut self.ends.stderr,
        };
        let got = read(end.as_ref()?, buffer).map_err(io::Error::from);
        match got {
            Ok(0) => *end = None,
            Ok(length) => {
                if let Some(log) = &mut self.log {
                    log.write(stream, &buffer[..length], &timestamp());
                }
                return Some(length);
            }
            Err(error) if fds::would_block(&error) => return None,
            // A terminal whose other side is closed answers EIO.
            Err(_) => *end = None,
        }
        let now = timestamp();
        if let Some(log) = &mut self.log {
            log.finish(stream, &now);
        }
        None
    }

    /// Passes bytes on to standard input, as many as fit.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        self.stdin_pending.extend_from_slice(bytes);
        self.flush_stdin();
    }

    pub(super) fn flush_stdin(&mut self) {
        while let (Some(stdin), false) = (&self.ends.stdin, self.stdin_pending.is_empty()) {
            match write(stdin, &self.stdin_pending).map_err(io::Error::from) {
                Ok(length) => drop(self.stdin_pending.drain(..length)),
                Err(error) if fds::would_block(&error) => return,
                Err(_) => self.ends.stdin = None,
            }
        }
        if self.ends.stdin.is_none() {
            self.stdin_pending.clear();
        }
        if self.stdin_closing {
            self.ends.stdin = None;
        }
    }

    /// Closes standard input once it has everything.
    pub(super) fn close_stdin(&mut self) {
        self.stdin_closing = true;
        self.flush_stdin();
    }

    pub(super) fn resize(&self, width: u16, height: u16) -> io::Result<()> {
        match &self.ends.stdout {
            Some(terminal) if self.start.tty => {
                fds::set_window_size(terminal.as_fd(), width, height)
            }
            _ => Ok(()),
        }
    }
}

/// Kills every process of a cgroup until there is none left, within reason.
fn kill_all(procs: &Path) {
    for _ in 0..100 {
        let Ok(text) = fs::read_to_string(procs) else { return };
        let mut any = false;
        for pid in text.lines().filter_map(|line| line.parse().ok()) {
            any = true;
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        if !any {
            return;
        }
        // Killed processes leave their cgroup when they are reaped, which for orphans is here.
        std::thread::yield_now();
    }
}

/// Now, in the form of a log line.
pub(super) fn timestamp() -> String {
    Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S.%9fZ").to_string()
}

/// Now, in nanoseconds since 1970.
pub(super) fn nanos() -> i64 {
    i64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}
