//! From an HTTP request to its answer: the chain, then the verb.
//!
//! Invariants: what writes runs in a task of its own, so a client that hangs up does not stop it
//! half-way; a panic is answered with 500 and ends nothing else.

mod body;
mod delete;
mod nonresource;
mod options;
mod read;
mod remote;
mod scale;
mod subresource;
mod watch;
mod write;

use std::sync::Arc;
use std::time::Duration;

use api::names::GroupResource;
use api::status::{ApiError, ApiResult};
use auth::UserInfo;
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base::drain::Drain;
use http::HeaderMap;
use http::request::Parts;
use tokio::time::Instant;

use crate::audit::AuditEvent;
use crate::filters::{authn, authz, impersonate};
use crate::negotiate::{Format, Offer, Output, negotiate};
use crate::registry::Entry;
use crate::request::{Query, RequestInfo};
use crate::response;
use crate::server::Core;

/// `--request-timeout`.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Ends the watches of a listener that drains. In the request's extensions.
#[derive(Clone)]
pub(crate) struct ListenerDrain(pub(crate) Drain);

/// A request that was let in.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) parts: Parts,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query<'static>,
    pub(crate) user: UserInfo,
}

/// A request to a kind.
pub(crate) struct Target {
    pub(crate) call: Call,
    pub(crate) entry: Arc<Entry>,
    pub(crate) output: Output,
    /// What was converted for this request.
    pub(crate) conversions: Arc<crate::registry::Conversions>,
}

/// Serves one request.
pub(crate) async fn serve(core: Arc<Core>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default()).into_owned();
    let info = RequestInfo::of(&parts.method, parts.uri.path(), &query);
    let started = Instant::now();
    let received = core.clock.now();
    let metrics_core = core.clone();
    let _in_flight =
        (!info.is_long_running()).then(|| metrics_core.metrics.begin(info.is_read_only()));
    let format = negotiate_error_format(&parts.headers);
    let known = info.clone();
    let audit = metrics_core.audit.is_some().then(|| parts.uri.to_string());
    let limit = time_limit(&info, &query);
    let run = guarded(core, parts, info, query, body);
    let run = tokio::time::timeout(limit, run);
    let outcome = match run.await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::failed(ApiError::timeout(
            "Timeout: request did not complete within the allotted timeout",
        )),
    };
    let mut answer = match outcome.result {
        Ok(answer) => answer,
        Err(error) => response::error_as(&error, format),
    };
    for (name, value) in &outcome.headers {
        if let Ok(value) = http::HeaderValue::from_str(value) {
            answer.headers_mut().insert(*name, value);
        }
    }
    let code = answer.status().as_u16();
    let audit_id = uuid::Builder::from_random_bytes(metrics_core.rng.bytes16()).into_uuid();
    if let Ok(value) = http::HeaderValue::from_str(&audit_id.to_string()) {
        answer.headers_mut().insert("audit-id", value);
    }
    metrics_core.metrics.observe(&known, code, started.elapsed());
    if let (Some(sink), Some(uri)) = (&metrics_core.audit, audit) {
        sink.record(AuditEvent {
            received,
            answered: metrics_core.clock.now(),
            user: outcome.caller.unwrap_or_else(UserInfo::anonymous),
            impersonated: outcome.impersonated,
            verb: known.verb.to_owned(),
            uri,
            group: known.group,
            version: known.version,
            resource: known.resource,
            subresource: known.subresource,
            namespace: known.namespace,
            name: known.name,
            code,
            annotations: Vec::new(),
        });
    }
    answer
}

/// How long a request may take.
fn time_limit(info: &RequestInfo, query: &Query<'_>) -> Duration {
    if info.is_long_running() {
        // Bounded by its own `timeoutSeconds`, once it streams.
        return Duration::from_secs(u32::MAX.into());
    }
    options::go_duration(query.text("timeout"))
        .filter(|limit| !limit.is_zero() && *limit < REQUEST_TIMEOUT)
        .unwrap_or(REQUEST_TIMEOUT)
}

