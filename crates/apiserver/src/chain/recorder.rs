//! One request's way into the audit: what its policy wants is gathered and told, stage by stage.

use std::sync::{Arc, OnceLock};

use api::Value;
use api::status::ApiError;
use auth::{Attributes, UserInfo};
use axum::body::Body;
use axum::response::Response;
use base::clock::SharedClock;
use http::HeaderMap;
use http::request::Parts;
use http_body_util::BodyExt;

use super::body::{self, Seen};
use crate::audit::{AuditEvent, AuditSink, AuditedRequest, Ended, Level, Stage, Verdict};
use crate::filters::authz;
use crate::handlers::header;
use crate::journal::Journal;
use crate::negotiate::{PROTOBUF, YAML};
use crate::request::{Query, RequestInfo};
use crate::serve::PeerAddress;
use crate::server::Core;

/// Tells the audit of one request.
pub(crate) struct Recorder {
    sink: Arc<dyn AuditSink>,
    clock: SharedClock,
    verdict: Verdict,
    request: Arc<AuditedRequest>,
    impersonated: OnceLock<UserInfo>,
    /// The body with its media type, when it is wanted.
    sent: Option<(Seen, String)>,
}

impl Recorder {
    /// Asks the policy; when it wants the request, tells that it came, and looks at its body from
    /// now on.
    pub(super) fn begin(
        core: &Core,
        parts: &Parts,
        info: &RequestInfo,
        caller: &UserInfo,
        journal: &Journal,
        body: Body,
    ) -> Body {
        let Some(sink) = &core.audit else { return body };
        let attributes = authz::attributes(info, &Query::default(), caller.clone());
        let verdict = sink.verdict(&attributes);
        if verdict.level == Level::None {
            return body;
        }
        let wants_body = verdict.level >= Level::Request
            && info.is_resource
            && !info.is_read_only()
            && !info.is_long_running();
        let (body, sent) = if wants_body {
            let (body, seen) = body::remembered(body);
            (body, Some((seen, header(&parts.headers, "content-type").to_owned())))
        } else {
            (body, None)
        };
        let recorder = Self {
            sink: sink.clone(),
            clock: core.clock.clone(),
            verdict,
            request: Arc::new(audited(parts, attributes, journal)),
            impersonated: OnceLock::new(),
            sent,
        };
        recorder.tell(Stage::RequestReceived, None, None, Vec::new());
        // It was not set before: a request passes here once.
        let _ = journal.recorder.set(recorder);
        body
    }

    /// A caller whom nobody knows was refused.
    pub(super) fn refused_unknown(
        core: &Core,
        parts: &Parts,
        info: &RequestInfo,
        journal: &Journal,
        code: u16,
    ) {
        let Some(sink) = &core.audit else { return };
        let attributes = authz::attributes(info, &Query::default(), UserInfo::default());
        let verdict = sink.verdict(&attributes);
        if verdict.level == Level::None {
            return;
        }
        let means = ["bearer"].into_iter().filter(|_| parts.headers.contains_key("authorization"));
        let means: Vec<&str> = means.collect();
        let text = if means.is_empty() {
            "Authentication failed, no credentials provided".to_owned()
        } else {
            format!("Authentication failed, attempted: {}", means.join(", "))
        };
        let recorder = Self {
            sink: sink.clone(),
            clock: core.clock.clone(),
            verdict,
            request: Arc::new(audited(parts, attributes, journal)),
            impersonated: OnceLock::new(),
            sent: None,
        };
        let failure = Some(ApiError::new(code, "Unauthorized", text));
        recorder.tell(Stage::ResponseStarted, Some(Ended { code, failure }), None, Vec::new());
    }

    /// The caller acts as somebody else.
    pub(super) fn acts_as(&self, user: &UserInfo) {
        // Set once: a request is impersonated once.
        let _ = self.impersonated.set(user.clone());
    }

    /// A lasting request's answer begins.
    pub(super) fn started(&self, code: u16, notes: Notes, answer: Response) -> Response {
        self.tell(Stage::ResponseStarted, Some(Ended { code, failure: None }), None, notes);
        answer
    }

    /// A lasting request has ended.
    pub(super) fn ended(&self, code: u16, notes: Notes) {
        self.tell(Stage::ResponseComplete, Some(Ended { code, failure: None }), None, notes);
    }

