//! What the in-memory runtime remembers, and the steps that change it.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use base::clock::SharedClock;

use super::{ExecScript, MemoryRuntime, Pull, Script, next_of};
use crate::{
    Container, ContainerConfig, ContainerEventResponse, ContainerEventType, ContainerResources,
    ContainerState, ContainerStatus, Error, Image, PodSandbox, PodSandboxConfig,
    PodSandboxNetworkStatus, PodSandboxState, PodSandboxStatus, Result,
};

#[derive(Default)]
pub(super) struct State {
    pub(super) sandboxes: BTreeMap<String, Sandbox>,
    pub(super) containers: BTreeMap<String, Record>,
    pub(super) images: BTreeMap<String, Image>,
    pub(super) scripts: BTreeMap<String, VecDeque<Script>>,
    pub(super) pulls: BTreeMap<String, VecDeque<Pull>>,
    pub(super) failures: BTreeMap<&'static str, VecDeque<Error>>,
    pub(super) exec: Option<ExecScript>,
    pub(super) calls: Vec<String>,
    next_id: u64,
    next_ip: u32,
}

pub(super) struct Sandbox {
    pub(super) config: PodSandboxConfig,
    pub(super) status: PodSandboxStatus,
}

pub(super) struct Record {
    pub(super) sandbox: String,
    pub(super) config: ContainerConfig,
    pub(super) status: ContainerStatus,
    pub(super) script: Script,
}

impl Sandbox {
    pub(super) fn brief(&self) -> PodSandbox {
        let status = &self.status;
        PodSandbox {
            id: status.id.clone(),
            metadata: status.metadata.clone(),
            state: status.state,
            created_at: status.created_at,
            labels: status.labels.clone(),
            annotations: status.annotations.clone(),
            runtime_handler: status.runtime_handler.clone(),
        }
    }
}

impl Record {
    pub(super) fn brief(&self) -> Container {
        let status = &self.status;
        Container {
            id: status.id.clone(),
            pod_sandbox_id: self.sandbox.clone(),
            metadata: status.metadata.clone(),
            image: status.image.clone(),
            image_ref: status.image_ref.clone(),
            image_id: status.image_id.clone(),
            state: status.state,
            created_at: status.created_at,
            labels: status.labels.clone(),
            annotations: status.annotations.clone(),
        }
    }
}

impl State {
    /// Notes a call and answers the failure that was scripted for it.
    pub(super) fn called(&mut self, call: &'static str, on: &str) -> Result<()> {
        self.calls.push(format!("{call} {on}"));
        match self.failures.get_mut(call).and_then(VecDeque::pop_front) {
            Some(error) => Err(error),
            None => Ok(()),
        }
    }

    pub(super) fn id(&mut self) -> String {
        self.next_id += 1;
        format!("{:064x}", self.next_id)
    }

    pub(super) fn ip(&mut self) -> PodSandboxNetworkStatus {
        self.next_ip += 1;
        let ip = format!("10.42.{}.{}", self.next_ip / 250, 2 + self.next_ip % 250);
        PodSandboxNetworkStatus { ip, additional_ips: Vec::new() }
    }

    pub(super) fn add_image(&mut self, name: &str) -> Image {
        let id = self.id();
        let image = self.images.entry(name.to_owned()).or_insert_with(|| Image {
            id: format!("sha256:{id}"),
            repo_tags: vec![name.to_owned()],
            repo_digests: vec![format!("{name}@sha256:{id}")],
            size: 1024,
            ..Image::default()
        });
        image.clone()
    }

    pub(super) fn image(&self, name: &str) -> Option<&Image> {
        self.images.values().find(|image| {
            image.id == name || image.repo_tags.iter().chain(&image.repo_digests).any(|n| n == name)
        })
    }

    pub(super) fn sandbox(&self, id: &str) -> Result<&Sandbox> {
        self.sandboxes.get(id).ok_or_else(|| Error::NotFound(format!("sandbox {id}")))
    }

