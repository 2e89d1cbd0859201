//! Subresources: views of the object, scale, and those with a life of their own.

use std::sync::Arc;

use api::Value;
use api::names::Gvk;
use api::status::{ApiError, ApiResult};
use axum::body::Body;
use axum::response::Response;
use http::{Method, Request};

use super::messages::Messages;
use super::{Call, Target};
use crate::admission::Operation;
use crate::negotiate::{Offer, Output, check_routed};
use crate::registry::Entry;
use crate::resource::{
    Subresource, SubresourceAnswer, SubresourceBehaviour, SubresourceHandler, SubresourceRequest,
};
use crate::response;

/// The methods of a proxy.
const PROXIED: [Method; 7] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
];

/// Serves a request to a subresource.
pub(super) async fn serve(call: Call, entry: Arc<Entry>, body: Body) -> ApiResult<Response> {
    let Some(found) = entry.subresource(&call.info.subresource).cloned() else {
        return Err(match entry.resource.is_custom() {
            true => ApiError::not_found(&entry.gr, &call.info.name),
            false => ApiError::no_such_path(),
        });
    };
    let verb = call.info.verb;
    let connects =
        matches!(&found.behaviour, SubresourceBehaviour::Custom(handler) if handler.is_connect());
    let method = &call.parts.method;
    // What is proxied may be asked in any of HTTP's own ways.
    let is_known = match connects && found.name == "proxy" {
        true => PROXIED.contains(method),
        false => *method != Method::HEAD && found.verbs.iter().any(|known| known == verb),
    };
    if !is_known {
        return Err(ApiError::method_not_allowed());
    }
    if !call.info.rest.is_empty() && !connects {
        return Err(ApiError::no_such_path());
    }
    let protobuf = match &found.kind {
        Some((group, version, kind)) => {
            api::proto::is_supported(&api::names::join_api_version(group, version), kind)
        }
        None => super::has_protobuf(&entry, &call.info.version),
    };
    let shapes = matches!(found.behaviour, SubresourceBehaviour::View);
    let output = if connects {
        Output::default()
    } else {
        if !entry.resource.is_custom() {
            check_routed(super::header(&call.parts.headers, "accept"), false)?;
        }
        call.negotiate(Offer { shapes, protobuf, watch: false })?
    };
    let target = Target { call, entry, output, conversions: Arc::default() };
    match found.behaviour.clone() {
        SubresourceBehaviour::View => match verb {
            "get" => target.get().await,
            "update" => target.update(Some(&found.name), body).await,
            "patch" => target.patch(Some(&found.name), body).await,
            _ => Err(ApiError::method_not_allowed()),
        },
        SubresourceBehaviour::Scale(paths) => target.scale(&paths, body).await,
        SubresourceBehaviour::Custom(handler) => target.custom(&found, handler, body).await,
    }
}

impl Target {
    async fn custom(
        self,
        subresource: &Subresource,
        handler: Arc<dyn SubresourceHandler>,
        body: Body,
    ) -> ApiResult<Response> {
        let dry_run = super::options::WriteOptions::of(&self.call.query, "CreateOptions")?.dry_run;
        let mut warnings = Vec::new();
        let (mut parts, mut messages) = (self.call.parts.clone(), None);
        let (decoded, body) = if handler.is_connect() {
            if !self.admit_connect(subresource, &*handler).await? {
                messages = Messages::asked(&mut parts).await?;
            }
            (None, body)
        } else {
            let received = self.custom_body(subresource, handler.older_versions(), body).await?;
            (
                received.map(|(value, found)| {
                    warnings = found;
                    value
                }),
                Body::empty(),
            )
        };
        let Self { call, entry, output, .. } = self;
        let request = SubresourceRequest {
            user: call.user.clone(),
            verb: call.info.verb,
            namespace: call.info.namespace.clone(),
            name: call.info.name.clone(),
            rest: call.info.rest.clone(),
            dry_run,
            body: decoded,
            http: Request::from_parts(parts, body),
        };
        let answered = handler.handle(&*call.core, request).await;
        match answered.inspect_err(|_| call.journal.warn(warnings.clone()))? {
            SubresourceAnswer::Http(response) => Ok(match messages {
                Some(messages) => messages.of(response),
                None => response,
            }),
            SubresourceAnswer::Object(code, value) => {
                let body = crate::codec::encode(&value, output.format, output.is_pretty)?;
                let _ = entry;
                let mut answer = response::object(code, output, body);
                response::add_warnings(&mut answer, &warnings);
                Ok(answer)
            }
        }
    }

    /// Decodes and admits the body of a custom subresource.
    async fn custom_body(
        &self,
        subresource: &Subresource,
        older: &[&str],
        body: Body,
    ) -> ApiResult<Option<(Value, Vec<String>)>> {
        if self.call.info.is_read_only() {
            return Ok(None);
        }
        let info = self.entry.resource.info();
        let (gvk, schema) = match &subresource.kind {
            Some((group, version, kind)) => (
                Gvk::new(group, version, kind),
                api::schema::by_kind(group, version, kind).unwrap_or(api::schema::Schema::Any),
            ),
            None => (
                info.gvk(&self.call.info.version),
                self.entry.resource.body_schema(&self.call.info.version),
            ),
        };
        let received = self.decode_as(body, &gvk, &schema, older).await?;
        let mut value = received.value;
        let manager = self.call.manager();
        let mut op = self.op(Some(&subresource.name), &manager, false, "CreateOptions");
        op.warnings = received.warnings;
        let operation =
            if self.call.info.verb == "create" { Operation::Create } else { Operation::Update };
        let name = &self.call.info.name;
        op.admit(operation, name, Some(&mut value), None).await?;
        op.validate(operation, name, Some(&mut value), None).await?;
        let warnings = std::mem::take(&mut op.warnings);
        Ok(Some((value, warnings)))
    }

    /// Asks admission about exec, attach, port-forward and proxy, whose object are their options;
    /// whether there was something to ask.
    async fn admit_connect(
        &self,
        subresource: &Subresource,
        handler: &dyn SubresourceHandler,
    ) -> ApiResult<bool> {
        let query = self.call.parts.uri.query().unwrap_or_default();
        let Some(mut options) = handler.connect_options(query, &self.call.info.rest) else {
            return Ok(false);
        };
        let gvk = self.entry.kind_in(&self.call.info.version, Some(&subresource.name));
        options["kind"] = (&*gvk.kind).into();
        options["apiVersion"] = gvk.api_version().into();
        let manager = self.call.manager();
        let mut op = self.op(Some(&subresource.name), &manager, false, "");
        op.options = Value::Null;
        let name = &self.call.info.name;
        op.admit(Operation::Connect, name, Some(&mut options), None).await?;
        op.validate(Operation::Connect, name, Some(&mut options), None).await?;
        Ok(true)
    }
}
