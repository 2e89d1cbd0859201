//! What is served, as plugins need to know it: the other versions by which an object is reached,
//! its form in them, and the resource of a kind.

use std::sync::Arc;

use api::Value;
use api::names::{GroupResource, Gvk};
use api::schema::Schema;
use api::status::ApiResult;
use async_trait::async_trait;

use crate::resource::Scope;

/// A resource in one of its versions, with the kind of its objects there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServedKind {
    /// The resource.
    pub resource: GroupResource,
    /// The version.
    pub version: Arc<str>,
    /// The kind, in that version.
    pub kind: Gvk,
}

/// What is served at the moment of a request.
#[async_trait]
pub trait Kinds: Send + Sync {
    /// The ways by which the same objects are reached, the given one among them: other versions,
    /// and other groups that share their place in the store (`events` in two groups).
    fn equivalents(&self, resource: &GroupResource, subresource: Option<&str>) -> Vec<ServedKind>;

    /// The resource of a kind, if it is served in that version.
    fn of_kind(&self, kind: &Gvk) -> Option<(ServedKind, Scope)>;

    /// By what bodies of it are read.
    fn schema(&self, served: &ServedKind) -> Schema;

    /// A request's object as it is in a version.
    async fn show(&self, object: &Value, served: &ServedKind) -> ApiResult<Value>;

    /// An object in a version, changed by somebody who may not know its schema, in the form that
    /// the request has it in: read as a body (unknown fields go, the rest becomes canonical),
    /// converted, with its defaults. `own` is the request's kind.
    async fn take(&self, shown: Value, served: &ServedKind, own: &ServedKind) -> ApiResult<Value>;
}
