//! Brings a pod up: volumes, sandbox, containers.

use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use container_runtime::{ContainerState, ImageSpec, Mount, PodSandboxConfig};
use k8s_openapi::api::core::v1::{Container, Pod, VolumeMount};

use super::view::PodView;
use super::{Worker, backoff, hooks};
use crate::config::{container as container_config, dns, hosts, labels, resources, sandbox};
use crate::objects::Objects;
use crate::pod::{self, ContainerKind};
use crate::status::containers::Waiting;
use crate::{env, volumes};

/// The first and the longest wait after a failed volume or sandbox.
const RETRY_FIRST: Duration = Duration::from_millis(500);
const RETRY_MAX: Duration = Duration::from_secs(120);

/// Why a container was not started; its waiting state and when to try again.
pub(super) struct NotStarted {
    pub(super) waiting: Waiting,
    pub(super) retry_in: Option<Duration>,
}

impl NotStarted {
    fn new(reason: &str, message: impl Into<String>, retry_in: Duration) -> Self {
        let waiting = Waiting { reason: reason.to_owned(), message: message.into() };
        Self { waiting, retry_in: Some(retry_in) }
    }
}

impl Worker {
    /// Sets up the pod's volumes, or brings them up to date; whether all are ready.
    pub(super) async fn set_up_volumes(&mut self, pod: &Pod, view: &PodView) -> bool {
        self.node.objects.wait_for(&self.id.uid, &Objects::shown_by(pod), &self.wake);
        let dir = self.node.pod_dir(&self.id.uid);
        let place = self.node.place(pod, view.ips());
        let spec = pod::spec(pod);
        let node = self.node.clone();
        let make = |dir: PathBuf| volumes::Context {
            pod,
            dir,
            objects: &node.objects,
            tokens: &node.tokens,
            place: &place,
            now: node.clock.now(),
            may_mount: node.may_mount,
        };
        let all = spec.volumes.as_deref().unwrap_or_default();
        let (ready, failed) = volumes::set_up_all(&dir, make, all).await;
        let next = ready.values().filter_map(|one| one.refresh_at).min();
        self.volumes.extend(ready);
        if let Some(at) = next {
            let wait = at.duration_since(self.node.clock.now());
            self.wake_in(Duration::try_from(wait).unwrap_or_default());
        }
        if failed.is_empty() {
            self.mount_wait = RETRY_FIRST;
            self.last_mount_error.clear();
            return true;
        }
        let mut said = String::new();
        for one in &failed {
            let text =
                format!("MountVolume.SetUp failed for volume \"{}\" : {}", one.volume, one.error);
            // Waking for another reason does not repeat what was said.
            if self.last_mount_error != text {
                self.events.warning("FailedMount", text.clone());
            }
            said = text;
        }
        self.last_mount_error = said;
        self.wake_in(self.mount_wait);
        self.mount_wait = (self.mount_wait * 2).min(RETRY_MAX);
        // A volume that was ready before stays usable with its old contents.
        failed.iter().all(|one| self.volumes.contains_key(&one.volume))
    }

    /// The sandbox as the pod wants it.
    pub(super) fn sandbox_config(
        &self,
        pod: &Pod,
        attempt: u32,
    ) -> Result<PodSandboxConfig, String> {
        let (dns, _) = dns::pod_dns(pod, &self.node.cluster_dns(), &self.node.host_dns);
        let options = &self.node.options;
        sandbox::sandbox_config(pod, attempt, dns, &options.cluster_domain, &options.log_dir)
    }

    /// Makes a sandbox; whether it is there.
    pub(super) async fn create_sandbox(&mut self, pod: &Pod, attempt: u32) -> bool {
        let made = match self.sandbox_config(pod, attempt) {
            Ok(config) => {
                let _made = std::fs::create_dir_all(&config.log_directory);
                self.run_sandbox(pod, &config).await
            }
            Err(error) => Err(error),
        };
        match made {
            Ok(_) => {
                self.sandbox_wait = RETRY_FIRST;
                self.pod_limits = Some(resources::of_pod(pod));
                let of_pod = pod::spec(pod).resources.clone();
                self.note(|in_force| in_force.pod.clone_from(&of_pod));
                true
            }
            Err(error) => {
                self.events.warning(
                    "FailedCreatePodSandBox",
                    format!("Failed to create pod sandbox: {error}"),
                );
                self.wake_in(self.sandbox_wait);
                self.sandbox_wait = (self.sandbox_wait * 2).min(RETRY_MAX);
                false
            }
        }
    }

