//! The shim's loop: one thread, `poll`, and a state that each event changes.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::time::Instant;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};

use super::attach::Attachment;
use super::container::{Container, nanos};
use super::fds;
use super::log::Stream;
use super::operations::Operation;
use super::protocol::{self, Exit, Failure, Message, Request, encode, take_frame};

/// What became ready.
#[derive(Debug, Clone, Copy)]
enum Source {
    Listener,
    Signals,
    Connection(u64),
    /// A helper's report.
    Report(u64),
    Output(u64, Stream),
    Stdin(u64),
    /// Input of an attached client.
    Input(u64),
    /// A sink of an attached client that can take more.
    Sink(u64, Stream),
}

/// What a connection is for.
#[derive(Debug)]
pub(super) enum Role {
    /// It has not asked for anything yet, or was answered.
    Idle,
    /// It gets every exit.
    Watcher,
    /// It waits for a helper.
    Waiting,
    /// It runs a command; hanging up kills it.
    Exec { container: String, pid: i32 },
    /// It is attached to a container.
    Attached(Attachment),
}

#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    fds: Vec<OwnedFd>,
    pub(super) role: Role,
}

/// The state of a shim.
#[derive(Debug)]
pub(super) struct Server {
    listener: UnixListener,
    signals: SignalFd,
    pub(super) connections: BTreeMap<u64, Connection>,
    pub(super) containers: BTreeMap<u64, Container>,
    pub(super) operations: BTreeMap<u64, Operation>,
    /// Ends of processes that no helper has named yet; kept while a helper is at work.
    pub(super) early: BTreeMap<i32, Exit>,
    next_key: u64,
    pub(super) shutting_down: bool,
}

