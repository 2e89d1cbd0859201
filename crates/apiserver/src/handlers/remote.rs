//! Requests to groups that other servers answer for, and what those say for discovery and OpenAPI.

use std::sync::Arc;

use axum::body::Body;
use axum::response::Response;
use http::{HeaderName, Request, header};

use super::Call;
use crate::aggregation::{Aggregator, RemoteDocument, ServedVersions};

/// Another server's group and version, and the way there.
pub(super) struct Service {
    aggregator: Arc<dyn Aggregator>,
    group: String,
    version: String,
}

/// What other servers say, as far as the path of a request concerns it.
#[derive(Default)]
pub(super) struct Others {
    pub(super) versions: Arc<ServedVersions>,
    pub(super) openapi_v2: Vec<RemoteDocument>,
    pub(super) openapi_v3: Vec<RemoteDocument>,
}

impl Others {
    /// Tells one state of the others' documents from another; empty when there are none.
    pub(super) fn tag(&self) -> String {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        if self.openapi_v2.is_empty() && self.openapi_v3.is_empty() {
            return String::new();
        }
        let mut hasher = DefaultHasher::new();
        for document in self.openapi_v2.iter().chain(&self.openapi_v3) {
            (&document.path, &document.hash).hash(&mut hasher);
        }
        format!(" with {:016x}", hasher.finish())
    }
}

/// Who else answers for a request: everything below `/apis/GROUP/VERSION` belongs to one server.
pub(super) fn service_of(call: &Call) -> Option<Service> {
    let aggregator = call.core.aggregator.as_ref()?;
    let mut parts = call.info.path.strip_prefix("/apis/")?.splitn(3, '/');
    let (group, version) = (parts.next()?, parts.next()?);
    aggregator.is_remote(group, version).then(|| Service {
        aggregator: aggregator.clone(),
        group: group.to_owned(),
        version: version.to_owned(),
    })
}

/// Sends a request on as the caller that this server knows it to be.
pub(super) async fn forward(call: Call, service: Service, body: Body) -> Response {
    let mut request = Request::from_parts(call.parts, body);
    // The caller's credentials, and whom it wants to be, have been dealt with here.
    let headers = request.headers_mut();
    headers.remove(header::AUTHORIZATION);
    let own: Vec<HeaderName> =
        headers.keys().filter(|name| name.as_str().starts_with("impersonate-")).cloned().collect();
    for name in own {
        headers.remove(name);
    }
    let Service { aggregator, group, version } = service;
    aggregator.forward(&group, &version, &call.user, request).await
}

/// What other servers say for the document at a path.
pub(super) async fn documents(call: &Call) -> Others {
    let Some(aggregator) = &call.core.aggregator else { return Others::default() };
    match call.info.path.trim_end_matches('/') {
        "/openapi/v2" => Others { openapi_v2: aggregator.openapi_v2().await, ..Others::default() },
        path if path.starts_with("/openapi/v3") => {
            Others { openapi_v3: aggregator.openapi_v3().await, ..Others::default() }
        }
        path if path.is_empty() || path.starts_with("/api") => {
            Others { versions: aggregator.versions().await, ..Others::default() }
        }
        _ => Others::default(),
    }
}
