//! The helper: a process that lives for one create or one exec.
//!
//! It runs `libcontainer`, which clones without exec and so must be called from a process with
//! one thread that holds no lock. It reports on descriptor 3; so does the process that it makes,
//! until its program runs: when the last of them lets go without a failure, the program runs.
#![expect(unsafe_code, reason = "descriptor 3 is inherited by number")]

use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use libcontainer::container::builder::ContainerBuilder;
use libcontainer::syscall::syscall::SyscallType;
use nix::sys::memfd::{MFdFlags, memfd_create};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::cgroups::{self, Groups};
use super::fds;
use super::protocol::User;
use super::rootfs::{self, Layers, Root};
use super::users::{self, WantedUser};
use crate::payload::Payload;
use crate::security::Security;

/// Where helpers report.
pub(super) const REPORT_FD: i32 = 3;

/// The name of every container to `libcontainer`; each has a state folder of its own.
const NAME: &str = "c";

/// What a helper says.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Report {
    /// The process was made; with a terminal, its master side comes along.
    Running {
        /// Its number on the host.
        pid: i32,
        /// The user that the container was resolved to.
        user: Option<User>,
    },
    /// It could not be made, or its program could not be run.
    Failed(String),
    /// A line about the cause of a failure that is to come.
    Note(String),
}

/// What Ferry writes into `create.json` for a container.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Create {
    /// Its root filesystem.
    pub(crate) layers: Layers,
    /// The OCI configuration, complete but for the user.
    pub(crate) spec: Value,
    /// Who it runs as.
    pub(crate) user: WantedUser,
    /// Capabilities and system calls.
    pub(crate) security: Security,
    /// The kernel's preference to kill it.
    pub(crate) oom_score_adj: i64,
    /// Its control groups, where the helper sees to them (v1).
    pub(crate) groups: Groups,
    /// Whether mounts that it makes reach the host.
    pub(crate) shared_mounts: bool,
}

/// Sends a report; from here on nobody else can be told anything.
pub(crate) fn report(what: &Report, fd: Option<BorrowedFd<'_>>) {
    // SAFETY: the shim passes the report socket as descriptor 3, and nothing closes it.
    let socket = unsafe { BorrowedFd::borrow_raw(REPORT_FD) };
    let bytes = serde_json::to_vec(what).unwrap_or_default();
    drop(fds::send(socket, &bytes, &fd.into_iter().collect::<Vec<_>>()));
}

/// Creates and starts the container of a folder.
pub(super) fn create(dir: &Path) -> Result<(), String> {
    super::notes::listen();
    conclude(try_create(dir))
}

/// Runs a command in the container of a folder.
pub(super) fn exec(dir: &Path, tty: bool, cmd: &[&str]) -> Result<(), String> {
    super::notes::listen();
    conclude(try_exec(dir, tty, cmd))
}

/// Tells the shim how it went.
fn conclude(result: Result<(Report, Option<OwnedFd>), String>) -> Result<(), String> {
    match result {
        Ok((running, terminal)) => report(&running, terminal.as_ref().map(AsFd::as_fd)),
        Err(why) => report(&Report::Failed(why), None),
    }
    Ok(())
}

/// One line of an error and its sources.
fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    base::error::Chain(error).to_string()
}

fn load<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, String> {
    let text = fs::read(path).map_err(|e| format!("read {}: {e}", path.display()))?;
    serde_json::from_slice(&text).map_err(|e| format!("understand {}: {e}", path.display()))
}

fn try_create(dir: &Path) -> Result<(Report, Option<OwnedFd>), String> {
    let create: Create = load(&dir.join("create.json"))?;
    let target = &create.layers.target;
    rootfs::enter_private_namespace(create.shared_mounts, target)
        .map_err(|e| format!("make a mount namespace: {e}"))?;
    rootfs::mount_overlay(&create.layers).map_err(|e| format!("mount the root filesystem: {e}"))?;
    let root = Root::open(target).map_err(|e| format!("open the root filesystem: {e}"))?;
    let passwd = root.read("etc/passwd");
    let user = users::resolve(&create.user, &passwd, &root.read("etc/group"))?;
    // Lowering it takes a privilege that not every machine gives; children inherit it.
    drop(fs::write("/proc/self/oom_score_adj", create.oom_score_adj.to_string()));

    let mut spec = create.spec;
    cgroups::make(&create.groups)
        .and_then(|()| cgroups::enter(&create.groups))
        .and_then(|()| cgroups::keep(&create.groups, &mut spec, dir))
        .and_then(|()| cgroups::hide(&create.groups))
        .map_err(|e| format!("enter the container's cgroups: {e}"))?;

    let process = &mut spec["process"];
    let cwd = PathBuf::from(process["cwd"].as_str().unwrap_or("/"));
    root.make_dirs(&cwd).map_err(|e| format!("make the folder {}: {e}", cwd.display()))?;
    drop(root);
    process["user"] = json!({"uid": user.uid, "gid": user.gid, "additionalGids": user.groups});
    set_default_env(process, "HOME", &users::home(user.uid, &passwd));
    let security = create.security.clamped();
    process["capabilities"] = security.setup_capabilities();
    let bundle = dir.join("bundle");
    fs::create_dir_all(&bundle).map_err(|e| format!("make the bundle: {e}"))?;
    let text = serde_json::to_vec(&spec).map_err(|e| format!("write the configuration: {e}"))?;
    fs::write(bundle.join("config.json"), text)
        .map_err(|e| format!("write the configuration: {e}"))?;

    let tty = spec["process"]["terminal"] == true;
    if !tty {
        give_streams_to(&user);
    }
    let console =
        tty.then(|| Console::open(dir)).transpose().map_err(|e| format!("terminal: {e}"))?;
    let oci = dir.join("oci");
    drop(fs::remove_dir_all(&oci));
    let mut container = ContainerBuilder::new(NAME.to_owned(), SyscallType::default())
        .with_root_path(oci)
        .map_err(|e| chain(&e))?
        .with_executor(Payload::new(security)?)
        .with_console_socket(console.as_ref().map(|console| &console.path))
        .as_init(&bundle)
        .with_systemd(false)
        .as_sibling(true)
        .build()
        .map_err(|e| chain(&e))?;
    let terminal =
        console.map(Console::receive).transpose().map_err(|e| format!("terminal: {e}"))?;
    let pid = container.pid().map(|pid| pid.as_raw()).ok_or("the container has no process")?;
    container.start().map_err(|e| chain(&e))?;
    Ok((Report::Running { pid, user: Some(user) }, terminal))
}

