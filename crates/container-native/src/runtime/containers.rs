//! The life of a container.

use std::fs;
use std::path::Path;
use std::time::Duration;

use container_runtime::{
    ContainerConfig, ContainerEventType, ContainerState, Error, LinuxContainerResources,
    NamespaceMode, Result,
};
use nix::sys::signal::Signal;

use super::client;
use super::records::ContainerRecord;
use super::sandboxes::{new_id, remove_folder};
use super::{NativeRuntime, blocking, image_error, internal};
use crate::cgroup::Devices;
use crate::devices;
use crate::shim::Layers;
use crate::shim::protocol::{Message, Request, Start};
use crate::spec::{self, Parts};

/// How long a container may take to start.
const START: Duration = Duration::from_secs(120);

/// How long a container may take to end after SIGKILL.
const KILL: Duration = Duration::from_secs(10);

impl NativeRuntime {
    pub(super) async fn create(&self, sandbox: &str, config: &ContainerConfig) -> Result<String> {
        let id = new_id();
        let record = {
            // One lock over looking and inserting: two calls for one container cannot both pass.
            let mut state = self.state.lock();
            let pod = state.ready(sandbox)?;
            let cgroup = format!("{}/{id}", pod.cgroup);
            let log_path = match &*config.log_path {
                "" => String::new(),
                path => Path::new(&pod.config.log_directory).join(path).display().to_string(),
            };
            let same =
                |c: &&ContainerRecord| c.sandbox == sandbox && c.config.metadata == config.metadata;
            if let Some(old) = state.containers.values().find(same) {
                let name = &config.metadata.name;
                return Err(Error::AlreadyExists(format!("container {} for {name}", old.id)));
            }
            let record = ContainerRecord {
                id: id.clone(),
                sandbox: sandbox.to_owned(),
                config: config.clone(),
                created_at: self.now(),
                state: ContainerState::Created,
                log_path,
                cgroup,
                ..ContainerRecord::default()
            };
            state.containers.insert(id.clone(), record.clone());
            record
        };
        let runtime = self.shared();
        match blocking(move || runtime.prepare(record)).await {
            Ok(record) => {
                self.change_container(&id, |old| *old = record);
                self.announce(ContainerEventType::ContainerCreatedEvent, &id, sandbox);
                Ok(id)
            }
            Err(error) => {
                self.state.lock().containers.remove(&id);
                let dir = self.container_dir(sandbox, &id);
                drop(
                    blocking(move || {
                        remove_folder(&dir);
                        Ok(())
                    })
                    .await,
                );
                Err(error)
            }
        }
    }

    /// Makes a container's folder with everything that its helper needs.
    fn prepare(&self, mut record: ContainerRecord) -> Result<ContainerRecord> {
        let image = self.images.get(&record.config.image.image).map_err(image_error)?;
        let lower = self.images.unpack(&image).map_err(image_error)?;
        record.image_ref =
            image.repo_digests().into_iter().next().unwrap_or_else(|| image.id.clone());
        record.image_id.clone_from(&image.id);
        let process = &image.config.config;
        let signals = [&*record.config.stop_signal, &*process.stop_signal, "SIGTERM"];
        let signal = signals.into_iter().find(|signal| !signal.is_empty()).unwrap_or("SIGTERM");
        record.stop_signal = signal_name(signal)?;

        let dir = self.container_dir(&record.sandbox, &record.id);
        let fail = |e: std::io::Error| internal("make the container's folder", e);
        for folder in ["upper", "work", "rootfs"] {
            fs::create_dir_all(dir.join(folder)).map_err(fail)?;
        }
        // Before anything else names the layers: the sweeper of images looks here.
        fs::write(dir.join("layers"), lower.join("\n")).map_err(fail)?;
        let (pod, pid_of) = {
            let state = self.state.lock();
            let pod = state.ready(&record.sandbox)?.clone();
            let namespaces = &record.config.linux.security_context.namespace_options;
            let pid_of = match namespaces.pid {
                NamespaceMode::Pod => pod.pause_pid,
                NamespaceMode::Target => Some(state.running(&namespaces.target_id)?.pid),
                NamespaceMode::Container | NamespaceMode::Node => None,
            };
            (pod, pid_of)
        };
        for mount in &mut record.config.mounts {
            self.resolve_mount(mount)?;
        }
        let on_host =
            pod.config.linux.security_context.namespace_options.ipc == NamespaceMode::Node;
        let sandbox_dir = self.sandbox_dir(&record.sandbox);
        let shm = if on_host { "/dev/shm".into() } else { sandbox_dir.join("shm") };
        let hostname = self.hostname(&pod.config);
        let privileged = record.config.linux.security_context.privileged;
        let devices = if privileged { devices::all() } else { Vec::new() };
        let asked = record.config.devices.iter().map(devices::look_up);
        let asked = asked.collect::<std::result::Result<Vec<_>, _>>();
        let asked = asked.map_err(Error::InvalidArgument)?;
        let devices: Vec<_> = devices.into_iter().chain(asked.into_iter().flatten()).collect();
        let allowed = if privileged { Devices::All } else { Devices::Own(&devices) };
        let limits = &record.config.linux.resources;
        let groups = self.cgroups.groups(&record.cgroup, limits, &allowed, &dir);
        let layers = Layers {
            dir: self.images.layers_dir(),
            lower,
            upper: dir.join("upper"),
            work: dir.join("work"),
            target: dir.join("rootfs"),
        };
        let create = spec::build(Parts {
            config: &record.config,
            image: process,
            layers,
            cgroup: &record.cgroup,
            groups,
            files: sandbox_dir,
            shm,
            pid_of,
            hostname: &hostname,
            devices,
        })
        .map_err(Error::InvalidArgument)?;
        let text = serde_json::to_vec(&create).map_err(|e| internal("write create.json", e))?;
        fs::write(dir.join("create.json"), text).map_err(fail)?;
        self.save_container(&record)?;
        Ok(record)
    }

