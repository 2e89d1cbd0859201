//! What every request passes: a journal, a time limit, who, as whom, may it, is there room; then
//! its handler; then the audit, the counters and the answer.
//!
//! Invariants: what writes runs in a task of its own, so a client that hangs up does not stop it
//! half-way; a panic is answered with 500 and ends nothing else; every request ends in the audit
//! once, however it ends.

mod body;
pub(crate) mod recorder;

use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use api::status::{ApiError, ApiResult};
use auth::{Attributes, UserInfo};
use axum::body::Body;
use axum::extract::Request;
use axum::response::Response;
use base::drain::Drain;
use http::header::X_CONTENT_TYPE_OPTIONS;
use http::request::Parts;
use http::{HeaderName, HeaderValue};
use tokio::time::Instant;

use crate::filters::{authn, authz, flow, impersonate};
use crate::handlers::{Call, dispatch};
use crate::journal::Journal;
use crate::metrics::{Lasting, RequestSeries};
use crate::negotiate::{Format, Offer, negotiate};
use crate::request::duration::go_duration;
use crate::request::{Query, RequestInfo};
use crate::response;
use crate::server::Core;

use recorder::Recorder;

const AUDIT_ID: HeaderName = HeaderName::from_static("audit-id");
const PANICKED: &str = "This request caused apiserver to panic. Look in the logs for details\n";

/// Ends the watches of a listener that drains. In the request's extensions.
#[derive(Clone)]
pub(crate) struct ListenerDrain(pub(crate) Drain);

/// What came of a request.
struct Outcome {
    result: ApiResult<Response>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the panic said.
    panicked: Option<String>,
    /// False when the caller could not be authenticated.
    caller_is_known: bool,
}

impl Outcome {
    fn failed(error: ApiError) -> Self {
        Self { result: Err(error), headers: Vec::new(), panicked: None, caller_is_known: true }
    }
}

/// A request on its way.
struct Arrived {
    core: Arc<Core>,
    parts: Parts,
    info: RequestInfo,
    query: Query<'static>,
    journal: Arc<Journal>,
}

/// Serves one request.
pub(crate) async fn serve(core: Arc<Core>, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let query = Query::parse(parts.uri.query().unwrap_or_default()).into_owned();
    let info = RequestInfo::of(&parts.method, parts.uri.path(), &query);
    let journal = Arc::new(Journal::begin(&core, &parts));
    let series = core.series_of(&info, &parts.headers, &query);
    let is_lasting = info.is_long_running();
    let counting = core.clone();
    let _in_flight = (!is_lasting).then(|| counting.metrics.begin(info.is_read_only()));
    let lasting = series.as_ref().filter(|_| is_lasting).map(Lasting::begin);
    if let Some(lasting) = &lasting {
        parts.extensions.insert(lasting.clone());
    }
    let accept = parts.headers.get(http::header::ACCEPT).cloned();
    let ending = Ending::of(&core, &parts, &info, &journal, series);
    let limit = time_limit(&info, &query, core.request_timeout);
    let arrived = Arrived { core, parts, info, query, journal };
    let outcome = match limit {
        Err(error) => Outcome::failed(error),
        Ok(limit) => {
            tokio::time::timeout(limit, guarded(arrived, body)).await.unwrap_or_else(|_| {
                Outcome::failed(ApiError::timeout(
                    "Timeout: request did not complete within the allotted timeout",
                ))
            })
        }
    };
    ending.answer(outcome, accept.as_ref(), lasting).await
}

/// What is left to do when a request is answered.
struct Ending {
    core: Arc<Core>,
    journal: Arc<Journal>,
    series: Option<Arc<RequestSeries>>,
    what: What,
    agent: Option<HeaderValue>,
    /// For a caller that was never known.
    unknown: Option<Box<(Parts, RequestInfo)>>,
    is_lasting: bool,
}

impl Ending {
    fn of(
        core: &Arc<Core>,
        parts: &Parts,
        info: &RequestInfo,
        journal: &Arc<Journal>,
        series: Option<Arc<RequestSeries>>,
    ) -> Self {
        Self {
            core: core.clone(),
            journal: journal.clone(),
            series,
            what: What::of(parts),
            agent: parts.headers.get(http::header::USER_AGENT).cloned(),
            unknown: core.audit.is_some().then(|| Box::new((parts.clone(), info.clone()))),
            is_lasting: info.is_long_running(),
        }
    }

    async fn answer(
        self,
        outcome: Outcome,
        accept: Option<&HeaderValue>,
        lasting: Option<Arc<Lasting>>,
    ) -> Response {
        let Outcome { result, headers, panicked, caller_is_known } = outcome;
        let mut failure = None;
        let mut answer = match result {
            Ok(answer) => answer,
            Err(error) => {
                let mut answer = response::error_as(&error, error_format(accept));
                response::add_warnings(&mut answer, &self.journal.warnings());
                failure = Some(error);
                answer
            }
        };
        for (name, value) in headers {
            answer.headers_mut().insert(name, value);
        }
        if let Ok(id) = HeaderValue::from_str(&self.journal.id) {
            answer.headers_mut().insert(AUDIT_ID, id);
        }
        let code = answer.status().as_u16();
        if !caller_is_known && let Some(unknown) = &self.unknown {
            Recorder::refused_unknown(&self.core, &unknown.0, &unknown.1, &self.journal, code);
        }
        let goes_on = self.is_lasting && answer.status().is_success();
        if let Some(recorder) = self.journal.recorder.get() {
            let notes = self.journal.notes();
            answer = match panicked {
                Some(why) => recorder.panicked(&why, notes, answer),
                None if goes_on => recorder.started(code, notes, answer),
                None => recorder.complete(code, failure, notes, answer).await,
            };
        }
        if let Some(series) = &self.series {
            let size = http_body::Body::size_hint(answer.body()).exact();
            let times = (self.journal.started.elapsed(), self.journal.worked());
            series.observe(code, times, size.filter(|_| !goes_on), self.is_lasting);
        }
        if goes_on {
            return answer.map(|body| body::until_end(body, self.journal.clone(), code, lasting));
        }
        if !self.is_lasting {
            self.journal.step("answered");
            let agent = self.agent.as_ref().and_then(|agent| agent.to_str().ok());
            self.journal.log_when_slow(&self.what, agent.unwrap_or_default(), code);
        }
        answer
    }
}

