//! Paths that are no resources: discovery, health, version, metrics, OpenAPI.

mod openapi;

use api::Value;
use api::status::{ApiError, ApiResult};
use axum::response::Response;
use http::Method;
use http::header::{CACHE_CONTROL, ETAG, HeaderValue, IF_NONE_MATCH, VARY};

use super::remote::Others;
use super::{Call, header};
use crate::discovery::{self, Document, Form};
use crate::health;
use crate::negotiate::{Format, Offer, check_routed, negotiate, parse_accept};
use crate::response;

/// Serves a path that is no resource.
pub(super) fn serve(call: &Call, others: &Others) -> ApiResult<Response> {
    let path = call.info.path.as_str();
    let core = &call.core;
    if let Some(document) = core.documents.iter().find(|document| document.path == path) {
        let mut answer = response::json(200, (document.text)());
        let headers = answer.headers_mut();
        let media_type = http::HeaderValue::from_static(document.media_type);
        headers.insert(http::header::CONTENT_TYPE, media_type);
        return Ok(answer);
    }
    if !is_known(path, &call.parts.method) {
        return Err(ApiError::method_not_allowed());
    }
    match path.trim_end_matches('/') {
        "" if path == "/" || path.is_empty() => root(call, others),
        "/version" => {
            let json = serde_json::to_vec_pretty(&core.version).map_err(ApiError::internal)?;
            Ok(response::json(200, json))
        }
        "/metrics" => Ok(exposition(metrics(call))),
        "/metrics/slis" => Ok(exposition(core.metrics.health.text())),
        "/openapi/v2" => openapi::v2(call, others),
        "/openapi/v3" => openapi::index(call, others),
        other => match other.strip_prefix("/openapi/v3/") {
            Some(group_version) => openapi::v3(call, others, group_version),
            None => discover(call, others, other),
        },
    }
}

fn metrics(call: &Call) -> String {
    let mut text = call.core.metrics_text();
    text.push_str(&call.core.flow.metrics());
    if let Some(audit) = &call.core.audit {
        text.push_str(&audit.metrics());
    }
    for source in &call.core.metrics_sources {
        text.push_str(&source());
    }
    text
}

fn exposition(text: String) -> Response {
    response::bytes(200, "text/plain; version=0.0.4; charset=utf-8", text)
}

/// Whether a path takes a method: those behind upstream's routes take `GET` alone, the others do
/// not look at it.
fn is_known(path: &str, method: &Method) -> bool {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        [] | ["apis"] | ["apis", _] | ["openapi", ..] => true,
        ["api", ..] | ["apis", ..] | ["version"] => *method == Method::GET,
        _ => matches!(*method, Method::GET | Method::HEAD),
    }
}

/// The paths that are served.
fn root(call: &Call, others: &Others) -> ApiResult<Response> {
    let snapshot = call.core.registry.snapshot();
    let mut paths: Vec<String> = [
        "/.well-known/openid-configuration",
        "/api",
        "/apis",
        "/healthz",
        "/livez",
        "/metrics",
        "/metrics/slis",
        "/openapi/v2",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ]
    .map(str::to_owned)
    .to_vec();
    paths.extend(health::paths(&call.core));
    paths.extend(discovery::paths(&snapshot, &others.versions));
    paths.sort();
    let json = serde_json::to_vec_pretty(&serde_json::json!({ "paths": paths }))
        .map_err(ApiError::internal)?;
    Ok(response::json(200, json))
}

/// Which form of discovery the client wants most.
fn discovery_form(accept: &str) -> Form {
    for range in parse_accept(accept) {
        let fits = range.param("g") == Some("apidiscovery.k8s.io")
            && range.param("as") == Some("APIGroupDiscoveryList");
        let format = [Format::Json, Format::Yaml, Format::Protobuf]
            .into_iter()
            .find(|format| fits && format.media_type() == range.media);
        match (range.param("v"), format) {
            (Some("v2"), Some(format)) => return Form::Aggregated("v2", format),
            (Some("v2beta1"), Some(format)) => return Form::Aggregated("v2beta1", format),
            _ => {}
        }
        if range.media == "application/json" && range.param("as").is_none() {
            break;
        }
    }
    Form::Plain
}

fn discover(call: &Call, others: &Others, path: &str) -> ApiResult<Response> {
    let core = &call.core;
    let accept = header(&call.parts.headers, "accept");
    let top = matches!(path, "/api" | "/apis");
    let form = if top { discovery_form(accept) } else { Form::Plain };
    let snapshot = core.registry.snapshot();
    let found =
        discovery::document(&snapshot, &others.versions, path, form, &core.advertise_address);
    let Some(found) = found else {
        return Ok(super::no_such_path(&call.info.path, &snapshot));
    };
    Ok(match form {
        Form::Aggregated(version, format) => {
            let media = format.media_type();
            let media =
                format!("{media};g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList");
            let json = crate::codec::transcode(found.json.to_vec(), format, false)?;
            let found = Document { json: json.into(), tag: found.tag };
            let mut answer = tagged(call, &found, &media);
            answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("public"));
            answer
        }
        Form::Plain => {
            let offer = Offer { shapes: false, protobuf: true, watch: false };
            check_routed(accept, false)?;
            let output = negotiate(accept, "", offer)?;
            let body = plain_body(call, &found, output.format)?;
            response::object(200, output, body)
        }
    })
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
    answer.headers_mut().append(VARY, HeaderValue::from_static("Accept"));
    answer
}