    /// Makes a mount's source a plain path that exists.
    fn resolve_mount(&self, mount: &mut container_runtime::Mount) -> Result<()> {
        if let Some(image) = mount.image.as_ref().filter(|image| !image.image.is_empty()) {
            let stored = self.images.get(&image.image).map_err(image_error)?;
            let lower = self.images.unpack(&stored).map_err(image_error)?;
            let [layer] = &*lower else {
                let why = "mounting an image of several layers".to_owned();
                return Err(Error::Unimplemented(why));
            };
            let root = self.images.layers_dir().join(layer);
            mount.host_path =
                root.join(mount.image_sub_path.trim_start_matches('/')).display().to_string();
            mount.readonly = true;
        }
        let source = Path::new(&mount.host_path);
        if !source.exists() {
            fs::create_dir_all(source)
                .map_err(|e| internal(&format!("make the mount source {}", mount.host_path), e))?;
        }
        let real = source.canonicalize();
        let real = real.map_err(|e| internal(&format!("find {}", mount.host_path), e))?;
        mount.host_path = real.display().to_string();
        Ok(())
    }

    pub(super) async fn start(&self, id: &str) -> Result<()> {
        let record = {
            let mut state = self.state.lock();
            let record = state.container(id)?.clone();
            if record.state != ContainerState::Created || !state.starting.insert(id.to_owned()) {
                return Err(Error::FailedPrecondition(format!(
                    "container {id} was started already"
                )));
            }
            if let Err(error) = state.ready(&record.sandbox) {
                state.starting.remove(id);
                return Err(error);
            }
            record
        };
        let namespaces = &record.config.linux.security_context.namespace_options;
        let own_pids = namespaces.pid == NamespaceMode::Container;
        let procs = (!own_pids).then(|| self.cgroups.procs(&record.cgroup)).flatten();
        let start = Start {
            id: id.to_owned(),
            dir: self.container_dir(&record.sandbox, id).display().to_string(),
            tty: record.config.tty,
            stdin: record.config.stdin,
            stdin_once: record.config.stdin_once,
            log_path: record.log_path.clone(),
            cgroup_procs: procs.map(|path| path.display().to_string()).unwrap_or_default(),
        };
        let dir = self.sandbox_dir(&record.sandbox);
        let asked = tokio::time::timeout(START, client::ask(&dir, &Request::Start(start))).await;
        let late = |_| Err(Error::DeadlineExceeded(format!("no answer in {START:?}")));
        match asked.unwrap_or_else(late) {
            Ok(Message::Started { pid, user }) => {
                let now = self.now();
                self.change_container(id, |record| {
                    record.state = ContainerState::Running;
                    record.pid = pid;
                    record.started_at = now;
                    record.user = user;
                });
                self.announce(ContainerEventType::ContainerStartedEvent, id, &record.sandbox);
                let early = {
                    let mut state = self.state.lock();
                    state.starting.remove(id);
                    state.early.remove(id)
                };
                if let Some((code, at)) = early {
                    self.container_ended(id, code, at);
                }
                Ok(())
            }
            Ok(_) => Err(Error::Internal("the shim answers beside the point".to_owned())),
            Err(error) => {
                self.start_failed(id, &record.cgroup, error.message()).await;
                Err(Error::Internal(format!("start container {id}: {}", error.message())))
            }
        }
    }

    async fn start_failed(&self, id: &str, cgroup: &str, why: &str) {
        let now = self.now();
        {
            let mut state = self.state.lock();
            state.starting.remove(id);
            state.early.remove(id);
        }
        let record = self.change_container(id, |record| {
            record.state = ContainerState::Exited;
            record.started_at = now;
            record.finished_at = now;
            record.exit_code = 128;
            record.reason = "StartError".to_owned();
            record.message = why.to_owned();
        });
        self.remove_cgroup(cgroup).await;
        if let Some(record) = record {
            self.announce(ContainerEventType::ContainerStoppedEvent, id, &record.sandbox);
        }
    }

