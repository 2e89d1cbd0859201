//! The seam of auditing: every request, told once it was answered.

use auth::UserInfo;
use base::clock::Timestamp;

/// An answered request.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// When it came.
    pub received: Timestamp,
    /// When it was answered.
    pub answered: Timestamp,
    /// Who sent it.
    pub user: UserInfo,
    /// Who it was sent as, when impersonated.
    pub impersonated: Option<UserInfo>,
    /// The authorization verb.
    pub verb: String,
    /// The path with its query.
    pub uri: String,
    /// The API group.
    pub group: String,
    /// The API version.
    pub version: String,
    /// The plural name; empty for other paths.
    pub resource: String,
    /// The subresource.
    pub subresource: String,
    /// The namespace.
    pub namespace: String,
    /// The object's name.
    pub name: String,
    /// The HTTP status.
    pub code: u16,
    /// What admission and authorization have noted.
    pub annotations: Vec<(String, String)>,
}

/// Who is told. Must not wait.
pub trait AuditSink: Send + Sync {
    /// Takes note.
    fn record(&self, event: AuditEvent);
}