    /// The request made the server panic.
    pub(super) fn panicked(&self, why: &str, notes: Notes, answer: Response) -> Response {
        let text = format!("APIServer panic'd: {why}");
        let failure = Some(ApiError::new(500, "InternalError", text));
        self.tell(Stage::Panic, Some(Ended { code: 500, failure }), None, notes);
        answer
    }

    /// The request was answered.
    pub(super) async fn complete(
        &self,
        code: u16,
        failure: Option<ApiError>,
        notes: Notes,
        answer: Response,
    ) -> Response {
        let wants_answer =
            self.verdict.level >= Level::RequestResponse && self.request.is_resource();
        if !wants_answer {
            self.tell(Stage::ResponseComplete, Some(Ended { code, failure }), None, notes);
            return answer;
        }
        let (head, body) = answer.into_parts();
        // The body is at hand: only lasting requests stream.
        let bytes = body.collect().await.map(http_body_util::Collected::to_bytes);
        let bytes = bytes.unwrap_or_default();
        let object = object_of(&head.headers, &bytes);
        self.tell(Stage::ResponseComplete, Some(Ended { code, failure }), object, notes);
        Response::from_parts(head, Body::from(bytes))
    }

    fn tell(
        &self,
        stage: Stage,
        ended: Option<Ended>,
        response_object: Option<Value>,
        annotations: Notes,
    ) {
        if Stage::ALL.iter().zip(self.verdict.omits).any(|(one, omit)| omit && *one == stage) {
            return;
        }
        let at = match stage {
            Stage::RequestReceived => self.request.received,
            _ => self.clock.now(),
        };
        let sent = self.sent.as_ref().filter(|_| stage != Stage::RequestReceived);
        self.sink.record(AuditEvent {
            request: self.request.clone(),
            level: self.verdict.level,
            stage,
            at,
            impersonated: self.impersonated.get().cloned(),
            ended,
            request_object: sent.and_then(|(seen, media)| decoded(media, &seen.lock())),
            response_object,
            annotations,
            omit_managed_fields: self.verdict.omit_managed_fields,
        });
    }
}

type Notes = Vec<(String, String)>;

impl AuditedRequest {
    fn is_resource(&self) -> bool {
        matches!(self.attributes.target, auth::Target::Resource(_))
    }
}

fn audited(parts: &Parts, attributes: Attributes, journal: &Journal) -> AuditedRequest {
    AuditedRequest {
        id: journal.id.clone(),
        received: journal.received,
        uri: parts.uri.to_string(),
        attributes,
        source_ips: source_ips(parts),
        user_agent: header(&parts.headers, "user-agent").to_owned(),
    }
}

/// What proxies say of where the request came from, then where it really came from.
fn source_ips(parts: &Parts) -> Vec<String> {
    let forwarded = header(&parts.headers, "x-forwarded-for").split(',');
    let real = header(&parts.headers, "x-real-ip");
    let peer = parts.extensions.get::<PeerAddress>().map(|peer| peer.0.ip().to_string());
    let mut ips: Vec<String> = Vec::new();
    let claimed = forwarded.chain([real]).map(str::trim).map(str::to_owned).chain(peer);
    for ip in claimed {
        if ip.parse::<std::net::IpAddr>().is_ok() && !ips.contains(&ip) {
            ips.push(ip);
        }
    }
    ips
}

/// The object in an answer.
fn object_of(headers: &HeaderMap, bytes: &[u8]) -> Option<Value> {
    let media = header(headers, "content-type");
    if header(headers, "content-encoding") != "gzip" {
        return decoded(media, bytes);
    }
    use std::io::Read;
    let mut plain = Vec::new();
    flate2::read::GzDecoder::new(bytes).read_to_end(&mut plain).ok()?;
    decoded(media, &plain)
}

fn decoded(media: &str, bytes: &[u8]) -> Option<Value> {
    if bytes.is_empty() {
        return None;
    }
    match media.split(';').next().unwrap_or_default().trim() {
        PROTOBUF => api::proto::decode(bytes).ok(),
        YAML | "application/apply-patch+yaml" => {
            api::yaml::parse(bytes).ok().map(|document| document.value)
        }
        _ => serde_json::from_slice(bytes).ok(),
    }
}