    async fn run_sandbox(&self, pod: &Pod, config: &PodSandboxConfig) -> Result<String, String> {
        let (_, left_out) = dns::pod_dns(pod, &self.node.cluster_dns(), &self.node.host_dns);
        if let Some(left_out) = left_out {
            self.events.warning("DNSConfigForming", left_out);
        }
        let class = pod::spec(pod).runtime_class_name.clone().unwrap_or_default();
        let handler = self.node.objects.runtime_handler(&class).await?;
        let made = self.node.runtime.run_pod_sandbox(config, &handler).await;
        made.map_err(|error| {
            format!("rpc error: code = {} desc = {}", error.code(), error.message())
        })
    }

    /// Starts one container of a ready pod.
    pub(super) async fn start_container(
        &mut self,
        pod: &Pod,
        view: &PodView,
        name: &str,
        config: &PodSandboxConfig,
    ) -> Result<(), NotStarted> {
        let Some((kind, container)) = pod::container(pod, name) else { return Ok(()) };
        let Some(sandbox) = view.ready_sandbox() else { return Ok(()) };
        if !self.restart_at_once.remove(name) {
            self.check_backoff(pod, &container, view)?;
        }
        let present = self.image(pod, &container, config).await?;
        for image in self.mounted_images(&container) {
            self.image(pod, &image, config).await?;
        }
        let restarts = restarts(pod, view, name);
        let env = self
            .environment(pod, &container, view)
            .await
            .map_err(|error| self.config_error(name, error))?;
        let mounts = self
            .mounts(pod, &container, view, &env)
            .await
            .map_err(|error| self.config_error(name, error))?;
        let target = (kind == ContainerKind::Ephemeral)
            .then(|| pod::target_container(pod, name))
            .flatten()
            .and_then(|target| view.latest(&target).map(|status| status.id.clone()));
        let inputs = container_config::Inputs {
            restarts,
            image_ref: present.reference,
            image: present.image.as_ref(),
            env,
            mounts,
            target,
            node_memory: self.node.machine.memory,
            seccomp_root: self.node.options.data_dir.join("seccomp").to_string_lossy().into_owned(),
        };
        let made = container_config::container_config(pod, &container, inputs);
        let made = made.map_err(|error| self.config_error(name, error))?;
        let runtime = self.node.runtime.clone();
        let id = runtime.create_container(&sandbox.id, &made, config).await.map_err(|error| {
            self.events.container_warning(name, "Failed", format!("Error: {error}"));
            NotStarted::new("CreateContainerError", error.to_string(), backoff::INITIAL)
        })?;
        self.events.container_normal(name, "Created", "Container created");
        if kind != ContainerKind::Ephemeral {
            let given = container.resources.clone().unwrap_or_default();
            self.note(|in_force| {
                in_force.containers.insert(name.to_owned(), given.clone());
            });
        }
        if let Err(error) = runtime.start_container(&id).await {
            self.events.container_warning(name, "Failed", format!("Error: {error}"));
            // The container is `Exited` now: the next look plans its restart.
            return Err(NotStarted::new("RunContainerError", error.to_string(), Duration::ZERO));
        }
        self.events.container_normal(name, "Started", "Container started");
        self.post_start(pod, &container, &id, view).await
    }

    async fn post_start(
        &mut self,
        pod: &Pod,
        container: &Container,
        id: &str,
        view: &PodView,
    ) -> Result<(), NotStarted> {
        let Some(hook) = container.lifecycle.as_ref().and_then(|hooks| hooks.post_start.as_ref())
        else {
            return Ok(());
        };
        let host = self.pod_host(pod, view);
        let agent = self.node.probe_agent();
        let runtime = self.node.runtime.clone();
        let ran = tokio::select! {
            ran = hooks::run(&*runtime, container, id, hook, host, &agent) => ran,
            // A pod that is to be deleted does not wait for its hook.
            () = self.asked_to_stop() => return Ok(()),
        };
        let Err(error) = ran else { return Ok(()) };
        tracing::info!(pod = %self.id, container = container.name, error, "a postStart hook failed");
        self.events.container_warning(
            &container.name,
            "FailedPostStartHook",
            "PostStartHook failed",
        );
        let grace = Duration::from_secs(grace_of_spec(pod));
        self.kill_container(
            pod,
            view,
            &container.name,
            id,
            "FailedPostStartHook",
            tokio::time::Instant::now() + grace,
        )
        .await;
        Err(NotStarted::new(
            "PostStartHookError",
            format!("PostStartHook failed: {error}"),
            Duration::ZERO,
        ))
    }

