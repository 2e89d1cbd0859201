//! The two services of a container runtime.
//!
//! Rules for every implementation, checked by [`crate::conformance`]: stopping and removing are
//! idempotent (an unknown id is success), all other calls on an unknown id answer
//! [`Error::NotFound`](crate::Error::NotFound); a stopped sandbox keeps its record until it is
//! removed; events come by themselves, without anyone asking for a status.

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;

use crate::{
    AttachRequest, AuthConfig, CgroupDriver, Connection, Container, ContainerConfig,
    ContainerEvents, ContainerFilter, ContainerStats, ContainerStatus, ExecRequest,
    ExecSyncResponse, Image, ImageFilter, ImageFsInfo, ImageSpec, LinuxContainerResources,
    PodSandbox, PodSandboxConfig, PodSandboxFilter, PodSandboxStats, PodSandboxStatus,
    ProcessStreams, Result, RuntimeConfig, RuntimeStatus, Version,
};

/// CRI's `RuntimeService`.
#[async_trait]
pub trait RuntimeService: Send + Sync + Debug {
    /// Name and versions.
    async fn version(&self) -> Result<Version>;

    /// Whether runtime and network are ready.
    async fn status(&self) -> Result<RuntimeStatus>;

    /// Creates and starts a sandbox; answers its id. The same metadata (name, namespace, UID and
    /// attempt) twice is `AlreadyExists`.
    async fn run_pod_sandbox(
        &self,
        config: &PodSandboxConfig,
        runtime_handler: &str,
    ) -> Result<String>;

    /// Stops a sandbox: ends its containers by force, gives its addresses back. Idempotent.
    async fn stop_pod_sandbox(&self, pod_sandbox_id: &str) -> Result<()>;

    /// Removes a sandbox with all its containers, by force if they run. Idempotent.
    async fn remove_pod_sandbox(&self, pod_sandbox_id: &str) -> Result<()>;

    /// A sandbox in full.
    async fn pod_sandbox_status(&self, pod_sandbox_id: &str) -> Result<PodSandboxStatus>;

    /// The sandboxes that pass the filter.
    async fn list_pod_sandbox(&self, filter: &PodSandboxFilter) -> Result<Vec<PodSandbox>>;

    /// Creates a container in a sandbox; answers its id. The image must be there.
    async fn create_container(
        &self,
        pod_sandbox_id: &str,
        config: &ContainerConfig,
        sandbox_config: &PodSandboxConfig,
    ) -> Result<String>;

    /// Starts a created container. When its program cannot be run, the call fails and the
    /// container is `Exited` with code 128 and reason `StartError`.
    async fn start_container(&self, container_id: &str) -> Result<()>;

    /// Sends the stop signal, waits at most `timeout`, then kills. Returns when the container has
    /// ended. A zero timeout kills at once. Idempotent.
    async fn stop_container(&self, container_id: &str, timeout: Duration) -> Result<()>;

    /// Removes a container, by force if it runs. Its log stays. Idempotent.
    async fn remove_container(&self, container_id: &str) -> Result<()>;

    /// The containers that pass the filter.
    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>>;

    /// A container in full.
    async fn container_status(&self, container_id: &str) -> Result<ContainerStatus>;

    /// Changes limits while the container runs; what is 0 or empty stays.
    async fn update_container_resources(
        &self,
        container_id: &str,
        linux: &LinuxContainerResources,
    ) -> Result<()>;

    /// Changes the limits of a sandbox as a whole; what is 0 or empty stays.
    async fn update_pod_sandbox_resources(
        &self,
        pod_sandbox_id: &str,
        overhead: Option<&LinuxContainerResources>,
        resources: Option<&LinuxContainerResources>,
    ) -> Result<()>;

    /// Opens the log anew after the kubelet has moved it away.
    async fn reopen_container_log(&self, container_id: &str) -> Result<()>;

    /// Runs a command to its end; `DeadlineExceeded` when it takes longer than `timeout` (zero
    /// for no limit), after killing it.
    async fn exec_sync(
        &self,
        container_id: &str,
        cmd: &[String],
        timeout: Duration,
    ) -> Result<ExecSyncResponse>;

    /// Runs a command with streams.
    async fn exec(&self, request: &ExecRequest) -> Result<ProcessStreams>;

    /// Attaches to the streams of a running container.
    async fn attach(&self, request: &AttachRequest) -> Result<ProcessStreams>;

    /// Connects to a TCP port on the sandbox's loopback.
    async fn port_forward(&self, pod_sandbox_id: &str, port: u16) -> Result<Connection>;

    /// One container's usage.
    async fn container_stats(&self, container_id: &str) -> Result<ContainerStats>;

    /// Usage of the containers that pass the filter.
    async fn list_container_stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>>;

    /// One sandbox's usage.
    async fn pod_sandbox_stats(&self, pod_sandbox_id: &str) -> Result<PodSandboxStats>;

    /// Usage of the sandboxes that pass the filter.
    async fn list_pod_sandbox_stats(
        &self,
        filter: &PodSandboxFilter,
    ) -> Result<Vec<PodSandboxStats>>;

    /// Tells the runtime the node's pod range.
    async fn update_runtime_config(&self, config: &RuntimeConfig) -> Result<()>;

    /// Who manages cgroups.
    async fn runtime_config(&self) -> Result<CgroupDriver>;

    /// A stream of what happens to containers from now on.
    async fn get_container_events(&self) -> Result<ContainerEvents>;
}

/// CRI's `ImageService`.
#[async_trait]
pub trait ImageService: Send + Sync + Debug {
    /// The images of the node.
    async fn list_images(&self, filter: &ImageFilter) -> Result<Vec<Image>>;

    /// One image by name or id; none when the node does not have it.
    async fn image_status(&self, image: &ImageSpec) -> Result<Option<Image>>;

    /// Pulls an image; answers the reference to put into `ContainerConfig.image`.
    async fn pull_image(
        &self,
        image: &ImageSpec,
        auth: Option<&AuthConfig>,
        sandbox_config: Option<&PodSandboxConfig>,
    ) -> Result<String>;

    /// Removes an image, with all its names. Idempotent.
    async fn remove_image(&self, image: &ImageSpec) -> Result<()>;

    /// How much images and containers take.
    async fn image_fs_info(&self) -> Result<ImageFsInfo>;
}
