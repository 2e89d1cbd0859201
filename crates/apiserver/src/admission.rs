//! Admission: what may still change or refuse a write after its caller was authorized.
//!
//! The plugins are a list in a fixed order (`admission::all()` in the `admission` crate). Each is
//! asked twice: [`AdmissionPlugin::admit`] may change the object, [`AdmissionPlugin::validate`] sees
//! its final form. When one asks for it (a webhook changed the object), all are asked to change it
//! once more. To add one: one file there, one line in its list.

mod kinds;
mod reinvocation;

use std::sync::Arc;

use api::Value;
use api::names::{GroupResource, Gvk};
use api::status::ApiResult;
use async_trait::async_trait;
use auth::UserInfo;

pub use kinds::{Kinds, ServedKind};
pub use reinvocation::Reinvocation;

use crate::authz::Authorizer;
use crate::resource::ObjectApi;

/// What is being done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// A new object.
    Create,
    /// A change.
    Update,
    /// A deletion.
    Delete,
    /// exec, attach, port-forward, proxy.
    Connect,
}

/// A write on its way to the store.
pub struct AdmissionRequest<'a> {
    /// What is being done.
    pub operation: Operation,
    /// The resource.
    pub resource: GroupResource,
    /// The version that the caller used.
    pub version: &'a str,
    /// The kind of the object.
    pub kind: Gvk,
    /// The subresource, if it is one.
    pub subresource: Option<&'a str>,
    /// The namespace; empty for cluster-scoped objects.
    pub namespace: &'a str,
    /// The name; empty while a create with `generateName` may still be changed.
    pub name: &'a str,
    /// Whether the objects are whole ones of the resource, in the form in which its rules see them
    /// (the storage version of built-in kinds, the caller's of custom ones). Others are what a
    /// subresource takes (`Binding`, `Scale`, `PodExecOptions`), as it came.
    pub is_whole: bool,
    /// The new object; `None` for a deletion.
    pub object: Option<&'a mut Value>,
    /// The stored object; `None` for a creation.
    pub old: Option<&'a Value>,
    /// `CreateOptions`, `UpdateOptions`, `DeleteOptions` or `PatchOptions`, as JSON.
    pub options: &'a Value,
    /// Who asks.
    pub user: &'a UserInfo,
    /// Nothing will be stored.
    pub dry_run: bool,
    /// Warnings to give the caller.
    pub warnings: &'a mut Vec<String>,
    /// Annotations for the audit log.
    pub audit: &'a mut Vec<(String, String)>,
    /// What is served.
    pub kinds: &'a dyn Kinds,
    /// Who says what callers may do.
    pub authorizers: &'a [Arc<dyn Authorizer>],
    /// The rounds of mutating plugins.
    pub reinvocation: &'a mut Reinvocation,
}

impl AdmissionRequest<'_> {
    /// Whether it is about a resource, whatever is done to it.
    #[must_use]
    pub fn is(&self, group: &str, plural: &str) -> bool {
        &*self.resource.group == group && &*self.resource.resource == plural
    }

    /// Whether it makes an object of a resource.
    #[must_use]
    pub fn creates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Create && self.subresource.is_none() && self.is(group, plural)
    }

    /// Whether it changes an object of a resource, not through a subresource.
    #[must_use]
    pub fn updates(&self, group: &str, plural: &str) -> bool {
        self.operation == Operation::Update && self.subresource.is_none() && self.is(group, plural)
    }
}

/// An admission plugin. Its work must not depend on the order of equal requests.
#[async_trait]
pub trait AdmissionPlugin: Send + Sync {
    /// Upstream's name, `NamespaceLifecycle`.
    fn name(&self) -> &'static str;

    /// Whether it cares at all: a cheap test before anything is awaited.
    fn handles(&self, request: &AdmissionRequest<'_>) -> bool;

    /// May change the object, or refuse.
    async fn admit(
        &self,
        _api: &dyn ObjectApi,
        _request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        Ok(())
    }

    /// May refuse.
    async fn validate(
        &self,
        _api: &dyn ObjectApi,
        _request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        Ok(())
    }
}
