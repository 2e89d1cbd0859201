//! How a shim comes to be: it leaves its maker, makes the pod's namespaces and opens its socket.
#![expect(unsafe_code, reason = "fork and clone in a process with one thread, and two ioctls")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::Path;

use nix::fcntl::OFlag;
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, SigmaskHow, Signal, sigprocmask};
use nix::sys::wait::waitpid;
use nix::unistd::{ForkResult, fork, pipe2, setsid};
use serde::{Deserialize, Serialize};

use super::fds;
use super::server::Server;

/// What Ferry writes into `shim.json` before it starts a shim.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Setup {
    /// Whether the pod has a network namespace of its own.
    pub(crate) net: bool,
    /// Whether it has a UTS namespace of its own.
    pub(crate) uts: bool,
    /// Whether it has an IPC namespace of its own.
    pub(crate) ipc: bool,
    /// Whether its containers share one PID namespace.
    pub(crate) pid: bool,
    /// The pod's host name.
    pub(crate) hostname: String,
    /// Sysctls by dotted name.
    pub(crate) sysctls: BTreeMap<String, String>,
    /// `cgroup.procs` files that the shim enters, so that it leaves Ferry's own cgroup.
    pub(crate) cgroup_procs: Vec<String>,
    /// The kernel's preference to kill it.
    pub(crate) oom_score_adj: i32,
}

/// What a shim says once it is ready, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ready {
    /// Its process.
    pub(crate) pid: i32,
    /// The first process of the pod's PID namespace, if there is one.
    pub(crate) pause_pid: Option<i32>,
}

/// Starts a shim for the folder and returns once it serves; the shim itself ends in here.
pub(crate) fn serve(dir: &Path) -> Result<(), String> {
    close_inherited();
    let setup = fs::read(dir.join("shim.json")).map_err(|e| format!("read shim.json: {e}"))?;
    let setup: Setup =
        serde_json::from_slice(&setup).map_err(|e| format!("understand shim.json: {e}"))?;
    let (said, say) = pipe2(OFlag::O_CLOEXEC).map_err(|e| format!("make a pipe: {e}"))?;
    // SAFETY: the process has one thread, so the child may go on as if nothing had happened.
    match unsafe { fork() }.map_err(|e| format!("fork: {e}"))? {
        ForkResult::Parent { .. } => {
            drop(say);
            wait_until_ready(said)
        }
        ForkResult::Child => {
            drop(said);
            let code = match prepare(dir, &setup) {
                Ok((server, ready)) => run(server, &ready, say),
                Err(why) => {
                    drop(fs::File::from(say).write_all(format!("!{why}").as_bytes()));
                    1
                }
            };
            std::process::exit(code)
        }
    }
}

/// The first process: passes on what the shim says, then ends, so that the shim is nobody's child.
fn wait_until_ready(said: OwnedFd) -> Result<(), String> {
    let mut text = String::new();
    fs::File::from(said).read_to_string(&mut text).map_err(|e| format!("hear the shim: {e}"))?;
    match text.strip_prefix('!') {
        Some(why) => Err(why.to_owned()),
        None if text.is_empty() => Err("the shim died while it started".to_owned()),
        None => {
            println!("{text}");
            Ok(())
        }
    }
}

fn run(mut server: Server, ready: &Ready, say: OwnedFd) -> i32 {
    let ready = serde_json::to_vec(ready).unwrap_or_default();
    drop(fs::File::from(say).write_all(&ready));
    if let Ok(null) = fds::dev_null() {
        _ = nix::unistd::dup2_stdin(&null);
        _ = nix::unistd::dup2_stdout(&null);
        _ = nix::unistd::dup2_stderr(&null);
    }
    // What start-up allocated is not needed again.
    // SAFETY: malloc_trim has no preconditions.
    unsafe { libc::malloc_trim(0) };
    server.run();
    0
}

