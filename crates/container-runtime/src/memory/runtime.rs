//! The calls of the in-memory runtime.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream;
use tokio::io::AsyncWriteExt;
use tokio::sync::{broadcast, mpsc};

use super::MemoryRuntime;
use super::state::{Sandbox, nanos};
use crate::{
    AttachRequest, CgroupDriver, Connection, Container, ContainerAttributes, ContainerConfig,
    ContainerEventType, ContainerEvents, ContainerFilter, ContainerState, ContainerStats,
    ContainerStatus, CpuUsage, Error, ExecRequest, ExecSyncResponse, LinuxContainerResources,
    LinuxPodSandboxStatus, MemoryUsage, NamespaceMode, PodSandbox, PodSandboxAttributes,
    PodSandboxConfig, PodSandboxFilter, PodSandboxState, PodSandboxStats, PodSandboxStatus,
    ProcessStreams, Result, RuntimeCondition, RuntimeConfig, RuntimeHandler, RuntimeService,
    RuntimeStatus, Version,
};

impl MemoryRuntime {
    fn stats_of(&self, status: &ContainerStatus) -> ContainerStats {
        let timestamp = nanos(&self.clock);
        ContainerStats {
            attributes: ContainerAttributes {
                id: status.id.clone(),
                metadata: status.metadata.clone(),
                labels: status.labels.clone(),
                annotations: status.annotations.clone(),
            },
            cpu: Some(CpuUsage {
                timestamp,
                usage_core_nano_seconds: Some(0),
                usage_nano_cores: Some(0),
            }),
            memory: Some(MemoryUsage {
                timestamp,
                working_set_bytes: Some(0),
                ..MemoryUsage::default()
            }),
            writable_layer: None,
        }
    }

    fn run_exec(&self, container_id: &str, cmd: &[String]) -> Result<ExecSyncResponse> {
        let (name, exec) = {
            let mut state = self.inner.lock();
            let name = state.running(container_id)?.config.metadata.name.clone();
            state.called("exec", &format!("{name} {}", cmd.join(" ")))?;
            (name, state.exec.clone())
        };
        if let Some(exec) = exec {
            return Ok(exec(&name, cmd));
        }
        Ok(match cmd {
            [_, flag, script] if flag == "-c" && script.starts_with("exit ") => ExecSyncResponse {
                exit_code: script["exit ".len()..].trim().parse().unwrap_or(2),
                ..ExecSyncResponse::default()
            },
            [echo, words @ ..] if echo == "echo" => ExecSyncResponse {
                stdout: format!("{}\n", words.join(" ")).into(),
                ..ExecSyncResponse::default()
            },
            _ => ExecSyncResponse::default(),
        })
    }
}

#[async_trait]
impl RuntimeService for MemoryRuntime {
    async fn version(&self) -> Result<Version> {
        Ok(Version {
            version: "0.1.0".into(),
            runtime_name: "memory".into(),
            runtime_version: env!("CARGO_PKG_VERSION").into(),
            runtime_api_version: "v1".into(),
        })
    }

    async fn status(&self) -> Result<RuntimeStatus> {
        let condition = |type_: &str| RuntimeCondition {
            type_: type_.into(),
            status: true,
            ..RuntimeCondition::default()
        };
        Ok(RuntimeStatus {
            conditions: vec![condition("RuntimeReady"), condition("NetworkReady")],
            runtime_handlers: vec![RuntimeHandler::default()],
            ..RuntimeStatus::default()
        })
    }

    async fn run_pod_sandbox(&self, config: &PodSandboxConfig, handler: &str) -> Result<String> {
        let id = {
            let mut state = self.inner.lock();
            state.called("run_pod_sandbox", &config.metadata.name)?;
            if state.sandboxes.values().any(|s| s.config.metadata == config.metadata) {
                let name = &config.metadata.name;
                return Err(Error::AlreadyExists(format!("sandbox for pod {name}")));
            }
            let id = state.id();
            let namespaces = config.linux.security_context.namespace_options.clone();
            let on_host = namespaces.network == NamespaceMode::Node;
            let status = PodSandboxStatus {
                id: id.clone(),
                metadata: config.metadata.clone(),
                state: PodSandboxState::Ready,
                created_at: nanos(&self.clock),
                network: (!on_host).then(|| state.ip()),
                linux: LinuxPodSandboxStatus { namespaces },
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
                runtime_handler: handler.to_owned(),
            };
            state.sandboxes.insert(id.clone(), Sandbox { config: config.clone(), status });
            id
        };
        self.announce(ContainerEventType::ContainerCreatedEvent, &id, &id);
        self.announce(ContainerEventType::ContainerStartedEvent, &id, &id);
        Ok(id)
    }

