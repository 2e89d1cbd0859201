//! What is written beside each sandbox and container, for a Ferry that starts again.
//!
//! Records are replaced as a whole. They are not fsynced: after a power loss nothing runs, and a
//! record that cannot be read is cleared away with its folder.

use std::fs;
use std::io;
use std::path::Path;

use container_runtime::{
    Container, ContainerConfig, ContainerResources, ContainerState, ContainerStatus, ContainerUser,
    LinuxContainerUser, LinuxPodSandboxStatus, PodSandbox, PodSandboxConfig,
    PodSandboxNetworkStatus, PodSandboxState, PodSandboxStatus,
};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::shim::protocol::User;

/// A shim's process, told apart from a later one of the same number by its start.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ShimProcess {
    /// Its number on the host.
    pub(crate) pid: i32,
    /// When it was started, in the kernel's ticks since boot.
    pub(crate) start_ticks: u64,
}

/// `sandbox.json`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct SandboxRecord {
    pub(crate) id: String,
    pub(crate) config: PodSandboxConfig,
    pub(crate) handler: String,
    pub(crate) created_at: i64,
    pub(crate) state: PodSandboxState,
    /// Addresses, the first one first; none with host network.
    pub(crate) ips: Vec<String>,
    pub(crate) shim: Option<ShimProcess>,
    /// The first process of a shared PID namespace.
    pub(crate) pause_pid: Option<i32>,
    /// The group that holds its containers' groups.
    pub(crate) cgroup: String,
}

/// `container.json`.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ContainerRecord {
    pub(crate) id: String,
    pub(crate) sandbox: String,
    pub(crate) config: ContainerConfig,
    pub(crate) image_id: String,
    pub(crate) image_ref: String,
    pub(crate) created_at: i64,
    pub(crate) started_at: i64,
    pub(crate) finished_at: i64,
    pub(crate) state: ContainerState,
    pub(crate) exit_code: i32,
    pub(crate) reason: String,
    pub(crate) message: String,
    /// Full path, empty for none.
    pub(crate) log_path: String,
    pub(crate) cgroup: String,
    pub(crate) stop_signal: String,
    pub(crate) pid: i32,
    pub(crate) user: Option<User>,
}

impl SandboxRecord {
    pub(crate) fn brief(&self) -> PodSandbox {
        PodSandbox {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state,
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: self.handler.clone(),
        }
    }

    pub(crate) fn status(&self) -> PodSandboxStatus {
        let network = self.ips.split_first().map(|(ip, others)| PodSandboxNetworkStatus {
            ip: ip.clone(),
            additional_ips: others.to_vec(),
        });
        let namespaces = self.config.linux.security_context.namespace_options.clone();
        PodSandboxStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state,
            created_at: self.created_at,
            network,
            linux: LinuxPodSandboxStatus { namespaces },
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            runtime_handler: self.handler.clone(),
        }
    }
}

impl ContainerRecord {
    pub(crate) fn brief(&self) -> Container {
        Container {
            id: self.id.clone(),
            pod_sandbox_id: self.sandbox.clone(),
            metadata: self.config.metadata.clone(),
            image: self.config.image.clone(),
            image_ref: self.image_ref.clone(),
            image_id: self.image_id.clone(),
            state: self.state,
            created_at: self.created_at,
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
        }
    }

    pub(crate) fn status(&self) -> ContainerStatus {
        let user = self.user.as_ref().map(|user| ContainerUser {
            linux: LinuxContainerUser {
                uid: user.uid.into(),
                gid: user.gid.into(),
                supplemental_groups: user.groups.iter().map(|&gid| gid.into()).collect(),
            },
        });
        ContainerStatus {
            id: self.id.clone(),
            metadata: self.config.metadata.clone(),
            state: self.state,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            exit_code: self.exit_code,
            image: self.config.image.clone(),
            image_ref: self.image_ref.clone(),
            image_id: self.image_id.clone(),
            reason: self.reason.clone(),
            message: self.message.clone(),
            labels: self.config.labels.clone(),
            annotations: self.config.annotations.clone(),
            mounts: self.config.mounts.clone(),
            log_path: self.log_path.clone(),
            resources: Some(ContainerResources { linux: self.config.linux.resources.clone() }),
            user,
            stop_signal: self.stop_signal.clone(),
        }
    }

    /// The end of a container whose process ran: with what reason.
    pub(crate) fn finish(&mut self, code: i32, at: i64, oom: bool) {
        self.state = ContainerState::Exited;
        self.exit_code = code;
        // The start is noted when the shim's answer is here, the end by the shim itself: a process
        // that ends at once may seem to end before it began.
        self.finished_at = at.max(self.started_at);
        self.pid = 0;
        self.reason = match (oom, code) {
            (true, _) => "OOMKilled",
            (false, 0) => "Completed",
            (false, _) => "Error",
        }
        .to_owned();
    }
}

/// Replaces a record.
pub(crate) fn save<T: Serialize>(path: &Path, record: &T) -> io::Result<()> {
    let temporary = path.with_extension("json.new");
    fs::write(&temporary, serde_json::to_vec(record)?)?;
    fs::rename(temporary, path)
}

/// Reads a record.
pub(crate) fn load<T: DeserializeOwned>(path: &Path) -> io::Result<T> {
    Ok(serde_json::from_slice(&fs::read(path)?)?)
}