/// How long a request may take: as long as it says itself, and no longer than any.
fn time_limit(info: &RequestInfo, query: &Query<'_>, longest: Duration) -> ApiResult<Duration> {
    if info.is_long_running() {
        // Bounded by its own `timeoutSeconds`, once it streams.
        return Ok(Duration::from_secs(u32::MAX.into()));
    }
    let given = query.text("timeout");
    if given.is_empty() {
        return Ok(longest);
    }
    let asked = go_duration(given).map_err(|why| {
        ApiError::bad_request(format!("invalid timeout specified in the request URL - {why}"))
    })?;
    Ok(if asked.is_zero() { longest } else { asked.min(longest) })
}

fn error_format(accept: Option<&HeaderValue>) -> Format {
    let offer = Offer { shapes: false, protobuf: true, watch: false };
    let accept = accept.and_then(|value| value.to_str().ok()).unwrap_or_default();
    negotiate(accept, "", offer).map(|output| output.format).unwrap_or_default()
}

/// `GET /api/v1/pods`, written only when somebody must read it.
#[derive(Clone)]
struct What(http::Method, http::Uri);

impl What {
    fn of(parts: &Parts) -> Self {
        Self(parts.method.clone(), parts.uri.clone())
    }
}

impl Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.0, self.1)
    }
}

/// Runs a request so that neither its panic nor its client's going away does harm.
async fn guarded(arrived: Arrived, body: Body) -> Outcome {
    let what = What::of(&arrived.parts);
    let writes = !arrived.info.is_read_only() && !arrived.info.is_long_running();
    let run = async move {
        base::task::contain(what, admit(arrived, body)).await.unwrap_or_else(|panicked| Outcome {
            result: Ok(response::text(500, PANICKED)),
            headers: Vec::new(),
            panicked: Some(panicked.0),
            caller_is_known: true,
        })
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
async fn admit(arrived: Arrived, body: Body) -> Outcome {
    let Arrived { core, parts, info, query, journal } = arrived;
    let began = Instant::now();
    let identified = authn::identify(&core, &parts).await;
    core.metrics.authenticated(identified.as_ref().ok(), began.elapsed());
    journal.step("authenticated");
    let caller = match identified {
        Ok(caller) => caller,
        Err(error) => {
            return Outcome { caller_is_known: false, ..Outcome::failed(error) };
        }
    };
    let body = Recorder::begin(&core, &parts, &info, &caller, &journal, body);
    let mut asked = authz::attributes(&info, &query, caller);
    let impersonated = match impersonate::impersonate(&core, &asked, &parts.headers).await {
        Ok(impersonated) => impersonated,
        Err(error) => {
            let headers = vec![(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"))];
            return Outcome { headers, ..Outcome::failed(error) };
        }
    };
    if let (Some(user), Some(recorder)) = (&impersonated, journal.recorder.get()) {
        recorder.acts_as(user);
    }
    if let Some(user) = impersonated {
        asked.user = user;
    }
    let attributes = asked;
    let mut headers = Vec::new();
    let result = async {
        let request = flow::request(&core, &parts, &info, &query, &attributes);
        let allowed = match allow(&core, &attributes, &journal).await {
            Ok(()) => authz::authorize_upgrade(&core, &attributes, &parts.headers).await,
            Err(error) => Err(error),
        };
        if let Err(error) = allowed {
            headers.push((X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")));
            headers.extend(core.flow.headers(&request));
            return Err(error);
        }
        let asked = Instant::now();
        let admitted = core.flow.admit(&request).await;
        journal.waited(asked.elapsed());
        journal.step("given room");
        let permit = match admitted {
            Ok(permit) => permit,
            Err(refusal) => {
                headers.extend(refusal.headers);
                return Ok(response::too_many_requests(refusal.retry_after_seconds));
            }
        };
        headers.extend(permit.headers);
        let _guard = permit.guard;
        let user = attributes.user;
        let call = Call { core, parts, info, query, user, journal: journal.clone() };
        // What handles a request is some 20 KiB large; without a box of its own it would be moved
        // with the request through every layer above.
        let answer = Box::pin(dispatch(call, body)).await;
        journal.step("handled");
        answer
    }
    .await;
    Outcome { result, headers, panicked: None, caller_is_known: true }
}

/// Asks whether the caller may, and notes the answer.
async fn allow(core: &Core, attributes: &Attributes, journal: &Journal) -> ApiResult<()> {
    let began = Instant::now();
    let decision = authz::decide(core, attributes).await;
    core.metrics.authorized(decision.is_ok(), began.elapsed());
    journal.step("authorized");
    let (word, reason) = match &decision {
        Ok(reason) => ("allow", reason),
        Err(reason) => ("forbid", reason),
    };
    if journal.recorder.get().is_some() {
        journal.note("authorization.k8s.io/decision", word);
        journal.note("authorization.k8s.io/reason", reason);
    }
    decision.map(drop).map_err(|reason| authz::refusal(attributes, &reason))
}

/// Whether a caller comes from inside the process.
pub(crate) fn is_in_process(parts: &Parts) -> bool {
    parts.extensions.get::<UserInfo>().is_some()
}