    pub(super) fn container(&self, id: &str) -> Result<&Record> {
        self.containers.get(id).ok_or_else(|| Error::NotFound(format!("container {id}")))
    }

    pub(super) fn running(&self, id: &str) -> Result<&Record> {
        let record = self.container(id)?;
        if record.status.state != ContainerState::Running {
            return Err(Error::FailedPrecondition(format!("container {id} is not running")));
        }
        Ok(record)
    }

    pub(super) fn event(
        &self,
        kind: ContainerEventType,
        id: &str,
        sandbox: &str,
        clock: &SharedClock,
    ) -> ContainerEventResponse {
        ContainerEventResponse {
            container_id: id.to_owned(),
            container_event_type: kind,
            created_at: nanos(clock),
            pod_sandbox_status: self.sandboxes.get(sandbox).map(|s| s.status.clone()),
            containers_statuses: self
                .containers
                .values()
                .filter(|c| c.sandbox == sandbox)
                .map(|c| c.status.clone())
                .collect(),
        }
    }
}

pub(super) fn nanos(clock: &SharedClock) -> i64 {
    i64::try_from(clock.now().as_nanosecond()).unwrap_or(i64::MAX)
}

/// What a container does by its arguments alone.
fn by_arguments(config: &ContainerConfig) -> Script {
    let words: Vec<&str> = config.command.iter().chain(&config.args).map(String::as_str).collect();
    match words.as_slice() {
        [_, "-c", script] => script
            .strip_prefix("exit ")
            .and_then(|code| code.trim().parse().ok())
            .map_or_else(Script::default, |code| Script::exits(Duration::ZERO, code)),
        ["/does/not/exist", ..] => {
            Script { start_error: Some("no such file or directory".into()), ..Script::default() }
        }
        _ => Script::default(),
    }
}

impl MemoryRuntime {
    pub(super) fn announce(&self, kind: ContainerEventType, id: &str, sandbox: &str) {
        let event = self.inner.lock().event(kind, id, sandbox, &self.clock);
        // No receiver is no error: events are for those who listen.
        drop(self.events.send(event));
        self.changed.send_replace(());
    }

    pub(super) fn create(
        &self,
        sandbox: &str,
        config: &ContainerConfig,
        log_directory: &str,
    ) -> Result<String> {
        let id = {
            let mut state = self.inner.lock();
            state.called("create_container", &config.metadata.name)?;
            if state.sandbox(sandbox)?.status.state != PodSandboxState::Ready {
                return Err(Error::FailedPrecondition(format!("sandbox {sandbox} is not ready")));
            }
            let taken = |record: &Record| {
                record.sandbox == sandbox && record.config.metadata == config.metadata
            };
            if state.containers.values().any(taken) {
                let name = &config.metadata.name;
                return Err(Error::AlreadyExists(format!("container {name} of {sandbox}")));
            }
            let name = &config.image.image;
            let image = state.image(name).cloned();
            let image = image.ok_or_else(|| Error::NotFound(format!("image {name}")))?;
            let id = state.id();
            let script = next_of(&mut state.scripts, &config.metadata.name);
            let status = ContainerStatus {
                id: id.clone(),
                metadata: config.metadata.clone(),
                state: ContainerState::Created,
                created_at: nanos(&self.clock),
                image: config.image.clone(),
                image_ref: image.repo_digests.first().cloned().unwrap_or_default(),
                image_id: image.id,
                labels: config.labels.clone(),
                annotations: config.annotations.clone(),
                mounts: config.mounts.clone(),
                log_path: format!("{log_directory}/{}", config.log_path),
                resources: Some(ContainerResources { linux: config.linux.resources.clone() }),
                ..ContainerStatus::default()
            };
            let record = Record {
                sandbox: sandbox.to_owned(),
                config: config.clone(),
                status,
                script: script.unwrap_or_else(|| by_arguments(config)),
            };
            state.containers.insert(id.clone(), record);
            id
        };
        self.announce(ContainerEventType::ContainerCreatedEvent, &id, sandbox);
        Ok(id)
    }

