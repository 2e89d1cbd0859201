//! What the runtime knows, and the events that follow from changes of it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use container_runtime::{
    ContainerEventResponse, ContainerEventType, ContainerState, Error, PodSandboxMetadata,
    PodSandboxState, Result,
};

use super::records::{self, ContainerRecord, SandboxRecord};
use super::{NativeRuntime, internal};

/// Sandboxes and containers by id.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) sandboxes: BTreeMap<String, SandboxRecord>,
    pub(super) containers: BTreeMap<String, ContainerRecord>,
    /// Containers whose shim is starting them.
    pub(super) starting: BTreeSet<String>,
    /// Ends of those that came before the word of their start: code and time.
    pub(super) early: BTreeMap<String, (i32, i64)>,
    /// What the images took, at a version of the store's index.
    pub(super) images_use: Option<(u64, (u64, u64))>,
    /// CPU readings: when and how much, for usage between two of them.
    pub(super) cpu: BTreeMap<String, (i64, u64)>,
}

impl State {
    pub(super) fn sandbox(&self, id: &str) -> Result<&SandboxRecord> {
        self.sandboxes.get(id).ok_or_else(|| Error::NotFound(format!("sandbox {id}")))
    }

    pub(super) fn ready(&self, id: &str) -> Result<&SandboxRecord> {
        let sandbox = self.sandbox(id)?;
        if sandbox.state != PodSandboxState::Ready {
            return Err(Error::FailedPrecondition(format!("sandbox {id} is not ready")));
        }
        Ok(sandbox)
    }

    pub(super) fn container(&self, id: &str) -> Result<&ContainerRecord> {
        self.containers.get(id).ok_or_else(|| Error::NotFound(format!("container {id}")))
    }

    pub(super) fn running(&self, id: &str) -> Result<&ContainerRecord> {
        let container = self.container(id)?;
        if container.state != ContainerState::Running {
            return Err(Error::FailedPrecondition(format!("container {id} is not running")));
        }
        Ok(container)
    }

    pub(super) fn sandbox_of(&self, metadata: &PodSandboxMetadata) -> Option<&SandboxRecord> {
        self.sandboxes.values().find(|sandbox| sandbox.config.metadata == *metadata)
    }

    pub(super) fn containers_of(&self, sandbox: &str) -> Vec<String> {
        let of = self.containers.values().filter(|container| container.sandbox == sandbox);
        of.map(|container| container.id.clone()).collect()
    }
}

impl NativeRuntime {
    pub(super) fn sandbox_dir(&self, id: &str) -> PathBuf {
        self.dir.join(id)
    }

    pub(super) fn container_dir(&self, sandbox: &str, id: &str) -> PathBuf {
        self.dir.join(sandbox).join("c").join(id)
    }

    pub(super) fn save_sandbox(&self, record: &SandboxRecord) -> Result<()> {
        let path = self.sandbox_dir(&record.id).join("sandbox.json");
        records::save(&path, record).map_err(|e| internal("write a sandbox's record", e))
    }

    pub(super) fn save_container(&self, record: &ContainerRecord) -> Result<()> {
        let path = self.container_dir(&record.sandbox, &record.id).join("container.json");
        records::save(&path, record).map_err(|e| internal("write a container's record", e))
    }

    /// Changes a container and its record; answers the record as it is then.
    pub(super) fn change_container(
        &self,
        id: &str,
        change: impl FnOnce(&mut ContainerRecord),
    ) -> Option<ContainerRecord> {
        let record = {
            let mut state = self.state.lock();
            let record = state.containers.get_mut(id)?;
            change(record);
            record.clone()
        };
        // The folder may be on its way out; memory is what counts while this process runs.
        drop(self.save_container(&record));
        self.changed.send_replace(());
        Some(record)
    }

    /// Changes a sandbox and its record; answers the record as it is then.
    pub(super) fn change_sandbox(
        &self,
        id: &str,
        change: impl FnOnce(&mut SandboxRecord),
    ) -> Option<SandboxRecord> {
        let record = {
            let mut state = self.state.lock();
            let record = state.sandboxes.get_mut(id)?;
            change(record);
            record.clone()
        };
        drop(self.save_sandbox(&record));
        self.changed.send_replace(());
        Some(record)
    }

    pub(super) fn announce(&self, kind: ContainerEventType, id: &str, sandbox: &str) {
        let event = {
            let state = self.state.lock();
            let of = state.containers.values().filter(|container| container.sandbox == sandbox);
            ContainerEventResponse {
                container_id: id.to_owned(),
                container_event_type: kind,
                created_at: self.now(),
                pod_sandbox_status: state.sandboxes.get(sandbox).map(SandboxRecord::status),
                containers_statuses: of.map(ContainerRecord::status).collect(),
            }
        };
        // No receiver is no error: events are for those who listen.
        drop(self.events.send(event));
        self.changed.send_replace(());
    }

    /// A container's process has ended.
    pub(super) fn container_ended(&self, id: &str, code: i32, at: i64) {
        let cgroup = {
            let mut state = self.state.lock();
            if state.starting.contains(id) {
                // Nobody hears of an end before the start.
                state.early.insert(id.to_owned(), (code, at));
                return;
            }
            let Some(container) = state.containers.get(id) else { return };
            container.cgroup.clone()
        };
        // A container that ended well was not ended by the kernel, whatever happened to its children.
        let oom = code != 0 && self.cgroups.oom_kills(&cgroup) > 0;
        let mut news = false;
        let record = self.change_container(id, |record| {
            if record.state != ContainerState::Exited {
                record.finish(code, at, oom);
                news = true;
            }
        });
        if let (Some(record), true) = (record, news) {
            self.announce(ContainerEventType::ContainerStoppedEvent, id, &record.sandbox);
        }
    }

    /// Waits until a container has ended or is gone; answers its exit code.
    pub(super) async fn until_ended(&self, id: &str) -> i32 {
        let mut changes = self.changed.subscribe();
        loop {
            let now = self.state.lock().containers.get(id).map(|c| (c.state, c.exit_code));
            match now {
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
