//! The life of a sandbox: its folder, its shim, its network, its end.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use container_runtime::{
    ContainerEventType, Error, NamespaceMode, PodSandboxConfig, PodSandboxState, Result,
};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::client::{self, ShimConnection, shim_is};
use super::ending::{self, Ending};
use super::records::{SandboxRecord, ShimProcess};
use super::{NativeRuntime, blocking, files, internal};
use crate::network::Attach;
use crate::shim::Setup;
use crate::shim::protocol::{Message, Request};

/// How long a shim may take to end what it holds.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// The network namespace of a sandbox: its shim is in it.
fn netns_of(shim: ShimProcess) -> PathBuf {
    format!("/proc/{}/ns/net", shim.pid).into()
}

impl NativeRuntime {
    pub(super) async fn run_sandbox(
        &self,
        config: &PodSandboxConfig,
        handler: &str,
    ) -> Result<String> {
        if !handler.is_empty() {
            return Err(Error::InvalidArgument(format!("there is no runtime handler {handler:?}")));
        }
        let userns = &config.linux.security_context.namespace_options.userns_options;
        if userns.as_ref().is_some_and(|userns| userns.mode == NamespaceMode::Pod) {
            return Err(Error::Unimplemented("user namespaces".to_owned()));
        }
        let id = new_id();
        let parent = config.linux.cgroup_parent.trim_end_matches('/');
        let cgroup = if parent.is_empty() {
            format!("/{}/{id}", self.options.cgroup_root.trim_matches('/'))
        } else {
            parent.to_owned()
        };
        let record = SandboxRecord {
            id: id.clone(),
            config: config.clone(),
            created_at: self.now(),
            state: PodSandboxState::NotReady,
            cgroup,
            ..SandboxRecord::default()
        };
        {
            // One lock over looking and inserting: two calls for one pod cannot both pass.
            let mut state = self.state.lock();
            if let Some(old) = state.sandbox_of(&config.metadata) {
                let name = &config.metadata.name;
                return Err(Error::AlreadyExists(format!("sandbox {} of pod {name}", old.id)));
            }
            state.sandboxes.insert(id.clone(), record.clone());
        }
        match self.bring_up(record).await {
            Ok(()) => {
                self.announce(ContainerEventType::ContainerCreatedEvent, &id, &id);
                self.announce(ContainerEventType::ContainerStartedEvent, &id, &id);
                Ok(id)
            }
            Err(error) => {
                self.tear_down(&id).await;
                self.forget_sandbox(&id).await;
                Err(error)
            }
        }
    }

    async fn bring_up(&self, record: SandboxRecord) -> Result<()> {
        let id = record.id.clone();
        let runtime = self.shared();
        let spawned = blocking(move || runtime.start_shim(&record)).await?;
        let (shim, pause_pid) = spawned;
        let record = self.change_sandbox(&id, |record| {
            record.shim = Some(shim);
            record.pause_pid = pause_pid;
        });
        let record = record.ok_or_else(|| Error::NotFound(format!("sandbox {id}")))?;
        let mut ips = Vec::new();
        if record.config.linux.security_context.namespace_options.network != NamespaceMode::Node {
            let attach = Attach {
                sandbox_id: id.clone(),
                netns: netns_of(shim),
                metadata: record.config.metadata.clone(),
                port_mappings: record.config.port_mappings.clone(),
            };
            let attached = self.options.network.attach(&attach).await;
            let attached = attached.map_err(|why| internal("attach the pod's network", why))?;
            ips = attached.iter().map(ToString::to_string).collect();
        }
        self.watch(&id, shim).await?;
        self.change_sandbox(&id, |record| {
            record.ips = ips;
            record.state = PodSandboxState::Ready;
        });
        Ok(())
    }

    /// Makes a sandbox's folder and starts its shim.
    fn start_shim(&self, record: &SandboxRecord) -> Result<(ShimProcess, Option<i32>)> {
        let dir = self.sandbox_dir(&record.id);
        let fail = |e: std::io::Error| internal("make the sandbox's folder", e);
        fs::create_dir_all(dir.join("c")).map_err(fail)?;
        self.save_sandbox(record)?;
        let config = &record.config;
        let namespaces = &config.linux.security_context.namespace_options;
        let on_host = |mode| mode == NamespaceMode::Node;
        let host_resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        let hostname = self.hostname(config);
        let resolv_conf = files::resolv_conf(config.dns_config.as_ref(), &host_resolv);
        fs::write(dir.join("resolv.conf"), resolv_conf).map_err(fail)?;
        fs::write(dir.join("hostname"), format!("{hostname}\n")).map_err(fail)?;
        let hosts = if on_host(namespaces.network) {
            fs::read_to_string("/etc/hosts").unwrap_or_default()
        } else {
            files::hosts(config)
        };
        fs::write(dir.join("hosts"), hosts).map_err(fail)?;
        if !on_host(namespaces.ipc) {
            mount_shm(&dir.join("shm"))?;
        }
        if let Some(resources) = &config.linux.resources {
            self.cgroups
                .update(&record.cgroup, resources)
                .map_err(|e| internal("limit the pod", e))?;
        }
        let root = self.options.cgroup_root.trim_matches('/');
        let procs = self.cgroups.make(&format!("/{root}/shims")).unwrap_or_default();
        let setup = Setup {
            net: !on_host(namespaces.network),
            uts: !on_host(namespaces.network),
            ipc: !on_host(namespaces.ipc),
            pid: namespaces.pid == NamespaceMode::Pod,
            hostname,
            sysctls: config.linux.sysctls.clone(),
            cgroup_procs: procs.iter().map(|path| path.display().to_string()).collect(),
            oom_score_adj: -998,
        };
        let text = serde_json::to_vec(&setup).map_err(|e| internal("write shim.json", e))?;
        fs::write(dir.join("shim.json"), text).map_err(fail)?;
        client::spawn(&self.options.shim_binary, &dir)
    }

