//! What the kubelet asks of the parts around it.

use std::fmt::Debug;
use std::net::IpAddr;
use std::time::Duration;

use async_trait::async_trait;
use auth::{Attributes, UserInfo};
use futures::stream::BoxStream;

/// Knows when the node's data planes no longer send new connections to a pod.
#[async_trait]
pub trait EndpointGate: Send + Sync + Debug {
    /// Returns when no data plane of this node has these addresses among its endpoints any more.
    /// The kubelet waits for it at most a second.
    async fn endpoint_removed(&self, pod_ips: &[IpAddr]);
}

/// A gate for nodes without a data plane of Ferry's: nothing to wait for.
#[derive(Debug, Default, Clone, Copy)]
pub struct NoGate;

#[async_trait]
impl EndpointGate for NoGate {
    async fn endpoint_removed(&self, _pod_ips: &[IpAddr]) {}
}

/// A part of the control plane that runs in this process and is shown as a mirror pod.
pub trait InProcessPart: Send + Sync + Debug {
    /// Its name, `kube-apiserver`.
    fn name(&self) -> &str;
    /// Whether it does its work; the reason when it does not.
    fn ready(&self) -> Result<(), String>;
    /// Waits until `ready` may answer something else.
    fn changed(&self) -> futures::future::BoxFuture<'static, ()>;
    /// The last lines that it logged, oldest first; then new ones as they come if `follow`.
    fn logs(&self, follow: bool) -> BoxStream<'static, PartLog>;
}

/// A line that an in-process part logged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartLog {
    /// When.
    pub at: base::clock::Timestamp,
    /// The line, without its end.
    pub line: String,
}

/// Who may use the kubelet's own server: upstream asks the API server, and so does a composition
/// that answers these with TokenReviews and SubjectAccessReviews.
#[async_trait]
pub trait ServerAccess: Send + Sync + Debug {
    /// The owner of a bearer token; `None` when it is nobody's.
    async fn user_of_token(&self, token: &str) -> Option<UserInfo>;
    /// Whether a user may do this.
    async fn allowed(&self, attributes: &Attributes) -> bool;
}

/// How long the kubelet waits for the data planes before a container is told to stop.
pub(crate) const GATE_WAIT: Duration = Duration::from_secs(1);
/// How long a container without a readiness probe may take to listen before it counts as ready.
pub(crate) const LISTEN_WAIT: Duration = Duration::from_millis(500);
