//! Paths that are no resources: discovery, health, version, metrics, OpenAPI.

use std::sync::Arc;

use api::Value;
use api::status::{ApiError, ApiResult};
use axum::response::Response;
use bytes::Bytes;
use http::header::{ETAG, HeaderValue, IF_NONE_MATCH, VARY};

use super::{Call, header};
use crate::discovery::{self, Document, Form};
use crate::health;
use crate::negotiate::{Format, Offer, negotiate, parse_accept};
use crate::registry::Snapshot;
use crate::resource::Resource;
use crate::response;

const OPENAPI_V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

/// Serves a path that is no resource.
pub(super) fn serve(call: &Call) -> ApiResult<Response> {
    let path = call.info.path.as_str();
    let core = &call.core;
    if let Some(answer) = health::serve(path, &call.query, &core.readiness) {
        return Ok(answer);
    }
    if let Some((_, json)) = core.static_documents.iter().find(|(known, _)| known == path) {
        return Ok(response::json(200, json.clone()));
    }
    match path.trim_end_matches('/') {
        "" if path == "/" || path.is_empty() => root(call),
        "/version" => {
            let json = serde_json::to_vec_pretty(&core.version).map_err(ApiError::internal)?;
            Ok(response::json(200, json))
        }
        "/metrics" => Ok(metrics(call)),
        "/openapi/v2" => openapi_v2(call),
        "/openapi/v3" => openapi_index(call),
        other => match other.strip_prefix("/openapi/v3/") {
            Some(group_version) => openapi_v3(call, group_version),
            None => discover(call, other),
        },
    }
}

