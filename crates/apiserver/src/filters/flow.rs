//! Flow control: the seam, and upstream's plain limits of requests in flight.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use auth::{Attributes, Target, UserInfo, groups, users};
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::request::{Query, RequestInfo};
use crate::server::Core;

/// Permission to be served, given back when it is dropped. With it may come headers for the
/// answer.
#[derive(Default)]
pub struct FlowPermit {
    /// What is held while the request is served.
    pub guard: Option<Box<dyn std::any::Any + Send + Sync>>,
    /// Headers for the answer (`X-Kubernetes-PF-FlowSchema-UID`).
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// A request is not served: 429.
#[derive(Debug, Clone)]
pub struct FlowRefusal {
    /// When the caller may come again, `Retry-After`.
    pub retry_after_seconds: u32,
    /// Headers for the answer.
    pub headers: Vec<(HeaderName, HeaderValue)>,
}

/// How much a request touches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestSize {
    /// How many objects of its kind there are.
    pub objects: u64,
    /// How long they are on average.
    pub object_bytes: u64,
    /// How many watch its kind.
    pub watchers: u64,
    /// The `limit` of a list.
    pub limit: Option<u64>,
    /// It is about one object by its name.
    pub names_one: bool,
}

/// A request that wants to be served.
#[derive(Debug, Clone, Copy)]
pub struct FlowRequest<'a> {
    /// Who asks for what.
    pub attributes: &'a Attributes,
    /// It changes nothing.
    pub is_read_only: bool,
    /// It lasts (watch, exec, log).
    pub is_long_running: bool,
    /// It comes from a part of this process.
    pub is_in_process: bool,
    /// How much it touches.
    pub size: RequestSize,
    /// How long it may wait.
    pub wait_max: Duration,
}

impl<'a> FlowRequest<'a> {
    /// A request that reads, is short and touches nothing.
    #[must_use]
    pub fn of(attributes: &'a Attributes) -> Self {
        Self {
            attributes,
            is_read_only: true,
            is_long_running: false,
            is_in_process: false,
            size: RequestSize::default(),
            wait_max: Duration::from_secs(15),
        }
    }

    /// The authorization verb.
    #[must_use]
    pub fn verb(&self) -> &'a str {
        match &self.attributes.target {
            Target::Resource(target) => &target.verb,
            Target::NonResource(target) => &target.verb,
        }
    }
}

/// A part of `--request-timeout` that a request may wait; the rest is for serving it.
const WAIT_PART: u32 = 4;

/// A request as flow control sees it.
pub(crate) fn request<'a>(
    core: &Core,
    parts: &Parts,
    info: &RequestInfo,
    query: &Query<'_>,
    attributes: &'a Attributes,
) -> FlowRequest<'a> {
    let snapshot = core.registry.snapshot();
    let found = snapshot.find(&info.group, &info.version, &info.resource);
    let entry = found.map(|(entry, _)| entry);
    let size = entry.filter(|_| info.is_resource).map_or(RequestSize::default(), |entry| {
        let (objects, bytes) = entry.cacher.size();
        RequestSize {
            objects: objects as u64,
            object_bytes: bytes.div_ceil(objects.max(1)) as u64,
            watchers: entry.cacher.watchers() as u64,
            limit: query.number("limit").and_then(|limit| u64::try_from(limit).ok()),
            names_one: !info.name.is_empty(),
        }
    });
    FlowRequest {
        attributes,
        is_read_only: info.is_read_only(),
        is_long_running: info.is_long_running(),
        is_in_process: crate::chain::is_in_process(parts),
        size,
        wait_max: core.request_timeout / WAIT_PART,
    }
}

/// Who may be served now.
#[async_trait]
pub trait FlowControl: Send + Sync {
    /// Waits for room, or refuses. The permit of a watch is held until it has begun; other
    /// long-running requests need none.
    async fn admit(&self, request: &FlowRequest<'_>) -> Result<FlowPermit, FlowRefusal>;

    /// The headers of a request that is not let in: it is told apart before it is judged.
    fn headers(&self, _request: &FlowRequest<'_>) -> Vec<(HeaderName, HeaderValue)> {
        Vec::new()
    }

    /// What it has counted, as Prometheus text.
    fn metrics(&self) -> String {
        String::new()
    }

    /// A table of its present state, for `/debug/api_priority_and_fairness/`.
    fn dump(&self, _what: &str) -> Option<String> {
        None
    }
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
    async fn admit(&self, request: &FlowRequest<'_>) -> Result<FlowPermit, FlowRefusal> {
        let passes = request.is_long_running || request.is_in_process;
        if passes || is_exempt(&request.attributes.user) {
            return Ok(FlowPermit::default());
        }
        let limit = if request.is_read_only { &self.reading } else { &self.mutating };
        let permit: OwnedSemaphorePermit = limit
            .clone()
            .try_acquire_owned()
            .map_err(|_| FlowRefusal { retry_after_seconds: 1, headers: Vec::new() })?;
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