    /// A pod's host name: its own, or the node's where it shares the node's network.
    pub(super) fn hostname(&self, config: &PodSandboxConfig) -> String {
        let network = config.linux.security_context.namespace_options.network;
        if config.hostname.is_empty() || network == NamespaceMode::Node {
            let node = nix::unistd::gethostname().unwrap_or_default();
            return node.to_string_lossy().into_owned();
        }
        config.hostname.clone()
    }

    /// Takes in what a shim knows, then follows what it says, until it is gone.
    pub(super) async fn watch(&self, id: &str, shim: ShimProcess) -> Result<()> {
        let lost = |e: std::io::Error| Error::Unavailable(format!("the shim: {e}"));
        let mut connection = ShimConnection::open(&self.sandbox_dir(id)).await.map_err(lost)?;
        let Message::Hello { containers, .. } = connection.ask(&Request::Watch, &[]).await? else {
            return Err(Error::Unavailable("the shim does not say hello".to_owned()));
        };
        self.take_over(id, &containers);
        let (runtime, id) = (self.me.clone(), id.to_owned());
        tokio::spawn(async move {
            loop {
                let message = connection.receive().await;
                let Some(runtime) = runtime.upgrade() else { return };
                match message {
                    Ok(Some(Message::Exited { id, exit })) => {
                        let work = blocking({
                            let runtime = runtime.clone();
                            move || {
                                runtime.container_ended(&id, exit.code, exit.at);
                                Ok(())
                            }
                        });
                        drop(work.await);
                    }
                    Ok(Some(Message::Running(known))) => {
                        // A start that was asked for by this Ferry is told by its own answer.
                        if !runtime.state.lock().starting.contains(&known.id) {
                            runtime.take_one(&known);
                        }
                    }
                    Ok(Some(_)) => {}
                    Ok(None) | Err(_) => return runtime.shim_gone(&id, shim).await,
                }
            }
        });
        Ok(())
    }

    /// A shim hung up: it was told to, or it died. Either way its containers are no more.
    pub(super) async fn shim_gone(&self, id: &str, shim: ShimProcess) {
        // One that lives but does not speak cannot be trusted with containers.
        ending::force(shim);
        // Not ready before its containers are reported as ended: who hears of them looks at both.
        let was_ready = self.state.lock().ready(id).is_ok();
        if was_ready {
            tracing::warn!(sandbox = id, "the shim died; its containers end with it");
            self.change_sandbox(id, |record| {
                record.state = PodSandboxState::NotReady;
                record.ips.clear();
            });
        }
        self.end_containers(id).await;
        if was_ready {
            if let Err(why) = self.options.network.detach(id).await {
                tracing::warn!(sandbox = id, why, "cannot give the sandbox's addresses back yet");
            }
            self.announce(ContainerEventType::ContainerStoppedEvent, id, id);
        }
    }

    /// Kills what is left of a sandbox's containers and marks them ended.
    pub(super) async fn end_containers(&self, id: &str) {
        let containers = self.state.lock().containers_of(id);
        for container in containers {
            let runtime = self.shared();
            let work = blocking(move || {
                let record = runtime.state.lock().container(&container)?.clone();
                runtime.cgroups.kill(&record.cgroup);
                let exit = runtime.container_dir(&record.sandbox, &container).join("exit.json");
                let exit: Option<crate::shim::protocol::Exit> =
                    super::records::load(&exit).ok().filter(|_| record.started_at > 0);
                let (code, at) = exit.map_or((137, runtime.now()), |exit| (exit.code, exit.at));
                runtime.container_ended(&container, code, at);
                Ok(())
            });
            drop(work.await);
        }
    }

    /// Stops a sandbox; what is stopped already is left as it is.
    pub(super) async fn stop_sandbox(&self, id: &str) -> Result<()> {
        let state = self.state.lock().sandboxes.get(id).map(|sandbox| sandbox.state);
        let Some(state) = state else { return Ok(()) };
        self.change_sandbox(id, |record| {
            record.state = PodSandboxState::NotReady;
            record.ips.clear();
        });
        self.settle(id).await;
        self.tear_down(id).await;
        let detached = self.options.network.detach(id).await;
        detached.map_err(|why| internal("give the sandbox's addresses back", why))?;
        if state == PodSandboxState::Ready {
            self.announce(ContainerEventType::ContainerStoppedEvent, id, id);
        }
        Ok(())
    }