    fn config_error(&self, name: &str, error: String) -> NotStarted {
        self.events.container_warning(name, "Failed", format!("Error: {error}"));
        NotStarted::new("CreateContainerConfigError", error, Duration::from_secs(10))
    }

    /// A container that ended is started again only after its back-off.
    fn check_backoff(
        &mut self,
        pod: &Pod,
        container: &Container,
        view: &PodView,
    ) -> Result<(), NotStarted> {
        let Some(latest) = view.latest(&container.name) else { return Ok(()) };
        if latest.state != ContainerState::Exited {
            return Ok(());
        }
        let now = self.node.clock.now();
        let ended =
            base::clock::Timestamp::from_nanosecond(latest.finished_at.into()).unwrap_or(now);
        let key = format!("{}_{}", container.name, pod::container_hash(container));
        if let Some((left, whole)) = self.backoff.remaining(&key, ended, now) {
            let (name, id) = (&container.name, pod::PodRef::of(pod));
            // Said once for each back-off, not each time something else wakes the worker.
            if self.waiting.get(name).is_none_or(|waiting| waiting.reason != "CrashLoopBackOff") {
                let text = format!("Back-off restarting failed container {name} in pod {id}");
                self.events.container_warning(name, "BackOff", text);
            }
            let whole = backoff::go_duration(whole);
            let message = format!("back-off {whole} restarting failed container={name} pod={id}");
            return Err(NotStarted::new("CrashLoopBackOff", message, left));
        }
        self.backoff.next(&key, ended, now);
        Ok(())
    }

    async fn image(
        &mut self,
        pod: &Pod,
        container: &Container,
        config: &PodSandboxConfig,
    ) -> Result<crate::images::Present, NotStarted> {
        let node = self.node.clone();
        let (events, name) = (self.events.clone(), container.name.clone());
        let say = move |reason: &str, message: String, warning: bool| {
            if warning {
                events.container_warning(&name, reason, message);
            } else {
                events.container_normal(&name, reason, message);
            }
        };
        let ensured = tokio::select! {
            ensured = node.images.ensure(pod, container, &node.objects, Some(config), &say) => ensured,
            () = self.asked_to_stop() => {
                return Err(NotStarted::new("ContainerCreating", "", Duration::ZERO));
            }
        };
        ensured.map_err(|absent| NotStarted {
            waiting: absent.waiting,
            retry_in: Some(absent.retry_in),
        })
    }

    /// The images that a container mounts as volumes, as containers of them would be pulled.
    fn mounted_images(&self, container: &Container) -> Vec<Container> {
        let volumes = container
            .volume_mounts
            .iter()
            .flatten()
            .filter_map(|mount| self.volumes.get(&mount.name));
        let images = volumes.filter_map(|volume| volume.image.clone());
        images
            .map(|image| Container {
                name: container.name.clone(),
                image: Some(image.reference),
                image_pull_policy: image.pull_policy,
                ..Container::default()
            })
            .collect()
    }

    async fn environment(
        &self,
        pod: &Pod,
        container: &Container,
        view: &PodView,
    ) -> Result<Vec<(String, String)>, String> {
        let objects = &self.node.objects;
        let namespace = pod::namespace(pod);
        let mut sources = env::Sources::default();
        let (maps, secrets) = env::referenced(container);
        for name in maps {
            let found = objects.config_map(namespace, &name).await?;
            sources.config_maps.insert(name, found);
        }
        for name in secrets {
            let found = objects.secret(namespace, &name).await?;
            sources.secrets.insert(name, found);
        }
        let links = pod::spec(pod).enable_service_links != Some(false);
        let services =
            env::services::service_variables(&objects.services(namespace), namespace, links);
        let place = self.node.place(pod, view.ips());
        env::environment(pod, container, &place, &sources, &services)
    }

