//! What happened to containers, pushed.

use futures::stream::BoxStream;
use serde::{Deserialize, Serialize};

use crate::container::ContainerStatus;
use crate::sandbox::PodSandboxStatus;

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ContainerEventType {
    /// The container was created, or the sandbox was.
    ContainerCreatedEvent,
    /// It was started.
    ContainerStartedEvent,
    /// It ended. A sandbox whose shim died sends this with its own id.
    ContainerStoppedEvent,
    /// It was removed.
    ContainerDeletedEvent,
}

/// One event. Receivers treat it as "look at this pod again": the statuses are those of the
/// moment at which the event was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerEventResponse {
    /// The container's id, or the sandbox's.
    pub container_id: String,
    /// What happened.
    pub container_event_type: ContainerEventType,
    /// When, nanoseconds since 1970.
    pub created_at: i64,
    /// The sandbox; none when it is gone.
    pub pod_sandbox_status: Option<PodSandboxStatus>,
    /// All containers of the sandbox.
    pub containers_statuses: Vec<ContainerStatus>,
}

/// A stream of events that starts now. It ends when the receiver fell too far behind or the
/// runtime went away: list everything, then ask for a new one.
pub type ContainerEvents = BoxStream<'static, ContainerEventResponse>;