fn negotiate_error_format(headers: &HeaderMap) -> Format {
    let offer = Offer { shapes: true, protobuf: true, watch: false };
    negotiate(header(headers, "accept"), "", offer).map(|output| output.format).unwrap_or_default()
}

/// A header's text; empty when it is absent.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// What came of a request, with what the audit wants to know.
struct Outcome {
    result: ApiResult<Response>,
    caller: Option<UserInfo>,
    impersonated: Option<UserInfo>,
    headers: Vec<(&'static str, String)>,
}

impl Outcome {
    fn failed(error: ApiError) -> Self {
        Self { result: Err(error), caller: None, impersonated: None, headers: Vec::new() }
    }
}

/// Runs a request so that neither its panic nor its client's going away does harm.
async fn guarded(
    core: Arc<Core>,
    parts: Parts,
    info: RequestInfo,
    query: Query<'static>,
    body: Body,
) -> Outcome {
    let what = format!("{} {}", parts.method, parts.uri.path());
    let writes = !info.is_read_only() && !info.is_long_running();
    let run = async move {
        base::task::contain(&what, admit(core, parts, info, query, body)).await.unwrap_or_else(
            |panicked| Outcome::failed(ApiError::internal(format!("this request caused apiserver to panic. Look in the logs for details: {panicked}"))),
        )
    };
    if !writes {
        return run.await;
    }
    match tokio::spawn(run).await {
        Ok(outcome) => outcome,
        Err(error) => Outcome::failed(ApiError::internal(error)),
    }
}

/// The chain: who, as whom, may it, is there room.
async fn admit(
    core: Arc<Core>,
    parts: Parts,
    info: RequestInfo,
    query: Query<'static>,
    body: Body,
) -> Outcome {
    let caller = match authn::identify(&core, &parts).await {
        Ok(caller) => caller,
        Err(error) => return Outcome::failed(error),
    };
    let impersonated = match impersonate::impersonate(&core, &caller, &parts.headers).await {
        Ok(impersonated) => impersonated,
        Err(error) => {
            return Outcome { caller: Some(caller), ..Outcome::failed(error) };
        }
    };
    let user = impersonated.clone().unwrap_or_else(|| caller.clone());
    let attributes = authz::attributes(&info, &user);
    let mut headers = Vec::new();
    let result = async {
        authz::authorize(&core, &attributes).await?;
        let permit =
            core.flow.admit(&attributes, info.is_read_only(), info.is_long_running()).await?;
        headers.extend(permit.headers);
        let _guard = permit.guard;
        dispatch(Call { core, parts, info, query, user }, body).await
    }
    .await;
    Outcome { result, caller: Some(caller), impersonated, headers }
}

async fn dispatch(mut call: Call, body: Body) -> ApiResult<Response> {
    if let Some(service) = remote::service_of(&call) {
        return Ok(remote::forward(call, service, body).await);
    }
    if !call.info.is_resource {
        let others = remote::documents(&call).await;
        if call.info.path.starts_with("/openapi/") {
            // Making a document takes a while of pure computing.
            let made =
                tokio::task::spawn_blocking(move || nonresource::serve(&call, &others)).await;
            return made.map_err(ApiError::internal)?;
        }
        return nonresource::serve(&call, &others);
    }
    let snapshot = call.core.registry.snapshot();
    let info = &call.info;
    let found = snapshot.find(&info.group, &info.version, &info.resource);
    let Some((entry, version)) = found.map(|(entry, version)| (entry.clone(), version)) else {
        return Ok(no_such_resource(&call, &snapshot));
    };
    drop(snapshot);
    call.info.version = version;
    let info = &call.info;
    let in_namespace = !info.namespace.is_empty() && info.path.contains("/namespaces/");
    if in_namespace && !entry.is_namespaced() && info.resource != "namespaces" {
        return Err(ApiError::no_such_path());
    }
    if !info.subresource.is_empty() {
        return subresource::serve(call, entry, body).await;
    }
    if !entry.resource.info().has_verb(info.verb) {
        return Err(wrong_method(&entry.gr, info.verb));
    }
    let handler = entry.resource.virtual_handler();
    let shapes = handler.is_none() || info.verb != "create";
    let protobuf = has_protobuf(&entry, &info.version);
    let output = call.negotiate(Offer { shapes, protobuf, watch: info.verb == "watch" })?;
    let target = Target { call, entry, output, conversions: Arc::default() };
    if let Some(handler) = handler {
        return target.virtual_verb(&*handler, body).await;
    }
    target.verb(body).await
}

/// Whether a kind can be said in protobuf.
fn has_protobuf(entry: &Entry, version: &str) -> bool {
    !entry.resource.is_custom()
        && api::proto::is_supported(&entry.api_version(version), &entry.resource.info().kind)
}

/// 405 in go-restful's words.
pub(crate) fn wrong_method(resource: &GroupResource, _verb: &str) -> ApiError {
    ApiError::new(
        405,
        "MethodNotAllowed",
        "the server does not allow this method on the requested resource",
    )
    .about(resource, "")
}

fn no_such_resource(call: &Call, snapshot: &crate::registry::Snapshot) -> Response {
    let served = snapshot.group_versions();
    let known = served
        .get(call.info.group.as_str())
        .is_some_and(|versions| versions.contains(&call.info.version.as_str()));
    if known {
        response::error(&ApiError::no_such_path())
    } else {
        response::text(404, "404 page not found\n")
    }
}

impl Call {
    /// Agrees on the form of the answer.
    pub(crate) fn negotiate(&self, offer: Offer) -> ApiResult<Output> {
        let accept = header(&self.parts.headers, "accept");
        let mut output = negotiate(accept, self.query.text("includeObject"), offer)?;
        output.is_pretty = match self.query.get("pretty") {
            Some(_) => self.query.flag("pretty"),
            None => {
                let agent = header(&self.parts.headers, "user-agent");
                ["curl", "Wget", "Mozilla/5.0"].iter().any(|start| agent.starts_with(start))
            }
        };
        Ok(output)
    }

