//! From a request that was let in to its answer: its kind, then the verb.

mod body;
mod debug;
mod delete;
mod messages;
mod nonresource;
mod options;
mod read;
mod remote;
pub(crate) mod scale;
mod subresource;
mod watch;
mod write;

use std::sync::Arc;

use api::status::{ApiError, ApiResult};
use auth::UserInfo;
use axum::body::Body;
use axum::response::Response;
use http::request::Parts;
use http::{HeaderMap, Method};

use crate::health;
use crate::journal::Journal;
use crate::negotiate::{Offer, Output, Shape, check_routed, negotiate};
use crate::registry::Entry;
use crate::request::{Query, RequestInfo};
use crate::response;
use crate::server::Core;

/// A request that was let in.
pub(crate) struct Call {
    pub(crate) core: Arc<Core>,
    pub(crate) parts: Parts,
    pub(crate) info: RequestInfo,
    pub(crate) query: Query<'static>,
    pub(crate) user: UserInfo,
    pub(crate) journal: Arc<Journal>,
}

/// A request to a kind.
pub(crate) struct Target {
    pub(crate) call: Call,
    pub(crate) entry: Arc<Entry>,
    pub(crate) output: Output,
    /// What was converted for this request.
    pub(crate) conversions: Arc<crate::registry::Conversions>,
}

/// A header's text; empty when it is absent.
pub(crate) fn header<'h>(headers: &'h HeaderMap, name: &str) -> &'h str {
    headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
}

/// The handler of a request that was let in.
pub(crate) async fn dispatch(mut call: Call, body: Body) -> ApiResult<Response> {
    if let Some(answer) = debug::serve(&call) {
        return Ok(answer);
    }
    if let Some(service) = remote::service_of(&call) {
        return Ok(remote::forward(call, service, body).await);
    }
    if !call.info.is_resource {
        if let Some(answer) = health::serve(&call.core, &call.info, &call.query).await {
            return Ok(answer);
        }
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
        return Ok(no_such_path(&call.info.path, &snapshot));
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
    if !entry.resource.info().has_verb(info.verb) || call.parts.method == Method::HEAD {
        return Err(ApiError::method_not_allowed());
    }
    let is_list = matches!(info.verb, "list" | "watch");
    if !entry.resource.is_custom() {
        check_routed(header(&call.parts.headers, "accept"), is_list)?;
    }
    let handler = entry.resource.virtual_handler();
    let shapes = handler.is_none() || info.verb != "create";
    let protobuf = has_protobuf(&entry, &info.version);
    let mut output = call.negotiate(Offer { shapes, protobuf, watch: false })?;
    if info.verb == "watch" {
        output = call.negotiate(Offer { shapes, protobuf, watch: true })?;
    }
    call.journal.warn(entry.deprecation_warning(&call.info.version).map(str::to_owned));
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

/// Upstream's routes have the built-in groups' paths: what is below them and nothing is answered
/// with a `Status`. Elsewhere nobody is there to say more than HTTP's own 404.
pub(crate) fn no_such_path(path: &str, snapshot: &crate::registry::Snapshot) -> Response {
    let mut parts = path.split('/').filter(|part| !part.is_empty());
    let is_routed = match (parts.next(), parts.next()) {
        (Some("api"), _) => true,
        (Some("apis"), Some(group)) => snapshot
            .entries()
            .iter()
            .any(|entry| &*entry.gr.group == group && !entry.resource.is_custom()),
        _ => false,
    };
    if is_routed {
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
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    /// Whether the client means a list where it gets one, and no list where it does not.
    ///
    /// # Errors
    /// 406 when its metadata would come in the other form.
    pub(crate) fn check_shape(&self, is_list: bool) -> ApiResult<()> {
        let Shape::Partial(_) = self.output.shape else { return Ok(()) };
        if self.output.names_list == is_list {
            return Ok(());
        }
        let gr = &self.entry.gr;
        let package = match gr.group.split('.').next().unwrap_or_default() {
            "" => "core",
            group => group,
        };
        let kind = &self.entry.resource.info().kind;
        let list = if is_list { "List" } else { "" };
        let go = match self.entry.resource.is_custom() {
            true => format!("*unstructured.Unstructured{list}"),
            false => format!("*{package}.{kind}{list}"),
        };
        let text = if is_list {
            format!(
                "you requested PartialObjectMetadata, but the requested object is a list ({go})"
            )
        } else {
            format!(
                "you requested PartialObjectMetadataList, but the requested object is not a list ({go})"
            )
        };
        Err(ApiError::new(406, "NotAcceptable", text))
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