    pub(super) fn start(&self, id: &str) -> Result<()> {
        let (sandbox, script, failed) = {
            let now = nanos(&self.clock);
            let mut state = self.inner.lock();
            let name = state.container(id)?.config.metadata.name.clone();
            state.called("start_container", &name)?;
            let Some(record) = state.containers.get_mut(id) else {
                return Err(Error::NotFound(format!("container {id}")));
            };
            if record.status.state != ContainerState::Created {
                return Err(Error::FailedPrecondition(format!("container {id} was started")));
            }
            record.status.started_at = now;
            record.status.state = ContainerState::Running;
            let failed = record.script.start_error.clone();
            if let Some(why) = &failed {
                record.status.state = ContainerState::Exited;
                record.status.finished_at = now;
                record.status.exit_code = 128;
                record.status.reason = "StartError".into();
                record.status.message.clone_from(why);
            }
            (record.sandbox.clone(), record.script.clone(), failed)
        };
        if let Some(why) = failed {
            self.announce(ContainerEventType::ContainerStoppedEvent, id, &sandbox);
            return Err(Error::Internal(format!("start container {id}: {why}")));
        }
        self.announce(ContainerEventType::ContainerStartedEvent, id, &sandbox);
        if let Some((after, code)) = script.exit {
            let (runtime, id) = (self.clone(), id.to_owned());
            tokio::spawn(async move {
                tokio::time::sleep(after).await;
                runtime.finish(&id, code, script.oom);
            });
        }
        Ok(())
    }

    /// Ends a container, if it has not ended yet.
    pub(super) fn finish(&self, id: &str, code: i32, oom: bool) {
        let sandbox = {
            let now = nanos(&self.clock);
            let mut state = self.inner.lock();
            let Some(record) = state.containers.get_mut(id) else { return };
            if record.status.state == ContainerState::Exited {
                return;
            }
            let never_ran = record.status.state == ContainerState::Created;
            record.status.state = ContainerState::Exited;
            record.status.finished_at = now;
            record.status.exit_code = if never_ran { 128 } else { code };
            record.status.reason = match (oom, record.status.exit_code) {
                (true, _) => "OOMKilled",
                (false, 0) => "Completed",
                (false, _) => "Error",
            }
            .to_owned();
            record.sandbox.clone()
        };
        self.announce(ContainerEventType::ContainerStoppedEvent, id, &sandbox);
    }

    /// Ends a sandbox and its containers.
    pub(super) fn end_sandbox(&self, id: &str) {
        let (containers, was_ready) = {
            let mut state = self.inner.lock();
            let Some(sandbox) = state.sandboxes.get_mut(id) else { return };
            let was_ready = sandbox.status.state == PodSandboxState::Ready;
            sandbox.status.state = PodSandboxState::NotReady;
            sandbox.status.network = None;
            let of = state.containers.values().filter(|c| c.sandbox == id);
            (of.map(|c| c.status.id.clone()).collect::<Vec<_>>(), was_ready)
        };
        for container in containers {
            self.finish(&container, 137, false);
        }
        if was_ready {
            self.announce(ContainerEventType::ContainerStoppedEvent, id, id);
        }
    }

    pub(super) fn remove(&self, id: &str) {
        self.finish(id, 137, false);
        let removed = self.inner.lock().containers.remove(id);
        if let Some(record) = removed {
            self.announce(ContainerEventType::ContainerDeletedEvent, id, &record.sandbox);
        }
    }

    /// Waits until a container has ended.
    pub(super) async fn ended(&self, id: &str) -> i32 {
        let mut changes = self.changed.subscribe();
        loop {
            let state =
                self.inner.lock().containers.get(id).map(|c| (c.status.state, c.status.exit_code));
            match state {
                Some((ContainerState::Exited, code)) => return code,
                None => return 137,
                Some(_) => {}
            }
            if changes.changed().await.is_err() {
                return 137;
            }
        }
    }
}