fn prepare(dir: &Path, setup: &Setup) -> Result<(Server, Ready), String> {
    let fail = |what: &str, error: &dyn std::fmt::Display| format!("shim: {what}: {error}");
    setsid().map_err(|e| fail("leave Ferry's session", &e))?;
    std::env::set_current_dir(dir).map_err(|e| fail("enter its folder", &e))?;
    nix::sys::prctl::set_name(c"ferry-shim").map_err(|e| fail("take its name", &e))?;
    nix::sys::prctl::set_child_subreaper(true).map_err(|e| fail("become a reaper", &e))?;
    for file in &setup.cgroup_procs {
        // Without it the shim stays where Ferry is, which costs only accounting.
        drop(fs::write(file, "0"));
    }
    // Lowering it takes a privilege that not every machine gives; then it stays as it is.
    drop(fs::write("/proc/self/oom_score_adj", setup.oom_score_adj.to_string()));

    let mut flags = CloneFlags::empty();
    for (wanted, flag) in [
        (setup.net, CloneFlags::CLONE_NEWNET),
        (setup.uts, CloneFlags::CLONE_NEWUTS),
        (setup.ipc, CloneFlags::CLONE_NEWIPC),
    ] {
        flags.set(flag, wanted);
    }
    unshare(flags).map_err(|e| fail("make the pod's namespaces", &e))?;
    if setup.net {
        loopback_up().map_err(|e| fail("bring loopback up", &e))?;
    }
    if setup.uts && !setup.hostname.is_empty() {
        nix::unistd::sethostname(&setup.hostname).map_err(|e| fail("set the host name", &e))?;
    }
    for (name, value) in &setup.sysctls {
        let path = Path::new("/proc/sys").join(name.replace('.', "/"));
        fs::write(path, value).map_err(|e| fail(&format!("set sysctl {name}"), &e))?;
    }
    let pause_pid = if setup.pid { Some(pause()?) } else { None };

    let signals = [Signal::SIGCHLD, Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM];
    let mask: SigSet = signals.into_iter().collect();
    sigprocmask(SigmaskHow::SIG_SETMASK, Some(&mask), None)
        .map_err(|e| fail("block signals", &e))?;
    drop(fs::remove_file("shim.sock"));
    let listener = UnixListener::bind("shim.sock").map_err(|e| fail("open its socket", &e))?;
    let server = Server::new(listener).map_err(|e| fail("serve", &e))?;
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    Ok((server, Ready { pid, pause_pid }))
}

/// Closes whatever Ferry may have left open to it.
fn close_inherited() {
    // SAFETY: nothing in this process has opened a descriptor above 2 yet.
    unsafe { libc::syscall(libc::SYS_close_range, 3, u32::MAX, 0) };
}

/// `ip link set lo up`, without netlink.
fn loopback_up() -> std::io::Result<()> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0")?;
    // SAFETY: an all-zero ifreq is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = libc::c_char::from_ne_bytes([*from]);
    }
    let up = libc::IFF_UP | libc::IFF_RUNNING;
    request.ifr_ifru.ifru_flags = i16::try_from(up).map_err(std::io::Error::other)?;
    // SAFETY: SIOCSIFFLAGS reads one ifreq, which lives on this stack frame.
    let answer = unsafe { libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) };
    if answer == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Starts the first process of a PID namespace that the pod's containers share: it reaps orphans
/// and dies with the shim.
fn pause() -> Result<i32, String> {
    let mut stack = vec![0u8; 64 * 1024];
    let wait = Box::new(|| -> isize {
        // Whoever waits for the shim's word must not wait for this process.
        // SAFETY: nothing of what is closed is used from here on.
        unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, 0) };
        _ = nix::sys::prctl::set_pdeathsig(Signal::SIGKILL);
        _ = nix::sys::prctl::set_name(c"pause");
        loop {
            // There may be no child now; a new orphan is announced by SIGCHLD.
            if waitpid(None, None).is_err() {
                _ = SigSet::from(Signal::SIGCHLD).wait();
            }
        }
    });
    _ = sigprocmask(SigmaskHow::SIG_BLOCK, Some(&SigSet::from(Signal::SIGCHLD)), None);
    let flags = CloneFlags::CLONE_NEWPID;
    // SAFETY: the child shares no memory with this process (no CLONE_VM), so the stack is its own
    // copy, and it only makes system calls.
    let pid = unsafe { nix::sched::clone(wait, &mut stack, flags, Some(libc::SIGCHLD)) };
    pid.map(nix::unistd::Pid::as_raw).map_err(|e| format!("start the pod's first process: {e}"))
}