fn try_exec(dir: &Path, tty: bool, cmd: &[&str]) -> Result<(Report, Option<OwnedFd>), String> {
    let create: Create = load(&dir.join("create.json"))?;
    let config: Value = load(&dir.join("bundle/config.json"))?;
    let mut process = config["process"].clone();
    process["args"] = json!(cmd);
    process["terminal"] = json!(tty);
    if tty {
        set_default_env(&mut process, "TERM", "xterm");
    }
    let user: User = User {
        uid: number(&process["user"]["uid"]),
        gid: number(&process["user"]["gid"]),
        groups: Vec::new(),
    };
    drop(fs::write("/proc/self/oom_score_adj", create.oom_score_adj.to_string()));
    if !tty {
        give_streams_to(&user);
    }
    rootfs::enter_private_namespace(false, Path::new("/"))
        .and_then(|()| cgroups::enter(&create.groups))
        .and_then(|()| cgroups::hide(&Groups { views: Vec::new(), ..create.groups.clone() }))
        .map_err(|e| format!("enter the container's cgroups: {e}"))?;
    let text = serde_json::to_vec(&process).map_err(|e| format!("write the process: {e}"))?;
    let memory = memfd_create(c"process", MFdFlags::MFD_CLOEXEC)
        .map_err(|e| format!("write the process: {e}"))?;
    let mut memory = File::from(memory);
    memory.write_all(&text).map_err(|e| format!("write the process: {e}"))?;
    let path = format!("/proc/self/fd/{}", memory.as_raw_fd());
    let console =
        tty.then(|| Console::open(dir)).transpose().map_err(|e| format!("terminal: {e}"))?;
    let pid = ContainerBuilder::new(NAME.to_owned(), SyscallType::default())
        .with_root_path(dir.join("oci"))
        .map_err(|e| chain(&e))?
        .with_executor(Payload::new(create.security.clamped())?)
        .with_console_socket(console.as_ref().map(|console| &console.path))
        .as_tenant()
        .with_process(Some(path))
        .with_detach(true)
        .as_sibling(true)
        .build()
        .map_err(|e| chain(&e))?;
    let terminal =
        console.map(Console::receive).transpose().map_err(|e| format!("terminal: {e}"))?;
    Ok((Report::Running { pid: pid.as_raw(), user: None }, terminal))
}

fn number(value: &Value) -> u32 {
    value.as_u64().and_then(|number| u32::try_from(number).ok()).unwrap_or_default()
}

/// Adds an environment variable that is not there.
fn set_default_env(process: &mut Value, key: &str, value: &str) {
    let Some(env) = process["env"].as_array_mut() else { return };
    let prefix = format!("{key}=");
    if !env.iter().any(|entry| entry.as_str().is_some_and(|entry| entry.starts_with(&prefix))) {
        env.push(Value::String(format!("{prefix}{value}")));
    }
}

/// Lets the container's user open `/dev/stdout` and the like, which are pipes of root's.
fn give_streams_to(user: &User) {
    let (uid, gid) = (nix::unistd::Uid::from_raw(user.uid), nix::unistd::Gid::from_raw(user.gid));
    let streams = [
        io::stdin().as_fd().try_clone_to_owned(),
        io::stdout().as_fd().try_clone_to_owned(),
        io::stderr().as_fd().try_clone_to_owned(),
    ];
    for stream in streams.into_iter().flatten() {
        let pipe = nix::sys::stat::fstat(&stream)
            .is_ok_and(|stat| stat.st_mode & libc::S_IFMT == libc::S_IFIFO);
        if pipe {
            _ = nix::unistd::fchown(&stream, Some(uid), Some(gid));
        }
    }
}

/// Where `libcontainer` sends the master side of a new terminal.
struct Console {
    path: PathBuf,
    listener: UnixListener,
}

impl Console {
    fn open(dir: &Path) -> io::Result<Self> {
        // Unix sockets take short paths only, so the folder is entered first.
        let name = format!("console-{}.sock", std::process::id());
        std::env::set_current_dir(dir)?;
        let listener = UnixListener::bind(&name)?;
        drop(fs::remove_file("oci/c/console-socket"));
        std::env::set_current_dir("/")?;
        Ok(Self { path: dir.join(name), listener })
    }

    fn receive(self) -> io::Result<OwnedFd> {
        let (stream, _) = self.listener.accept()?;
        drop(fs::remove_file(&self.path));
        let (_, fds) = fds::receive(stream.as_fd(), &mut [0; 4096])?;
        let terminal =
            fds.into_iter().next().ok_or_else(|| io::Error::other("no terminal came"))?;
        Ok(terminal)
    }
}