    /// Lets a sandbox's last bytes reach their readers before its namespace goes with its shim.
    async fn settle(&self, id: &str) {
        let Ok(record) = self.state.lock().sandbox(id).cloned() else { return };
        let own = record.config.linux.security_context.namespace_options.network;
        if let Some(shim) = record.shim.filter(|shim| shim_is(*shim))
            && own != NamespaceMode::Node
        {
            self.options.network.settle(&netns_of(shim)).await;
        }
    }

    /// Ends a sandbox's shim and with it every process, mount and cgroup of its containers.
    pub(super) async fn tear_down(&self, id: &str) {
        let Ok(record) = self.state.lock().sandbox(id).cloned() else { return };
        let dir = self.sandbox_dir(id);
        if let Some(shim) = record.shim {
            end_shim(id, &dir, shim).await;
        }
        self.end_containers(id).await;
        let containers = self.state.lock().containers_of(id);
        for container in containers {
            let cgroup = self.state.lock().containers.get(&container).map(|c| c.cgroup.clone());
            if let Some(cgroup) = cgroup {
                self.remove_cgroup(&cgroup).await;
            }
        }
        let work = blocking(move || {
            unmount(&dir.join("shm"));
            Ok(())
        });
        drop(work.await);
        self.cgroups.remove_if_empty(&record.cgroup);
    }

    /// Takes a cgroup away, waiting for killed processes to leave it.
    pub(super) async fn remove_cgroup(&self, cgroup: &str) {
        for wait_ms in [0, 1, 2, 5, 10, 20, 50, 100, 200, 500] {
            tokio::time::sleep(Duration::from_millis(wait_ms)).await;
            let (runtime, group) = (self.shared(), cgroup.to_owned());
            let gone = blocking(move || {
                let gone = runtime.cgroups.remove(&group);
                if !gone {
                    runtime.cgroups.kill(&group);
                }
                Ok(gone)
            });
            if gone.await.unwrap_or(false) {
                return;
            }
        }
        tracing::warn!(
            cgroup,
            "a cgroup could not be removed; it is tried again at the next start"
        );
    }

    pub(super) async fn remove_sandbox(&self, id: &str) -> Result<()> {
        if self.state.lock().sandbox(id).is_err() {
            return Ok(());
        }
        self.stop_sandbox(id).await?;
        let containers = self.state.lock().containers_of(id);
        for container in containers {
            self.remove_one(&container).await?;
        }
        self.forget_sandbox(id).await;
        self.announce(ContainerEventType::ContainerDeletedEvent, id, id);
        Ok(())
    }

    pub(super) async fn forget_sandbox(&self, id: &str) {
        let dir = self.sandbox_dir(id);
        let work = blocking(move || {
            unmount(&dir.join("shm"));
            remove_folder(&dir);
            Ok(())
        });
        drop(work.await);
        self.state.lock().sandboxes.remove(id);
    }
}

/// Sixty-four hex digits, as other runtimes make them.
pub(super) fn new_id() -> String {
    let rng = base::rng::SharedRng::from_os();
    let bytes = [rng.bytes16(), rng.bytes16()].concat();
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Ends a shim: it is asked first, and killed when it does not go.
async fn end_shim(sandbox: &str, dir: &Path, shim: ShimProcess) {
    let ending = match Ending::of(shim) {
        Ok(Some(ending)) => ending,
        Ok(None) => return,
        Err(error) => {
            tracing::warn!(sandbox, %error, "the end of a shim cannot be waited for; killing it");
            return ending::force(shim);
        }
    };
    let farewell = async {
        let mut connection = ShimConnection::open(dir).await?;
        connection.send(&Request::Shutdown, &[]).await?;
        while connection.receive().await?.is_some() {}
        std::io::Result::Ok(())
    };
    let gone = async {
        // One that was told before does not listen any more; its end is on the way.
        drop(farewell.await);
        ending.come().await;
    };
    if tokio::time::timeout(SHUTDOWN, gone).await.is_err() {
        tracing::warn!(sandbox, "the shim does not end by itself; killing it");
        ending::force(shim);
        drop(tokio::time::timeout(SHUTDOWN, ending.come()).await);
    }
}

fn mount_shm(path: &Path) -> Result<()> {
    let fail = |e: std::io::Error| internal("mount the pod's /dev/shm", e);
    fs::create_dir_all(path).map_err(fail)?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("shm"), path, Some("tmpfs"), flags, Some("mode=1777,size=65536k"))
        .map_err(|e| fail(e.into()))
}

/// Unmounts a path if something is mounted on it.
pub(crate) fn unmount(path: &Path) {
    while umount2(path, MntFlags::MNT_DETACH | MntFlags::UMOUNT_NOFOLLOW).is_ok() {}
}

/// Removes a folder with everything in it; what resists is found at the next start.
pub(super) fn remove_folder(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        tracing::warn!(path = %path.display(), %error, "a folder could not be removed");
    }
}