impl Server {
    pub(super) fn new(listener: UnixListener) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let flags = SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC;
        let signals = SignalFd::with_flags(&SigSet::from(Signal::SIGCHLD), flags)?;
        Ok(Self {
            listener,
            signals,
            connections: BTreeMap::new(),
            containers: BTreeMap::new(),
            operations: BTreeMap::new(),
            early: BTreeMap::new(),
            next_key: 0,
            shutting_down: false,
        })
    }

    /// Serves until it is told to shut down and its containers have ended.
    pub(super) fn run(&mut self) {
        loop {
            for (source, flags) in self.wait() {
                self.handle(source, flags);
            }
            let now = Instant::now();
            self.report_ends(now);
            self.settle_attachments(now);
            let busy = self.containers.values().any(|c| !c.reported) || !self.operations.is_empty();
            if self.shutting_down && !busy {
                return;
            }
        }
    }

    /// Cuts off clients that take nothing, and lets go of those whose container has ended and
    /// that have everything: closing their streams is how they learn of it.
    fn settle_attachments(&mut self, now: Instant) {
        for connection in self.connections.values_mut() {
            let Role::Attached(attachment) = &mut connection.role else { continue };
            attachment.cut(now);
            let container = self.containers.get(&attachment.container);
            if container.is_none_or(|c| c.reported) && !attachment.is_pending() {
                connection.role = Role::Idle;
            }
        }
    }

    pub(super) fn key(&mut self) -> u64 {
        self.next_key += 1;
        self.next_key
    }

    /// Waits for the next events.
    fn wait(&self) -> Vec<(Source, PollFlags)> {
        let (mut sources, mut polled) = (Vec::new(), Vec::new());
        let mut add = |source, fd, flags| {
            sources.push(source);
            polled.push(PollFd::new(fd, flags));
        };
        let (readable, writable) = (PollFlags::POLLIN, PollFlags::POLLOUT);
        add(Source::Listener, self.listener.as_fd(), readable);
        add(Source::Signals, self.signals.as_fd(), readable);
        for (&key, operation) in &self.operations {
            add(Source::Report(key), operation.report.as_fd(), readable);
        }
        let mut deadline: Option<Instant> = None;
        for (&key, connection) in &self.connections {
            add(Source::Connection(key), connection.stream.as_fd(), readable);
            let Role::Attached(attachment) = &connection.role else { continue };
            let container = self.containers.get(&attachment.container);
            let may_feed = container.is_some_and(|c| c.stdin_pending.is_empty());
            if let (Some(input), true) = (&attachment.input, may_feed) {
                add(Source::Input(key), input.as_fd(), readable);
            }
            let sinks =
                [(Stream::Stdout, &attachment.stdout), (Stream::Stderr, &attachment.stderr)];
            for (stream, sink) in sinks {
                if let Some(sink) = sink.as_ref().filter(|sink| sink.is_pending()) {
                    add(Source::Sink(key, stream), sink.fd.as_fd(), writable);
                }
            }
            deadline = deadline.into_iter().chain(attachment.deadline()).min();
        }
        for (&key, container) in &self.containers {
            if !self.is_held_up(key) {
                let ends = &container.ends;
                for (stream, end) in
                    [(Stream::Stdout, &ends.stdout), (Stream::Stderr, &ends.stderr)]
                {
                    if let Some(end) = end {
                        add(Source::Output(key, stream), end.as_fd(), readable);
                    }
                }
            }
            if let (Some(stdin), false) =
                (&container.ends.stdin, container.stdin_pending.is_empty())
            {
                add(Source::Stdin(key), stdin.as_fd(), writable);
            }
            if !container.is_running() && !container.reported {
                // It drains; look again soon even if nothing more comes.
                let soon = Instant::now() + std::time::Duration::from_millis(50);
                deadline = deadline.into_iter().chain([soon]).min();
            }
        }
        let timeout = deadline.map_or(PollTimeout::NONE, |at| {
            let left = at.saturating_duration_since(Instant::now()).as_millis() + 1;
            PollTimeout::from(u16::try_from(left).unwrap_or(u16::MAX))
        });
        // An interrupted wait is a wait that found nothing.
        _ = poll(&mut polled, timeout);
        let ready = |entry: &PollFd<'_>| entry.revents().unwrap_or(PollFlags::empty());
        sources
            .into_iter()
            .zip(&polled)
            .map(|(source, entry)| (source, ready(entry)))
            .filter(|(_, flags)| !flags.is_empty())
            .collect()
    }

    /// Whether some attached client has to take output before more is read.
    fn is_held_up(&self, container: u64) -> bool {
        self.connections.values().any(|connection| match &connection.role {
            Role::Attached(attachment) => {
                attachment.container == container && attachment.is_pending()
            }
            _ => false,
        })
    }

    fn handle(&mut self, source: Source, flags: PollFlags) {
        match source {
            Source::Listener => self.accept(),
            Source::Signals => self.reap(),
            Source::Connection(key) => self.hear(key, flags),
            Source::Report(key) => self.hear_helper(key),
            Source::Output(key, stream) => self.pass_output(key, stream),
            Source::Stdin(key) => {
                if let Some(container) = self.containers.get_mut(&key) {
                    container.flush_stdin();
                }
            }
            Source::Input(key) => self.pass_input(key),
            Source::Sink(key, stream) => {
                if let Some(Connection { role: Role::Attached(attachment), .. }) =
                    self.connections.get_mut(&key)
                {
                    attachment.pass(stream, &[]);
                }
            }
        }
    }

    fn accept(&mut self) {
        while let Ok((stream, _)) = self.listener.accept() {
            if stream.set_nonblocking(true).is_err() {
                continue;
            }
            let key = self.key();
            let connection =
                Connection { stream, input: Vec::new(), fds: Vec::new(), role: Role::Idle };
            self.connections.insert(key, connection);
        }
    }

    fn hear(&mut self, key: u64, _flags: PollFlags) {
        let Some(connection) = self.connections.get_mut(&key) else { return };
        let mut buffer = [0; 16 * 1024];
        match fds::receive(connection.stream.as_fd(), &mut buffer) {
            Ok((0, _)) => return self.hang_up(key),
            Ok((length, fds)) => {
                connection.input.extend_from_slice(&buffer[..length]);
                connection.fds.extend(fds);
            }
            Err(error) if fds::would_block(&error) => return,
            Err(_) => return self.hang_up(key),
        }
        loop {
            let Some(connection) = self.connections.get_mut(&key) else { return };
            match take_frame(&mut connection.input) {
                Ok(Some(frame)) => {
                    let fds = std::mem::take(&mut connection.fds);
                    self.answer(key, &frame, fds);
                }
                Ok(None) => return,
                Err(_) => return self.hang_up(key),
            }
        }
    }

    /// The client is gone: its command is killed, its attachment ends.
    fn hang_up(&mut self, key: u64) {
        let Some(connection) = self.connections.remove(&key) else { return };
        match connection.role {
            Role::Exec { pid, .. } => {
                let pid = nix::unistd::Pid::from_raw(pid);
                _ = nix::sys::signal::kill(pid, Signal::SIGKILL);
            }
            Role::Attached(attachment) if attachment.input.is_some() => {
                self.input_ended(attachment.container);
            }
            _ => {}
        }
    }

    pub(super) fn send(&mut self, key: u64, message: &Message, fd: Option<OwnedFd>) {
        let Some(connection) = self.connections.get(&key) else { return };
        let sent = encode(message).and_then(|frame| {
            let fds: Vec<_> = fd.iter().map(AsFd::as_fd).collect();
            let sent = fds::send(connection.stream.as_fd(), &frame, &fds)?;
            if sent == frame.len() { Ok(()) } else { Err(io::Error::other("it takes nothing")) }
        });
        if sent.is_err() {
            // A client that does not read its few short messages is gone or stuck; it will find
            // out when it looks again.
            self.hang_up(key);
        }
    }

    pub(super) fn fail(&mut self, key: u64, kind: Failure, message: impl Into<String>) {
        self.send(key, &Message::Failed { kind, message: message.into() }, None);
    }

    pub(super) fn find(&self, id: &str) -> Option<u64> {
        self.containers.iter().find(|(_, c)| c.start.id == id).map(|(&key, _)| key)
    }

    fn answer(&mut self, key: u64, frame: &[u8], fds: Vec<OwnedFd>) {
        let request: Request = match serde_json::from_slice(frame) {
            Ok(request) => request,
            Err(error) => {
                let why = format!("this shim does not know the request: {error}");
                return self.fail(key, Failure::Unknown, why);
            }
        };
        match request {
            Request::Watch => {
                let containers = self.containers.values().map(Container::known).collect();
                let pid = i32::try_from(std::process::id()).unwrap_or_default();
                let hello = Message::Hello { version: protocol::VERSION, pid, containers };
                if let Some(connection) = self.connections.get_mut(&key) {
                    connection.role = Role::Watcher;
                }
                self.send(key, &hello, None);
            }
            Request::Start(start) => self.start(key, start),
            Request::Exec { id, cmd, tty } => self.exec(key, &id, &cmd, tty, fds),
            Request::Attach { id, stdin, stdout, stderr } => {
                self.attach(key, &id, (stdin, stdout, stderr), fds);
            }
            Request::Resize { id, width, height } => {
                self.with(key, &id, |container| container.resize(width, height));
            }
            Request::Kill { id, signal } => {
                self.with(key, &id, |c| if c.is_running() { c.signal(signal) } else { Ok(()) });
            }
            Request::Reopen { id } => self.with(key, &id, Container::reopen_log),
            Request::Forget { id } => {
                self.containers.retain(|_, c| c.start.id != id || !c.reported);
                self.send(key, &Message::Done, None);
            }
            Request::Shutdown => {
                self.shutting_down = true;
                for container in self.containers.values().filter(|c| c.is_running()) {
                    drop(container.signal(libc::SIGKILL));
                }
            }
        }
    }

    fn with(&mut self, key: u64, id: &str, deed: impl FnOnce(&mut Container) -> io::Result<()>) {
        let found = self.find(id).and_then(|key| self.containers.get_mut(&key));
        let Some(container) = found else {
            return self.fail(key, Failure::NotFound, format!("container {id} is not known"));
        };
        match deed(container) {
            Ok(()) => self.send(key, &Message::Done, None),
            Err(error) => self.fail(key, Failure::Precondition, error.to_string()),
        }
    }

    fn attach(&mut self, key: u64, id: &str, wanted: (bool, bool, bool), fds: Vec<OwnedFd>) {
        let running = |key: &u64| self.containers.get(key).is_some_and(Container::is_running);
        let Some(container) = self.find(id).filter(running) else {
            let why = format!("container {id} is not running");
            return self.fail(key, Failure::Precondition, why);
        };
        match Attachment::new(container, wanted, fds) {
            Ok(attachment) => {
                if let Some(connection) = self.connections.get_mut(&key) {
                    connection.role = Role::Attached(attachment);
                }
                self.send(key, &Message::Done, None);
            }
            Err(error) => self.fail(key, Failure::Precondition, error.to_string()),
        }
    }

    fn pass_input(&mut self, key: u64) {
        let Some(Connection { role: Role::Attached(attachment), .. }) =
            self.connections.get_mut(&key)
        else {
            return;
        };
        let (Some(input), container) = (&attachment.input, attachment.container) else { return };
        let mut buffer = [0; 16 * 1024];
        match nix::unistd::read(input, &mut buffer).map_err(io::Error::from) {
            Ok(length) if length > 0 => {
                if let Some(container) = self.containers.get_mut(&container) {
                    container.feed(&buffer[..length]);
                }
            }
            Err(error) if fds::would_block(&error) => {}
            _ => {
                attachment.input = None;
                self.input_ended(container);
            }
        }
    }

    fn input_ended(&mut self, container: u64) {
        if let Some(container) = self.containers.get_mut(&container)
            && container.start.stdin_once
        {
            container.close_stdin();
        }
    }

    fn pass_output(&mut self, key: u64, stream: Stream) {
        let mut buffer = [0; 32 * 1024];
        let Some(container) = self.containers.get_mut(&key) else { return };
        let Some(length) = container.read(stream, &mut buffer) else { return };
        for connection in self.connections.values_mut() {
            if let Role::Attached(attachment) = &mut connection.role
                && attachment.container == key
            {
                attachment.pass(stream, &buffer[..length]);
            }
        }
    }

    /// Takes in every process that has ended.
    fn reap(&mut self) {
        while let Ok(Some(_)) = self.signals.read_signal() {}
        loop {
            let (pid, code) = match waitpid(None, Some(WaitPidFlag::WNOHANG)) {
                Ok(WaitStatus::Exited(pid, code)) => (pid.as_raw(), code),
                Ok(WaitStatus::Signaled(pid, signal, _)) => (pid.as_raw(), 128 + signal as i32),
                Ok(WaitStatus::StillAlive) | Err(_) => return,
                Ok(_) => continue,
            };
            let exit = Exit { code, at: nanos() };
            let container = self.containers.values_mut().find(|c| c.pid == pid && c.is_running());
            if let Some(container) = container {
                container.ended(exit);
            } else if !self.command_ended(pid, exit) && !self.operations.is_empty() {
                self.early.insert(pid, exit);
            }
        }
    }

    /// Tells the client of a command that it ended; whether there was one.
    pub(super) fn command_ended(&mut self, pid: i32, exit: Exit) -> bool {
        let found =
            self.connections.iter_mut().find_map(|(&key, connection)| match &connection.role {
                Role::Exec { container, pid: of } if *of == pid => Some((key, container.clone())),
                _ => None,
            });
        let Some((key, id)) = found else { return false };
        if let Some(connection) = self.connections.get_mut(&key) {
            connection.role = Role::Idle;
        }
        self.send(key, &Message::Exited { id, exit }, None);
        true
    }

    /// Reports the containers whose outputs are drained.
    fn report_ends(&mut self, now: Instant) {
        let drained: Vec<u64> = self
            .containers
            .iter()
            .filter(|(_, c)| !c.reported && c.is_drained(now))
            .map(|(&key, _)| key)
            .collect();
        for key in drained {
            let Some(container) = self.containers.get_mut(&key) else { continue };
            let Some(exit) = container.report() else { continue };
            let id = container.start.id.clone();
            let listeners: Vec<u64> = self
                .connections
                .iter()
                .filter(|(_, connection)| match &connection.role {
                    Role::Watcher => true,
                    Role::Attached(attachment) => attachment.container == key,
                    _ => false,
                })
                .map(|(&key, _)| key)
                .collect();
            for listener in listeners {
                self.send(listener, &Message::Exited { id: id.clone(), exit }, None);
            }
        }
    }
}