    pub(super) async fn stop(&self, id: &str, timeout: Duration) -> Result<()> {
        let Some(record) = self.state.lock().containers.get(id).cloned() else { return Ok(()) };
        match record.state {
            ContainerState::Exited => return Ok(()),
            ContainerState::Running => {}
            ContainerState::Created | ContainerState::Unknown => {
                self.container_ended(id, 128, self.now());
                return Ok(());
            }
        }
        let dir = self.sandbox_dir(&record.sandbox);
        if !timeout.is_zero() {
            let signal = signal_number(&record.stop_signal)?;
            let request = Request::Kill { id: id.to_owned(), signal };
            // If the shim does not answer, its death is on its way to us and ends the container.
            drop(client::ask(&dir, &request).await);
            if tokio::time::timeout(timeout, self.until_ended(id)).await.is_ok() {
                return Ok(());
            }
        }
        let request = Request::Kill { id: id.to_owned(), signal: Signal::SIGKILL as i32 };
        drop(client::ask(&dir, &request).await);
        if tokio::time::timeout(KILL, self.until_ended(id)).await.is_ok() {
            return Ok(());
        }
        self.cgroups.kill(&record.cgroup);
        if tokio::time::timeout(KILL, self.until_ended(id)).await.is_ok() {
            return Ok(());
        }
        Err(Error::DeadlineExceeded(format!("container {id} does not die")))
    }

    pub(super) async fn remove_one(&self, id: &str) -> Result<()> {
        self.stop(id, Duration::ZERO).await?;
        let Some(record) = self.state.lock().containers.get(id).cloned() else { return Ok(()) };
        let request = Request::Forget { id: id.to_owned() };
        // A shim that is gone has forgotten.
        drop(client::ask(&self.sandbox_dir(&record.sandbox), &request).await);
        self.remove_cgroup(&record.cgroup).await;
        let dir = self.container_dir(&record.sandbox, id);
        let removed = blocking(move || {
            remove_folder(&dir);
            Ok(())
        });
        removed.await?;
        {
            let mut state = self.state.lock();
            state.containers.remove(id);
            state.cpu.remove(id);
        }
        self.announce(ContainerEventType::ContainerDeletedEvent, id, &record.sandbox);
        Ok(())
    }

    pub(super) async fn update(&self, id: &str, limits: &LinuxContainerResources) -> Result<()> {
        let record = self.state.lock().container(id)?.clone();
        if record.state == ContainerState::Exited {
            return Err(Error::FailedPrecondition(format!("container {id} has ended")));
        }
        if record.state == ContainerState::Running {
            let (runtime, limits) = (self.shared(), limits.clone());
            let update = move || runtime.cgroups.update(&record.cgroup, &limits);
            blocking(move || update().map_err(|e| internal("update the container", e))).await?;
        }
        self.change_container(id, |record| record.config.linux.resources.merge(limits));
        let record = self.state.lock().container(id)?.clone();
        if record.state == ContainerState::Created {
            // Not started yet: what it will be started with has to follow.
            let runtime = self.shared();
            blocking(move || runtime.prepare(record).map(drop)).await?;
        }
        Ok(())
    }

    pub(super) async fn reopen_log(&self, id: &str) -> Result<()> {
        let sandbox = self.state.lock().running(id)?.sandbox.clone();
        let request = Request::Reopen { id: id.to_owned() };
        client::ask(&self.sandbox_dir(&sandbox), &request).await.map(drop)
    }
}

/// `SIGTERM` from `SIGTERM`, `term` or `15`.
fn signal_name(text: &str) -> Result<String> {
    let upper = text.to_ascii_uppercase();
    let number = upper.parse::<i32>().ok().and_then(|number| Signal::try_from(number).ok());
    let name = if upper.starts_with("SIG") { upper } else { format!("SIG{upper}") };
    if name.starts_with("SIGRTM") {
        return Ok(name);
    }
    let signal = number.or_else(|| name.parse::<Signal>().ok());
    let signal = signal.ok_or_else(|| Error::InvalidArgument(format!("{text} is not a signal")))?;
    Ok(signal.as_str().to_owned())
}

fn signal_number(name: &str) -> Result<i32> {
    // Real-time signals have no names of their own in the kernel; systemd stops on SIGRTMIN+3.
    if let Some(offset) = name.strip_prefix("SIGRTMIN+") {
        return Ok(34 + offset.parse::<i32>().unwrap_or_default());
    }
    let signal = name.parse::<Signal>();
    signal.map(|signal| signal as i32).map_err(|_| Error::Internal(format!("{name}: no signal")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_by_name_and_number() {
        for text in ["SIGTERM", "term", "15", "TERM"] {
            assert_eq!(signal_name(text).unwrap(), "SIGTERM");
        }
        assert_eq!(signal_number("SIGQUIT").unwrap(), 3);
        assert_eq!(signal_number(&signal_name("SIGRTMIN+3").unwrap()).unwrap(), 37);
        assert!(signal_name("SIGNOTHING").is_err());
    }
}
