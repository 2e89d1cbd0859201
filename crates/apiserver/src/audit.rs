//! The seam of auditing: what is noted of a request, and who is told at each of its stages.
//!
//! The server decides nothing here: a sink says by its policy how much of a request it wants, and
//! gets events with that much in them. To add a sink: implement [`AuditSink`].

use std::sync::Arc;

use api::Value;
use api::status::ApiError;
use auth::{Attributes, UserInfo};
use base::clock::Timestamp;

/// How much is noted of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Nothing.
    #[default]
    None,
    /// Who, what, when, and how it ended.
    Metadata,
    /// Also the object that was sent.
    Request,
    /// Also the object that was answered.
    RequestResponse,
}

impl Level {
    /// Upstream's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "None",
            Self::Metadata => "Metadata",
            Self::Request => "Request",
            Self::RequestResponse => "RequestResponse",
        }
    }
}

/// Where a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It came.
    RequestReceived,
    /// It lasts (a watch), and its answer has begun.
    ResponseStarted,
    /// It was answered.
    ResponseComplete,
    /// It made the server panic.
    Panic,
}

impl Stage {
    /// All of them, in their order.
    pub const ALL: [Self; 4] =
        [Self::RequestReceived, Self::ResponseStarted, Self::ResponseComplete, Self::Panic];

    /// Upstream's word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::RequestReceived => "RequestReceived",
            Self::ResponseStarted => "ResponseStarted",
            Self::ResponseComplete => "ResponseComplete",
            Self::Panic => "Panic",
        }
    }
}

/// What a policy wants of a request.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Verdict {
    /// How much.
    pub level: Level,
    /// For each stage, in [`Stage::ALL`]'s order, whether it is left out.
    pub omits: [bool; 4],
    /// `managedFields` are left out of objects.
    pub omit_managed_fields: bool,
}

/// What does not change while a request goes on.
#[derive(Debug, Clone)]
pub struct AuditedRequest {
    /// `Audit-ID`: the caller's, or a new one.
    pub id: String,
    /// When it came.
    pub received: Timestamp,
    /// The path with its query.
    pub uri: String,
    /// Who sent it, for what.
    pub attributes: Attributes,
    /// Where it came from: what proxies say, then the peer. Empty inside the process.
    pub source_ips: Vec<String>,
    /// What the client calls itself.
    pub user_agent: String,
}

/// How a request ended.
#[derive(Debug, Clone)]
pub struct Ended {
    /// The HTTP status.
    pub code: u16,
    /// What was answered when it failed.
    pub failure: Option<ApiError>,
}

/// A request at a stage.
#[derive(Debug, Clone)]
pub struct AuditEvent {
    /// The request.
    pub request: Arc<AuditedRequest>,
    /// How much is noted.
    pub level: Level,
    /// The stage.
    pub stage: Stage,
    /// When it was reached.
    pub at: Timestamp,
    /// Whom the caller acts as.
    pub impersonated: Option<UserInfo>,
    /// How it ended, from [`Stage::ResponseStarted`] on.
    pub ended: Option<Ended>,
    /// The object that was sent.
    pub request_object: Option<Value>,
    /// The object that was answered.
    pub response_object: Option<Value>,
    /// What authorization and admission have noted.
    pub annotations: Vec<(String, String)>,
    /// `managedFields` are left out of objects.
    pub omit_managed_fields: bool,
}

/// Who is told. Must not wait.
pub trait AuditSink: Send + Sync {
    /// What is wanted of a request.
    fn verdict(&self, attributes: &Attributes) -> Verdict;

    /// Takes note.
    fn record(&self, event: AuditEvent);

    /// What it has counted, as Prometheus text.
    fn metrics(&self) -> String {
        String::new()
    }
}
