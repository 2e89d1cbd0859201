//! CRI's runtime service: each call, handed to where it is done.

use std::time::Duration;

use async_trait::async_trait;
use container_runtime::{
    AttachRequest, CgroupDriver, Connection, Container, ContainerConfig, ContainerEvents,
    ContainerFilter, ContainerStats, ContainerStatus, Error, ExecRequest, ExecSyncResponse,
    LinuxContainerResources, PodSandbox, PodSandboxConfig, PodSandboxFilter, PodSandboxStats,
    PodSandboxStatus, ProcessStreams, Result, RuntimeCondition, RuntimeConfig, RuntimeHandler,
    RuntimeService, RuntimeStatus, Version,
};
use futures::stream;
use tokio::sync::broadcast::error::RecvError;

use super::records::{ContainerRecord, SandboxRecord};
use super::{NativeRuntime, blocking, internal};

/// Goes on with what was begun when the caller loses interest: half a sandbox helps nobody.
async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T>> + Send + 'static,
) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(internal("run", error)),
    }
}

#[async_trait]
impl RuntimeService for NativeRuntime {
    async fn version(&self) -> Result<Version> {
        Ok(Version {
            version: "0.1.0".into(),
            runtime_name: "ferry".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        let network = self.options.network.status().await;
        let condition = |type_: &str, state: std::result::Result<(), String>| RuntimeCondition {
            type_: type_.into(),
            status: state.is_ok(),
            reason: if state.is_ok() { String::new() } else { format!("{type_}Failed") },
            message: state.err().unwrap_or_default(),
        };
        Ok(RuntimeStatus {
            conditions: vec![condition("RuntimeReady", Ok(())), condition("NetworkReady", network)],
            runtime_handlers: vec![RuntimeHandler {
                recursive_read_only_mounts: true,
                ..RuntimeHandler::default()
            }],
            ..RuntimeStatus::default()
        })
    }

    async fn run_pod_sandbox(&self, config: &PodSandboxConfig, handler: &str) -> Result<String> {
        let (runtime, config, handler) = (self.shared(), config.clone(), handler.to_owned());
        to_its_end(async move { runtime.run_sandbox(&config, &handler).await }).await
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        let (runtime, id) = (self.shared(), id.to_owned());
        to_its_end(async move { runtime.stop_sandbox(&id).await }).await
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        let (runtime, id) = (self.shared(), id.to_owned());
        to_its_end(async move { runtime.remove_sandbox(&id).await }).await
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<PodSandboxStatus> {
        self.state.lock().sandbox(id).map(SandboxRecord::status)
    }

    async fn list_pod_sandbox(&self, filter: &PodSandboxFilter) -> Result<Vec<PodSandbox>> {
        let state = self.state.lock();
        let all = state.sandboxes.values().map(SandboxRecord::brief);
        Ok(all.filter(|sandbox| filter.matches(sandbox)).collect())
    }

    async fn create_container(
        &self,
        pod_sandbox_id: &str,
        config: &ContainerConfig,
        _sandbox_config: &PodSandboxConfig,
    ) -> Result<String> {
        let (runtime, config) = (self.shared(), config.clone());
        let sandbox = pod_sandbox_id.to_owned();
        to_its_end(async move { runtime.create(&sandbox, &config).await }).await
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        let (runtime, id) = (self.shared(), id.to_owned());
        to_its_end(async move { runtime.start(&id).await }).await
    }

    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        self.stop(id, timeout).await
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        let (runtime, id) = (self.shared(), id.to_owned());
        to_its_end(async move { runtime.remove_one(&id).await }).await
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let state = self.state.lock();
        let all = state.containers.values().map(ContainerRecord::brief);
        Ok(all.filter(|container| filter.matches(container)).collect())
    }

    async fn container_status(&self, id: &str) -> Result<ContainerStatus> {
        self.state.lock().container(id).map(ContainerRecord::status)
    }

    async fn update_container_resources(
        &self,
        id: &str,
        linux: &LinuxContainerResources,
    ) -> Result<()> {
        self.update(id, linux).await
    }

    async fn update_pod_sandbox_resources(
        &self,
        id: &str,
        _overhead: Option<&LinuxContainerResources>,
        resources: Option<&LinuxContainerResources>,
    ) -> Result<()> {
        let cgroup = self.state.lock().ready(id)?.cgroup.clone();
        let Some(resources) = resources.cloned() else { return Ok(()) };
        let runtime = self.shared();
        blocking(move || {
            let updated = runtime.cgroups.update(&cgroup, &resources);
            updated.map_err(|e| internal("limit the pod", e))
        })
        .await
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        self.reopen_log(id).await
    }

    async fn exec_sync(
        &self,
        id: &str,
        cmd: &[String],
        timeout: Duration,
    ) -> Result<ExecSyncResponse> {
        self.run_exec_sync(id, cmd, timeout).await
    }

    async fn exec(&self, request: &ExecRequest) -> Result<ProcessStreams> {
        self.run_exec(request).await
    }

    async fn attach(&self, request: &AttachRequest) -> Result<ProcessStreams> {
        self.run_attach(request).await
    }

    async fn port_forward(&self, id: &str, port: u16) -> Result<Connection> {
        self.connect_to_port(id, port).await
    }

    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        let record = self.state.lock().container(id)?.clone();
        let runtime = self.shared();
        blocking(move || Ok(runtime.stats_of(&record))).await
    }

    async fn list_container_stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        let records: Vec<ContainerRecord> = {
            let state = self.state.lock();
            let passing = state.containers.values().filter(|c| filter.matches(&c.brief()));
            passing.cloned().collect()
        };
        let runtime = self.shared();
        blocking(move || Ok(records.iter().map(|record| runtime.stats_of(record)).collect())).await
    }

    async fn pod_sandbox_stats(&self, id: &str) -> Result<PodSandboxStats> {
        let filter = PodSandboxFilter { id: id.to_owned(), ..PodSandboxFilter::default() };
        let found = self.list_pod_sandbox_stats(&filter).await?.pop();
        found.ok_or_else(|| Error::NotFound(format!("sandbox {id}")))
    }

    async fn list_pod_sandbox_stats(
        &self,
        filter: &PodSandboxFilter,
    ) -> Result<Vec<PodSandboxStats>> {
        let pods: Vec<(SandboxRecord, Vec<ContainerRecord>)> = {
            let state = self.state.lock();
            let passing = state.sandboxes.values().filter(|s| filter.matches(&s.brief()));
            let with_containers = passing.map(|sandbox| {
                let of = state.containers.values().filter(|c| c.sandbox == sandbox.id);
                (sandbox.clone(), of.cloned().collect())
            });
            with_containers.collect()
        };
        let runtime = self.shared();
        blocking(move || {
            let stats =
                pods.iter().map(|(pod, containers)| runtime.sandbox_stats_of(pod, containers));
            Ok(stats.collect())
        })
        .await
    }

    async fn update_runtime_config(&self, _config: &RuntimeConfig) -> Result<()> {
        // Addresses are the network's affair, which learns of them by itself.
        Ok(())
    }

    async fn runtime_config(&self) -> Result<CgroupDriver> {
        Ok(CgroupDriver::Cgroupfs)
    }

    async fn get_container_events(&self) -> Result<ContainerEvents> {
        let receiver = self.events.subscribe();
        Ok(Box::pin(stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(RecvError::Lagged(_) | RecvError::Closed) => None,
            }
        })))
    }
}
