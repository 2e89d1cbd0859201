//! What the runtime says about one pod, as one picture.

use container_runtime::{ContainerState, ContainerStatus, PodSandboxState, PodSandboxStatus};

use crate::config::labels;

/// A pod's sandboxes and containers, the newest first.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct PodView {
    /// All its sandboxes.
    pub(crate) sandboxes: Vec<PodSandboxStatus>,
    /// All its containers, the dead ones too.
    pub(crate) containers: Vec<ContainerStatus>,
}

impl PodView {
    /// A picture from what the runtime listed, in any order.
    pub(crate) fn new(
        mut sandboxes: Vec<PodSandboxStatus>,
        mut containers: Vec<ContainerStatus>,
    ) -> Self {
        sandboxes.sort_by_key(|one| std::cmp::Reverse((one.metadata.attempt, one.created_at)));
        containers.sort_by_key(|one| std::cmp::Reverse((one.created_at, one.metadata.attempt)));
        Self { sandboxes, containers }
    }

    /// The newest container of a name.
    pub(crate) fn latest(&self, name: &str) -> Option<&ContainerStatus> {
        self.containers.iter().find(|one| labels::container_name(one) == name)
    }

    /// All containers of a name, the newest first.
    pub(crate) fn history<'a>(
        &'a self,
        name: &'a str,
    ) -> impl Iterator<Item = &'a ContainerStatus> {
        self.containers.iter().filter(move |one| labels::container_name(one) == name)
    }

    /// The containers whose process runs, or of which the runtime cannot tell.
    pub(crate) fn running(&self) -> impl Iterator<Item = &ContainerStatus> {
        self.containers
            .iter()
            .filter(|one| matches!(one.state, ContainerState::Running | ContainerState::Unknown))
    }

    /// The newest sandbox, if it is ready.
    pub(crate) fn ready_sandbox(&self) -> Option<&PodSandboxStatus> {
        self.sandboxes.first().filter(|one| one.state == PodSandboxState::Ready)
    }

    /// The addresses of the newest sandbox.
    pub(crate) fn ips(&self) -> Vec<String> {
        let Some(network) = self.ready_sandbox().and_then(|one| one.network.as_ref()) else {
            return Vec::new();
        };
        let first = std::iter::once(&network.ip).filter(|ip| !ip.is_empty());
        first.chain(&network.additional_ips).cloned().collect()
    }

    /// Whether nothing of the pod is left to stop.
    pub(crate) fn is_stopped(&self) -> bool {
        self.running().next().is_none()
            && self.sandboxes.iter().all(|one| one.state == PodSandboxState::NotReady)
    }
}