    async fn stop_pod_sandbox(&self, id: &str) -> Result<()> {
        self.inner.lock().called("stop_pod_sandbox", id)?;
        self.end_sandbox(id);
        Ok(())
    }

    async fn remove_pod_sandbox(&self, id: &str) -> Result<()> {
        self.inner.lock().called("remove_pod_sandbox", id)?;
        self.end_sandbox(id);
        let containers: Vec<String> = {
            let state = self.inner.lock();
            let of = state.containers.values().filter(|c| c.sandbox == id);
            of.map(|c| c.status.id.clone()).collect()
        };
        for container in containers {
            self.remove(&container);
        }
        let removed = self.inner.lock().sandboxes.remove(id);
        if removed.is_some() {
            self.announce(ContainerEventType::ContainerDeletedEvent, id, id);
        }
        Ok(())
    }

    async fn pod_sandbox_status(&self, id: &str) -> Result<PodSandboxStatus> {
        let mut state = self.inner.lock();
        state.called("pod_sandbox_status", id)?;
        Ok(state.sandbox(id)?.status.clone())
    }

    async fn list_pod_sandbox(&self, filter: &PodSandboxFilter) -> Result<Vec<PodSandbox>> {
        let mut state = self.inner.lock();
        state.called("list_pod_sandbox", "")?;
        let all = state.sandboxes.values().map(Sandbox::brief);
        Ok(all.filter(|sandbox| filter.matches(sandbox)).collect())
    }

    async fn create_container(
        &self,
        pod_sandbox_id: &str,
        config: &ContainerConfig,
        sandbox_config: &PodSandboxConfig,
    ) -> Result<String> {
        self.create(pod_sandbox_id, config, &sandbox_config.log_directory)
    }

    async fn start_container(&self, id: &str) -> Result<()> {
        self.start(id)
    }

    async fn stop_container(&self, id: &str, timeout: Duration) -> Result<()> {
        let heeds = {
            let mut state = self.inner.lock();
            state.called("stop_container", id)?;
            let Some(record) = state.containers.get(id) else { return Ok(()) };
            if record.status.state == ContainerState::Exited {
                return Ok(());
            }
            record.script.heeds_stop_signal
        };
        if heeds && !timeout.is_zero() {
            self.finish(id, 0, false);
        } else if tokio::time::timeout(timeout, self.ended(id)).await.is_err() {
            self.finish(id, 137, false);
        }
        Ok(())
    }

    async fn remove_container(&self, id: &str) -> Result<()> {
        self.inner.lock().called("remove_container", id)?;
        self.remove(id);
        Ok(())
    }

    async fn list_containers(&self, filter: &ContainerFilter) -> Result<Vec<Container>> {
        let mut state = self.inner.lock();
        state.called("list_containers", "")?;
        let all = state.containers.values().map(super::state::Record::brief);
        Ok(all.filter(|container| filter.matches(container)).collect())
    }

    async fn container_status(&self, id: &str) -> Result<ContainerStatus> {
        let mut state = self.inner.lock();
        state.called("container_status", id)?;
        Ok(state.container(id)?.status.clone())
    }

    async fn update_container_resources(
        &self,
        id: &str,
        linux: &LinuxContainerResources,
    ) -> Result<()> {
        let mut state = self.inner.lock();
        state.called("update_container_resources", id)?;
        state.container(id)?;
        if let Some(resources) =
            state.containers.get_mut(id).and_then(|c| c.status.resources.as_mut())
        {
            resources.linux.merge(linux);
        }
        Ok(())
    }

    async fn update_pod_sandbox_resources(
        &self,
        id: &str,
        _overhead: Option<&LinuxContainerResources>,
        _resources: Option<&LinuxContainerResources>,
    ) -> Result<()> {
        let mut state = self.inner.lock();
        state.called("update_pod_sandbox_resources", id)?;
        state.sandbox(id).map(|_| ())
    }

    async fn reopen_container_log(&self, id: &str) -> Result<()> {
        let mut state = self.inner.lock();
        state.called("reopen_container_log", id)?;
        state.running(id).map(|_| ())
    }

    async fn exec_sync(
        &self,
        id: &str,
        cmd: &[String],
        _timeout: Duration,
    ) -> Result<ExecSyncResponse> {
        self.run_exec(id, cmd)
    }