    /// Who the written fields belong to: `fieldManager`, or the client's name.
    pub(crate) fn manager(&self) -> String {
        let given = self.query.text("fieldManager");
        if !given.is_empty() {
            return given.to_owned();
        }
        let agent = header(&self.parts.headers, "user-agent");
        let name = agent.split('/').next().unwrap_or_default();
        let name: String = name.chars().filter(|letter| !letter.is_control()).take(128).collect();
        if name.is_empty() { "unknown".to_owned() } else { name }
    }
}

impl Target {
    async fn verb(self, body: Body) -> ApiResult<Response> {
        let info = &self.call.info;
        let named = !info.name.is_empty();
        match info.verb {
            "get" => self.get().await,
            "list" => self.list().await,
            "watch" => self.watch().await,
            "create" if !named && self.has_place() => self.create(body).await,
            "update" if named => self.update(None, body).await,
            "patch" if named => self.patch(None, body).await,
            "delete" if named => self.delete(body).await,
            "deletecollection" if self.has_place() => self.delete_collection(body).await,
            verb => Err(wrong_method(&self.entry.gr, verb)),
        }
    }

    /// Whether a namespaced kind is written in a namespace.
    fn has_place(&self) -> bool {
        !self.entry.is_namespaced() || !self.call.info.namespace.is_empty()
    }

    /// The namespace of the kind's objects; empty for cluster-scoped ones.
    pub(crate) fn namespace(&self) -> &str {
        if self.entry.is_namespaced() { &self.call.info.namespace } else { "" }
    }
}