fn metrics(call: &Call) -> Response {
    let mut text = call.core.metrics.render();
    for source in &call.core.metrics_sources {
        text.push_str(&source());
    }
    response::bytes(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// The paths that are served.
fn root(call: &Call) -> ApiResult<Response> {
    let snapshot = call.core.registry.snapshot();
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    for (group, versions) in snapshot.group_versions() {
        if !group.is_empty() {
            paths.push(format!("/apis/{group}"));
        }
        for version in versions {
            paths.push(if group.is_empty() {
                format!("/api/{version}")
            } else {
                format!("/apis/{group}/{version}")
            });
        }
    }
    paths.sort();
    let json = serde_json::to_vec_pretty(&serde_json::json!({ "paths": paths }))
        .map_err(ApiError::internal)?;
    Ok(response::json(200, json))
}

/// Which form of discovery the client wants most.
fn discovery_form(accept: &str) -> Form {
    for range in parse_accept(accept) {
        let fits = range.media == "application/json"
            && range.param("g") == Some("apidiscovery.k8s.io")
            && range.param("as") == Some("APIGroupDiscoveryList");
        match range.param("v") {
            Some("v2") if fits => return Form::Aggregated("v2"),
            Some("v2beta1") if fits => return Form::Aggregated("v2beta1"),
            _ => {}
        }
        if range.media == "application/json" && range.param("as").is_none() {
            break;
        }
    }
    Form::Plain
}

fn discover(call: &Call, path: &str) -> ApiResult<Response> {
    let core = &call.core;
    let accept = header(&call.parts.headers, "accept");
    let top = matches!(path, "/api" | "/apis");
    let form = if top { discovery_form(accept) } else { Form::Plain };
    let snapshot = core.registry.snapshot();
    let Some(found) = discovery::document(&snapshot, path, form, &core.advertise_address) else {
        return Ok(response::text(404, "404 page not found\n"));
    };
    let mut answer = match form {
        Form::Aggregated(version) => tagged(
            call,
            &found,
            &format!("application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList"),
        ),
        Form::Plain => {
            let offer = Offer { shapes: false, protobuf: true, watch: false };
            // `as=` ranges that cannot be had are passed over; plain JSON is upstream's last resort.
            let output = negotiate(accept, "", offer).unwrap_or_default();
            let body = plain_body(call, &found, output.format)?;
            response::object(200, output, body)
        }
    };
    if top {
        answer.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    }
    Ok(answer)
}

/// A plain document in a format. Some of them have no `apiVersion` in JSON; protobuf's envelope
/// says it of all.
fn plain_body(call: &Call, found: &Document, format: Format) -> ApiResult<Vec<u8>> {
    if format != Format::Protobuf {
        return crate::codec::transcode(found.json.to_vec(), format, call_is_pretty(call));
    }
    let mut value: Value = serde_json::from_slice(&found.json).map_err(ApiError::internal)?;
    value["apiVersion"] = "v1".into();
    crate::codec::encode(&value, format, false)
}

fn call_is_pretty(call: &Call) -> bool {
    call.negotiate(Offer { shapes: false, protobuf: true, watch: false })
        .is_ok_and(|output| output.is_pretty)
}

/// A document with its tag, or 304 when the client has it.
fn tagged(call: &Call, document: &Document, content_type: &str) -> Response {
    let headers = &call.parts.headers;
    let known =
        headers.get(IF_NONE_MATCH).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let mut answer = if known.split(',').any(|tag| tag.trim() == document.tag) {
        response::bytes(304, content_type, "")
    } else {
        response::maybe_compressed(headers, 200, content_type, document.json.to_vec())
    };
    if let Ok(value) = HeaderValue::from_str(&document.tag) {
        answer.headers_mut().insert(ETAG, value);
    }
    answer
}

fn resources(snapshot: &Snapshot) -> Vec<Arc<dyn Resource>> {
    snapshot.entries().iter().map(|entry| entry.resource.clone()).collect()
}

/// An OpenAPI document: its tag is remembered with the registry's snapshot, itself it is made anew.
fn openapi_document(
    call: &Call,
    snapshot: &Snapshot,
    name: &str,
    content_type: &str,
    make: impl FnOnce() -> Option<Bytes>,
) -> Option<Response> {
    let known = header(&call.parts.headers, "if-none-match");
    if !known.is_empty() {
        let tag = snapshot.documents.tag(name, || None);
        if let Some(tag) = tag.filter(|tag| known.split(',').any(|one| one.trim() == tag)) {
            return Some(tagged(call, &Document { json: Bytes::new(), tag }, content_type));
        }
    }
    let json = make()?;
    let tag = snapshot.documents.note_tag(name, &json);
    Some(tagged(call, &Document { json, tag }, content_type))
}

fn openapi_v2(call: &Call) -> ApiResult<Response> {
    let Some(source) = &call.core.openapi else { return Err(ApiError::no_such_path()) };
    let snapshot = call.core.registry.snapshot();
    let all = resources(&snapshot);
    for range in parse_accept(header(&call.parts.headers, "accept")) {
        if range.media == "application/json" {
            break;
        }
        if range.media == OPENAPI_V2_PROTOBUF
            && let Some(answer) =
                openapi_document(call, &snapshot, "v2 protobuf", OPENAPI_V2_PROTOBUF, || {
                    source.v2_protobuf(&all)
                })
        {
            return Ok(answer);
        }
    }
    openapi_document(call, &snapshot, "v2", "application/json", || Some(source.v2(&all)))
        .ok_or_else(ApiError::no_such_path)
}

fn openapi_index(call: &Call) -> ApiResult<Response> {
    let Some(source) = &call.core.openapi else { return Err(ApiError::no_such_path()) };
    let snapshot = call.core.registry.snapshot();
    let all = resources(&snapshot);
    let mut paths = serde_json::Map::new();
    for path in source.v3_paths(&all) {
        let name = format!("v3 {path}");
        let told = source.v3_tag(&all, &path);
        let made = || snapshot.documents.tag(&name, || source.v3(&all, &path));
        let Some(tag) = told.or_else(made) else { continue };
        let url = format!("/openapi/v3/{path}?hash={}", tag.trim_matches('"'));
        paths.insert(path, serde_json::json!({ "serverRelativeURL": url }));
    }
    let json =
        serde_json::to_vec(&serde_json::json!({ "paths": paths })).map_err(ApiError::internal)?;
    openapi_document(call, &snapshot, "v3", "application/json", || Some(json.into()))
        .ok_or_else(ApiError::no_such_path)
}

fn openapi_v3(call: &Call, path: &str) -> ApiResult<Response> {
    let Some(source) = &call.core.openapi else { return Err(ApiError::no_such_path()) };
    let snapshot = call.core.registry.snapshot();
    let name = format!("v3 {path}");
    let all = resources(&snapshot);
    let make = || source.v3(&all, path);
    let Some(mut answer) = openapi_document(call, &snapshot, &name, "application/json", make)
    else {
        return Ok(response::text(404, "404 page not found\n"));
    };
    let made = || snapshot.documents.tag(&name, || None).unwrap_or_default();
    let tag = source.v3_tag(&all, path).unwrap_or_else(made);
    // A URL with the right hash never changes its meaning.
    if call.query.get("hash") == Some(tag.trim_matches('"')) {
        let headers = answer.headers_mut();
        headers.insert("cache-control", HeaderValue::from_static("public, immutable"));
        headers.insert("expires", HeaderValue::from_static("Fri, 31 Dec 2100 00:00:00 GMT"));
    }
    Ok(answer)
}
