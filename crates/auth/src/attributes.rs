//! What a request wants to do, as authorizers see it.

use crate::UserInfo;

/// A request, for authorization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes {
    /// Who asks.
    pub user: UserInfo,
    /// What it is about.
    pub target: Target,
}

/// What a request is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A resource.
    Resource(ResourceAttributes),
    /// A path such as `/healthz`.
    NonResource(NonResource),
}

/// A request to a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResourceAttributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`,
    /// `impersonate`, `bind`, `escalate`, `approve`, `sign` …
    pub verb: String,
    /// The API group; empty for the core group.
    pub group: String,
    /// The version.
    pub version: String,
    /// The plural name.
    pub resource: String,
    /// `status`, `log` …, or empty.
    pub subresource: String,
    /// The namespace, or empty for cluster-scoped objects and requests across all namespaces.
    pub namespace: String,
    /// The name, or empty.
    pub name: String,
}

/// A request to a path that is no resource.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NonResource {
    /// The HTTP method in lower case.
    pub verb: String,
    /// The path.
    pub path: String,
}

/// An authorizer's opinion.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Decision {
    /// Yes, for this reason.
    Allow(String),
    /// No, whatever others think, for this reason.
    Deny(String),
    /// None, for this reason (may be empty).
    NoOpinion(String),
}
