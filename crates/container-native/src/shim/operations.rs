//! Helpers at work: how the shim starts containers and commands without making them itself.
#![expect(unsafe_code, reason = "a helper's descriptors and signals are set between fork and exec")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socketpair};

use super::container::{self, Container, Ends};
use super::fds;
use super::helper::Report;
use super::protocol::{Failure, Message, Start, User};
use super::server::{Role, Server};

/// A helper at work.
#[derive(Debug)]
pub(super) struct Operation {
    connection: u64,
    pub(super) report: OwnedFd,
    what: What,
    running: Option<(i32, Option<User>)>,
    error: Option<String>,
    /// The first line about the cause of a failure.
    note: Option<String>,
    terminal: Option<OwnedFd>,
}

#[derive(Debug)]
enum What {
    Start(Start, Ends),
    Exec { container: String },
}

impl Server {
    pub(super) fn start(&mut self, key: u64, start: Start) {
        if self.find(&start.id).is_some() || self.shutting_down {
            let why = format!("container {} cannot be started here again", start.id);
            return self.fail(key, Failure::Precondition, why);
        }
        let dir = start.dir.clone();
        let spawned = container::streams(&start).and_then(|(ends, theirs)| {
            let report = spawn_helper(&["init", &dir], theirs)?;
            Ok((ends, report))
        });
        match spawned {
            Ok((ends, report)) => self.begin(key, report, What::Start(start, ends)),
            Err(error) => self.fail(key, Failure::Start, format!("run the helper: {error}")),
        }
    }

    pub(super) fn exec(
        &mut self,
        key: u64,
        id: &str,
        cmd: &[String],
        tty: bool,
        fds: Vec<OwnedFd>,
    ) {
        let container = self.find(id).and_then(|key| self.containers.get(&key));
        let Some(container) = container.filter(|container| container.is_running()) else {
            let why = format!("container {id} is not running");
            return self.fail(key, Failure::Precondition, why);
        };
        let dir = container.start.dir.clone();
        let mut args = vec!["exec", &*dir, if tty { "tty" } else { "pipes" }];
        args.extend(cmd.iter().map(String::as_str));
        let stdio = if tty {
            fds::dev_null().and_then(|null| Ok([null.try_clone()?, null.try_clone()?, null]))
        } else {
            fds.try_into().map_err(|_| io::Error::other("it takes three streams"))
        };
        match stdio.and_then(|stdio| spawn_helper(&args, stdio)) {
            Ok(report) => self.begin(key, report, What::Exec { container: id.to_owned() }),
            Err(error) => self.fail(key, Failure::Start, format!("run the helper: {error}")),
        }
    }

    fn begin(&mut self, connection: u64, report: OwnedFd, what: What) {
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.role = Role::Waiting;
        }
        let key = self.key();
        let operation = Operation {
            connection,
            report,
            what,
            running: None,
            error: None,
            note: None,
            terminal: None,
        };
        self.operations.insert(key, operation);
    }

    pub(super) fn hear_helper(&mut self, key: u64) {
        let Some(operation) = self.operations.get_mut(&key) else { return };
        let mut buffer = [0; 16 * 1024];
        let (length, mut fds) = match fds::receive(operation.report.as_fd(), &mut buffer) {
            Err(error) if fds::would_block(&error) => return,
            other => other.unwrap_or_default(),
        };
        if length == 0 {
            return self.finish(key);
        }
        match serde_json::from_slice(&buffer[..length]) {
            Ok(Report::Running { pid, user }) => {
                operation.running = Some((pid, user));
                operation.terminal = fds.pop();
            }
            Ok(Report::Failed(why)) => drop(operation.error.get_or_insert(why)),
            Ok(Report::Note(line)) => drop(operation.note.get_or_insert(line)),
            Err(error) => operation.error = Some(format!("understand the helper: {error}")),
        }
    }

    /// A helper and everything it made have let go of the report: the process runs, or it never
    /// will.
    fn finish(&mut self, key: u64) {
        let Some(operation) = self.operations.remove(&key) else { return };
        let connection = operation.connection;
        match (operation.error, operation.running) {
            (None, Some((pid, user))) => match operation.what {
                What::Start(start, ends) => {
                    self.started(connection, start, ends, (pid, user), operation.terminal);
                }
                What::Exec { container } => {
                    self.exec_started(connection, container, pid, operation.terminal);
                }
            },
            (error, _) => {
                let mut why = error.unwrap_or_else(|| "the helper died".to_owned());
                if let Some(note) = operation.note.filter(|note| !why.contains(&**note)) {
                    why += &format!(" ({note})");
                }
                self.fail(connection, Failure::Start, why);
            }
        }
        if self.operations.is_empty() {
            self.early.clear();
        }
    }

    fn started(
        &mut self,
        connection: u64,
        start: Start,
        mut ends: Ends,
        (pid, user): (i32, Option<User>),
        terminal: Option<OwnedFd>,
    ) {
        if let Some(terminal) = terminal {
            // Two descriptors of one terminal: closing input must not close output.
            drop(fds::set_nonblocking(&terminal));
            ends.stdin = terminal.try_clone().ok().filter(|_| start.stdin);
            ends.stdout = Some(terminal);
        }
        let mut container = Container::new(start, pid, user.clone(), ends);
        if let Some(exit) = self.early.remove(&pid) {
            container.ended(exit);
        }
        let known = container.known();
        let key = self.key();
        self.containers.insert(key, container);
        let watchers: Vec<u64> = self
            .connections
            .iter()
            .filter(|(_, connection)| matches!(connection.role, Role::Watcher))
            .map(|(&key, _)| key)
            .collect();
        for watcher in watchers {
            self.send(watcher, &Message::Running(known.clone()), None);
        }
        if let Some(connection) = self.connections.get_mut(&connection) {
            connection.role = Role::Idle;
        }
        self.send(connection, &Message::Started { pid, user }, None);
    }

    fn exec_started(
        &mut self,
        connection: u64,
        container: String,
        pid: i32,
        terminal: Option<OwnedFd>,
    ) {
        let Some(caller) = self.connections.get_mut(&connection) else {
            _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), Signal::SIGKILL);
            return;
        };
        caller.role = Role::Exec { container, pid };
        self.send(connection, &Message::Started { pid, user: None }, terminal);
        if let Some(exit) = self.early.remove(&pid) {
            self.command_ended(pid, exit);
        }
    }
}

/// Runs this binary again as a helper; answers the socket on which it reports.
fn spawn_helper(args: &[&str], stdio: [OwnedFd; 3]) -> io::Result<OwnedFd> {
    let (ours, theirs) = socketpair(
        AddressFamily::Unix,
        SockType::SeqPacket,
        None,
        SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK,
    )?;
    let [stdin, stdout, stderr] = stdio;
    let mut command = Command::new("/proc/self/exe");
    command.arg(super::SUBCOMMAND).args(args).env_clear();
    command.stdin(Stdio::from(stdin)).stdout(Stdio::from(stdout)).stderr(Stdio::from(stderr));
    let report = theirs.as_raw_fd();
    // SAFETY: between fork and exec only system calls are made.
    unsafe {
        command.pre_exec(move || {
            SigSet::empty().thread_set_mask()?;
            if report == super::helper::REPORT_FD {
                // dup2 onto itself would keep close-on-exec.
                if libc::fcntl(report, libc::F_SETFD, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
            } else if libc::dup2(report, super::helper::REPORT_FD) < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(())
        });
    }
    // The child is reaped by the loop, as every other.
    command.spawn()?;
    Ok(ours)
}
