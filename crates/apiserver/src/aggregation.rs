//! The seam of aggregation: versions of groups that other servers answer for.
//!
//! Who they are and how they are reached is the implementation's to know; the HTTP layer asks it
//! for every request below `/apis/GROUP/VERSION`, and merges what it says into discovery and
//! OpenAPI. Authentication, authorization, flow control and audit are done before a request leaves.

use std::sync::Arc;

use api::Value;
use api::priority::Priority;
use async_trait::async_trait;
use auth::UserInfo;

use crate::resource::{HttpRequest, HttpResponse};

/// One version of a group, as an APIService has it.
#[derive(Debug, Clone, PartialEq)]
pub struct ServedVersion {
    /// The group.
    pub group: String,
    /// The version.
    pub version: String,
    /// Its place in discovery.
    pub priority: Priority,
    /// What another server says of it; `None` when it is this server's own.
    pub remote: Option<RemoteVersion>,
}

/// What is known of a version that another server answers for.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RemoteVersion {
    /// Its resources, as `apidiscovery.k8s.io/v2` lists them.
    pub resources: Arc<Vec<Value>>,
    /// Whether that is what was said last rather than what is so now.
    pub is_stale: bool,
}

/// All versions that APIServices name.
#[derive(Debug, Default)]
pub struct ServedVersions {
    /// Differs whenever anything in `all` does.
    pub generation: u64,
    /// In no order.
    pub all: Vec<ServedVersion>,
}

/// An OpenAPI document of another server.
#[derive(Debug, Clone)]
pub struct RemoteDocument {
    /// `apis/GROUP/VERSION`; empty for a v2 document.
    pub path: String,
    /// What the server calls this state of the document.
    pub hash: String,
    /// The document, JSON.
    pub json: bytes::Bytes,
}

/// Sends requests on to other servers, and knows what they serve.
#[async_trait]
pub trait Aggregator: Send + Sync {
    /// Whether another server answers for a version.
    fn is_remote(&self, group: &str, version: &str) -> bool;

    /// Sends a request on as its caller. The answer is the other server's, or 503 in plain text.
    async fn forward(
        &self,
        group: &str,
        version: &str,
        user: &UserInfo,
        request: HttpRequest,
    ) -> HttpResponse;

    /// All versions that APIServices name, those of other servers as they say now.
    async fn versions(&self) -> Arc<ServedVersions>;

    /// The OpenAPI v2 documents of other servers, each cut down to the versions that it answers
    /// for.
    async fn openapi_v2(&self) -> Vec<RemoteDocument>;

    /// The OpenAPI v3 documents of other servers.
    async fn openapi_v3(&self) -> Vec<RemoteDocument>;
}
