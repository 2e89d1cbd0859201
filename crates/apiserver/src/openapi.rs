//! The seam of OpenAPI: who makes the documents.

use std::sync::Arc;

use bytes::Bytes;

use crate::resource::Resource;

/// Makes the OpenAPI documents of the kinds that are served. Called again after the registry has
/// changed; may remember what it made.
pub trait OpenApiSource: Send + Sync {
    /// The OpenAPI v2 document as JSON.
    fn v2(&self, resources: &[Arc<dyn Resource>]) -> Bytes;

    /// The OpenAPI v2 document as protobuf (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`),
    /// if it can be made.
    fn v2_protobuf(&self, _resources: &[Arc<dyn Resource>]) -> Option<Bytes> {
        None
    }

    /// The paths that have an OpenAPI v3 document: `api/v1`, `apis/apps/v1`, `version` …
    fn v3_paths(&self, resources: &[Arc<dyn Resource>]) -> Vec<String>;

    /// The OpenAPI v3 document of a path, as JSON.
    fn v3(&self, resources: &[Arc<dyn Resource>], path: &str) -> Option<Bytes>;
}