    async fn mounts(
        &mut self,
        pod: &Pod,
        container: &Container,
        view: &PodView,
        env: &[(String, String)],
    ) -> Result<Vec<Mount>, String> {
        let mut mounts = Vec::new();
        for (index, mount) in container.volume_mounts.iter().flatten().enumerate() {
            mounts.push(self.volume_mount(container, index, mount, env).await?);
        }
        let dir = self.node.pod_dir(&self.id.uid);
        if !mounts.iter().any(|mount| mount.container_path == "/etc/hosts") {
            mounts.push(self.hosts_mount(pod, view, &dir)?);
        }
        let words = labels::message_path(container);
        let file = dir.join("containers").join(&container.name).join(self.node.rng.name_suffix(8));
        write_file(&file, b"", 0o666)?;
        mounts.push(Mount {
            container_path: words.to_owned(),
            host_path: file.to_string_lossy().into_owned(),
            ..Mount::default()
        });
        Ok(mounts)
    }

    fn hosts_mount(&self, pod: &Pod, view: &PodView, dir: &Path) -> Result<Mount, String> {
        let text = if pod::is_host_network(pod) {
            hosts::of_node(pod, &std::fs::read_to_string("/etc/hosts").unwrap_or_default())
        } else {
            let names = hosts::host_name(pod, &self.node.options.cluster_domain)?;
            hosts::managed(pod, &view.ips(), &names)
        };
        let file = dir.join("etc-hosts");
        write_file(&file, text.as_bytes(), 0o644)?;
        Ok(Mount {
            container_path: "/etc/hosts".to_owned(),
            host_path: file.to_string_lossy().into_owned(),
            ..Mount::default()
        })
    }

    async fn volume_mount(
        &self,
        container: &Container,
        index: usize,
        mount: &VolumeMount,
        env: &[(String, String)],
    ) -> Result<Mount, String> {
        let Some(volume) = self.volumes.get(&mount.name) else {
            return Err(format!(
                "cannot find volume \"{}\" to mount into container \"{}\"",
                mount.name, container.name
            ));
        };
        let sub_path = container_config::sub_path(mount, env)?;
        let mut made = Mount {
            container_path: absolute(&mount.mount_path),
            readonly: mount.read_only == Some(true) || volume.read_only,
            propagation: container_config::propagation(mount),
            recursive_read_only: mount.recursive_read_only.as_deref() == Some("Enabled"),
            ..Mount::default()
        };
        if let Some(image) = &volume.image {
            made.image = Some(ImageSpec::named(image.reference.clone()));
            made.image_sub_path = sub_path;
            return Ok(made);
        }
        let path = if sub_path.is_empty() {
            volume.path.clone()
        } else {
            let target = self.node.pod_dir(&self.id.uid).join("volume-subpaths");
            let target = target.join(&mount.name).join(&container.name).join(index.to_string());
            volumes::prepare_sub_path(volume.path.clone(), sub_path, target, self.node.may_mount)
                .await
                .map_err(|error| format!("failed to prepare subPath for volumeMount \"{}\" of container \"{}\": {error}", mount.name, container.name))?
        };
        made.host_path = path.to_string_lossy().into_owned();
        Ok(made)
    }
}

/// A mount path is taken from the root when it does not say so.
fn absolute(path: &str) -> String {
    if path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

fn write_file(path: &Path, data: &[u8], mode: u32) -> Result<(), String> {
    let write = || -> std::io::Result<()> {
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        // In place: containers have this very file mounted.
        std::fs::write(path, data)?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))
    };
    write().map_err(|error| format!("write {}: {error}", path.display()))
}

/// How often a container was started before, by what is known of it.
fn restarts(pod: &Pod, view: &PodView, name: &str) -> u32 {
    if let Some(latest) = view.latest(name) {
        return labels::restarts(latest) + 1;
    }
    let status = pod.status.as_ref();
    let lists: BTreeMap<_, _> = status
        .into_iter()
        .flat_map(|status| [&status.container_statuses, &status.init_container_statuses])
        .flatten()
        .flatten()
        .map(|one| (one.name.as_str(), one))
        .collect();
    let Some(old) = lists.get(name) else { return 0 };
    let count = u32::try_from(old.restart_count).unwrap_or_default();
    if old.container_id.is_some() { count + 1 } else { count }
}

/// The grace that the pod's own spec gives, in seconds.
pub(super) fn grace_of_spec(pod: &Pod) -> u64 {
    let seconds = pod::spec(pod).termination_grace_period_seconds.unwrap_or(30);
    u64::try_from(seconds).unwrap_or_default()
}