    async fn exec(&self, request: &ExecRequest) -> Result<ProcessStreams> {
        let result = self.run_exec(&request.container_id, &request.cmd)?;
        let (mut writer, reader) = tokio::io::duplex(64 * 1024);
        let (mut error_writer, error_reader) = tokio::io::duplex(64 * 1024);
        let (code, resize) = (result.exit_code, mpsc::channel(1).0);
        tokio::spawn(async move {
            // The reader may have gone away: nothing to tell it then.
            drop(writer.write_all(&result.stdout).await);
            drop(error_writer.write_all(&result.stderr).await);
        });
        Ok(ProcessStreams {
            stdin: request.stdin.then(|| Box::new(tokio::io::sink()) as crate::ByteWriter),
            stdout: request.stdout.then(|| Box::new(reader) as crate::ByteReader),
            stderr: (request.stderr && !request.tty)
                .then(|| Box::new(error_reader) as crate::ByteReader),
            resize: request.tty.then_some(resize),
            exit: Box::pin(async move { Ok(code) }),
        })
    }

    async fn attach(&self, request: &AttachRequest) -> Result<ProcessStreams> {
        let id = request.container_id.clone();
        {
            let mut state = self.inner.lock();
            state.called("attach", &id)?;
            state.running(&id)?;
        }
        let runtime = self.clone();
        Ok(ProcessStreams {
            stdin: request.stdin.then(|| Box::new(tokio::io::sink()) as crate::ByteWriter),
            stdout: request.stdout.then(|| Box::new(tokio::io::empty()) as crate::ByteReader),
            stderr: None,
            resize: request.tty.then(|| mpsc::channel(1).0),
            exit: Box::pin(async move { Ok(runtime.ended(&id).await) }),
        })
    }

    async fn port_forward(&self, id: &str, port: u16) -> Result<Connection> {
        let mut state = self.inner.lock();
        state.called("port_forward", &format!("{id} {port}"))?;
        if state.sandbox(id)?.status.state != PodSandboxState::Ready {
            return Err(Error::FailedPrecondition(format!("sandbox {id} is not ready")));
        }
        // The far end echoes.
        let (near, far) = tokio::io::duplex(4096);
        tokio::spawn(async move {
            let (mut reader, mut writer) = tokio::io::split(far);
            drop(tokio::io::copy(&mut reader, &mut writer).await);
        });
        Ok(Box::new(near))
    }

    async fn container_stats(&self, id: &str) -> Result<ContainerStats> {
        let mut state = self.inner.lock();
        state.called("container_stats", id)?;
        Ok(self.stats_of(&state.container(id)?.status))
    }

    async fn list_container_stats(&self, filter: &ContainerFilter) -> Result<Vec<ContainerStats>> {
        let state = self.inner.lock();
        let passing = state.containers.values().filter(|c| filter.matches(&c.brief()));
        Ok(passing.map(|record| self.stats_of(&record.status)).collect())
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
        let state = self.inner.lock();
        let passing = state.sandboxes.values().filter(|s| filter.matches(&s.brief()));
        Ok(passing
            .map(|sandbox| PodSandboxStats {
                attributes: PodSandboxAttributes {
                    id: sandbox.status.id.clone(),
                    metadata: sandbox.status.metadata.clone(),
                    labels: sandbox.status.labels.clone(),
                    annotations: sandbox.status.annotations.clone(),
                },
                containers: state
                    .containers
                    .values()
                    .filter(|c| c.sandbox == sandbox.status.id)
                    .map(|c| self.stats_of(&c.status))
                    .collect(),
                ..PodSandboxStats::default()
            })
            .collect())
    }

    async fn update_runtime_config(&self, config: &RuntimeConfig) -> Result<()> {
        self.inner.lock().called("update_runtime_config", &config.pod_cidr)
    }

    async fn runtime_config(&self) -> Result<CgroupDriver> {
        Ok(CgroupDriver::Cgroupfs)
    }

    async fn get_container_events(&self) -> Result<ContainerEvents> {
        let receiver = self.events.subscribe();
        Ok(Box::pin(stream::unfold(receiver, |mut receiver| async move {
            match receiver.recv().await {
                Ok(event) => Some((event, receiver)),
                Err(
                    broadcast::error::RecvError::Lagged(_) | broadcast::error::RecvError::Closed,
                ) => None,
            }
        })))
    }
}
