//! Flow control: the seam, and upstream's plain limits of requests in flight.

use std::sync::Arc;

use api::status::{ApiError, ApiResult};
use async_trait::async_trait;
use auth::{Attributes, UserInfo, groups, users};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permission to be served, given back when it is dropped. With it may come headers for the
/// answer.
#[derive(Default)]
pub struct FlowPermit {
    /// What is held while the request is served.
    pub guard: Option<Box<dyn std::any::Any + Send + Sync>>,
    /// Headers for the answer (`X-Kubernetes-PF-FlowSchema-UID`).
    pub headers: Vec<(&'static str, String)>,
}

/// Who may be served now.
#[async_trait]
pub trait FlowControl: Send + Sync {
    /// Waits for room, or refuses with 429. Long-running requests are admitted once and give
    /// their permit back at once.
    async fn admit(
        &self,
        attributes: &Attributes,
        is_read_only: bool,
        is_long_running: bool,
    ) -> ApiResult<FlowPermit>;
}

/// Upstream's `--max-requests-inflight` and `--max-mutating-requests-inflight`. Masters and Ferry's
/// own identities always pass.
pub struct InFlight {
    reading: Arc<Semaphore>,
    mutating: Arc<Semaphore>,
}

impl InFlight {
    /// Limits for reading and for mutating requests.
    #[must_use]
    pub fn new(reading: usize, mutating: usize) -> Self {
        Self {
            reading: Arc::new(Semaphore::new(reading)),
            mutating: Arc::new(Semaphore::new(mutating)),
        }
    }
}

impl Default for InFlight {
    fn default() -> Self {
        Self::new(400, 200)
    }
}

#[async_trait]
impl FlowControl for InFlight {
    async fn admit(
        &self,
        attributes: &Attributes,
        is_read_only: bool,
        is_long_running: bool,
    ) -> ApiResult<FlowPermit> {
        if is_long_running || is_exempt(&attributes.user) {
            return Ok(FlowPermit::default());
        }
        let limit = if is_read_only { &self.reading } else { &self.mutating };
        let permit: OwnedSemaphorePermit = limit.clone().try_acquire_owned().map_err(|_| {
            ApiError::too_many_requests("Too many requests, please try again later.", 1)
        })?;
        Ok(FlowPermit { guard: Some(Box::new(permit)), headers: Vec::new() })
    }
}

/// Whether a caller is one of the control plane's own, or a master.
#[must_use]
pub fn is_exempt(user: &UserInfo) -> bool {
    user.is_in(groups::MASTERS)
        || matches!(
            user.username.as_str(),
            users::APISERVER | users::SCHEDULER | users::CONTROLLER_MANAGER
        )
        || user.node_name().is_some()
}
