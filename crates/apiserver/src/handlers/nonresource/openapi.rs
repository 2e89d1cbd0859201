//! `/openapi/v2` and `/openapi/v3`: this server's documents with those of other servers.

use std::sync::Arc;

use api::Value;
use api::status::{ApiError, ApiResult};
use axum::response::Response;
use bytes::Bytes;
use http::header::HeaderValue;

use super::super::remote::Others;
use super::super::{Call, header};
use super::tagged;
use crate::aggregation::RemoteDocument;
use crate::discovery::Document;
use crate::negotiate::{JSON, parse_accept};
use crate::openapi::OpenApiSource;
use crate::registry::Snapshot;
use crate::resource::Resource;
use crate::response;

/// What clients ask for, in the form that is no media type for its `@`, or in the one that is; the
/// answer is in the latter.
const V2_PROTOBUFS: [&str; 2] =
    ["application/com.github.proto-openapi.spec.v2@v1.0+protobuf", V2_PROTOBUF];
const V2_PROTOBUF: &str = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";

fn resources(snapshot: &Snapshot) -> Vec<Arc<dyn Resource>> {
    snapshot.entries().iter().map(|entry| entry.resource.clone()).collect()
}

/// An OpenAPI document: its tag is remembered with the registry's snapshot, itself it is made anew.
fn document(
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

pub(super) fn v2(call: &Call, others: &Others) -> ApiResult<Response> {
    let Some(source) = &call.core.openapi else { return Err(ApiError::no_such_path()) };
    let snapshot = call.core.registry.snapshot();
    let all = resources(&snapshot);
    // What other servers say may change without the registry: their tags are not remembered.
    let suffix = others.tag();
    let wants_protobuf = parse_accept(header(&call.parts.headers, "accept"))
        .iter()
        .take_while(|range| range.media != JSON)
        .any(|range| V2_PROTOBUFS.contains(&&*range.media));
    if wants_protobuf {
        let name = format!("v2 protobuf{suffix}");
        let make = || v2_protobuf(&**source, &all, others);
        if let Some(answer) = document(call, &snapshot, &name, V2_PROTOBUF, make) {
            return Ok(answer);
        }
    }
    let name = format!("v2{suffix}");
    let make = || match others.openapi_v2.is_empty() {
        true => Some(source.v2(&all)),
        false => merged_v2(&**source, &all, others).map(|merged| merged.to_string().into()),
    };
    document(call, &snapshot, &name, JSON, make).ok_or_else(ApiError::no_such_path)
}

fn v2_protobuf(
    source: &dyn OpenApiSource,
    all: &[Arc<dyn Resource>],
    others: &Others,
) -> Option<Bytes> {
    if others.openapi_v2.is_empty() {
        return source.v2_protobuf(all);
    }
    merged_v2(source, all, others).map(|merged| api::openapi::v2_protobuf(&merged).into())
}

fn merged_v2(
    source: &dyn OpenApiSource,
    all: &[Arc<dyn Resource>],
    others: &Others,
) -> Option<Value> {
    let mut merged: Value = serde_json::from_slice(&source.v2(all)).ok()?;
    for other in &others.openapi_v2 {
        match serde_json::from_slice(&other.json) {
            Ok(document) => api::openapi::merge_v2(&mut merged, document),
            Err(error) => tracing::debug!(%error, "another server's OpenAPI is no JSON"),
        }
    }
    Some(merged)
}

pub(super) fn index(call: &Call, others: &Others) -> ApiResult<Response> {
    let Some(source) = &call.core.openapi else { return Err(ApiError::no_such_path()) };
    let snapshot = call.core.registry.snapshot();
    let all = resources(&snapshot);
    let mut paths = serde_json::Map::new();
    let mut add = |path: &str, hash: &str| {
        let url = format!("/openapi/v3/{path}?hash={hash}");
        paths.insert(path.to_owned(), serde_json::json!({ "serverRelativeURL": url }));
    };
    for path in source.v3_paths(&all) {
        let name = format!("v3 {path}");
        let told = source.v3_tag(&all, &path);
        let made = || snapshot.documents.tag(&name, || source.v3(&all, &path));
        let Some(tag) = told.or_else(made) else { continue };
        add(&path, tag.trim_matches('"'));
    }
    for other in &others.openapi_v3 {
        add(&other.path, &other.hash);
    }
    let json =
        serde_json::to_vec(&serde_json::json!({ "paths": paths })).map_err(ApiError::internal)?;
    let name = format!("v3{}", others.tag());
    document(call, &snapshot, &name, JSON, || Some(json.into())).ok_or_else(ApiError::no_such_path)
}

pub(super) fn v3(call: &Call, others: &Others, path: &str) -> ApiResult<Response> {
    if let Some(other) = others.openapi_v3.iter().find(|other| other.path == path) {
        return Ok(others_v3(call, other));
    }
    let Some(source) = &call.core.openapi else { return Err(ApiError::no_such_path()) };
    let snapshot = call.core.registry.snapshot();
    let name = format!("v3 {path}");
    let all = resources(&snapshot);
    let make = || source.v3(&all, path);
    let Some(mut answer) = document(call, &snapshot, &name, JSON, make) else {
        return Ok(response::text(404, "404 page not found\n"));
    };
    let made = || snapshot.documents.tag(&name, || None).unwrap_or_default();
    let tag = source.v3_tag(&all, path).unwrap_or_else(made);
    cacheable(call, tag.trim_matches('"'), &mut answer);
    Ok(answer)
}

/// Another server's document.
fn others_v3(call: &Call, other: &RemoteDocument) -> Response {
    let tag = format!("\"{}\"", other.hash);
    let mut answer = tagged(call, &Document { json: other.json.clone(), tag }, JSON);
    cacheable(call, &other.hash, &mut answer);
    answer
}

/// A URL with the right hash never changes its meaning.
fn cacheable(call: &Call, hash: &str, answer: &mut Response) {
    if call.query.get("hash") == Some(hash) {
        let headers = answer.headers_mut();
        headers.insert("cache-control", HeaderValue::from_static("public, immutable"));
        headers.insert("expires", HeaderValue::from_static("Fri, 31 Dec 2100 00:00:00 GMT"));
    }
}
