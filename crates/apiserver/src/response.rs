//! Answers: bytes and errors into HTTP, once, at the edge.

use api::status::ApiError;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use http::header::{
    CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, HeaderValue, RETRY_AFTER, VARY, WARNING,
};
use http::{HeaderMap, StatusCode};

use crate::negotiate::{Format, JSON, Output};
use crate::storage::stored::write_json;

/// Answers longer than this are compressed for those who accept it.
const GZIP_LEN_MIN: usize = 128 * 1024;
/// apiserver's `defaultGzipContentEncodingLevel`-like choice: fast rather than small.
const GZIP_LEVEL: u32 = 4;

/// An answer with a body.
pub(crate) fn bytes(code: u16, content_type: &str, body: impl Into<Bytes>) -> Response {
    let mut response = Response::new(Body::from(body.into()));
    *response.status_mut() = StatusCode::from_u16(code).unwrap_or(StatusCode::OK);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(content_type) {
        headers.insert(CONTENT_TYPE, value);
    }
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

/// An object in the format that was agreed upon.
pub(crate) fn object(code: u16, output: Output, body: Vec<u8>) -> Response {
    bytes(code, output.format.media_type(), body)
}

/// Plain text.
pub(crate) fn text(code: u16, body: impl Into<Bytes>) -> Response {
    let mut response = bytes(code, "text/plain; charset=utf-8", body);
    response
        .headers_mut()
        .insert(http::header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// 429, as text, as flow control gives it.
pub(crate) fn too_many_requests(after_seconds: u32) -> Response {
    let mut response = text(429, "Too many requests, please try again later.\n");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(after_seconds));
    response
}

/// An error as JSON.
pub(crate) fn error(error: &ApiError) -> Response {
    error_as(error, Format::Json)
}

/// An error in the client's format.
pub(crate) fn error_as(error: &ApiError, format: Format) -> Response {
    let json = status_json(error);
    let (body, format) = match crate::codec::transcode(json.clone(), format, false) {
        Ok(body) => (body, format),
        Err(_) => (json, Format::Json),
    };
    let mut response = bytes(error.code(), format.media_type(), body);
    let after = error.status().details.as_ref().and_then(|details| details.retry_after_seconds);
    if let Some(seconds) = after {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A `Status` as JSON, with a closing line break.
pub(crate) fn status_json(error: &ApiError) -> Vec<u8> {
    let mut json = Vec::new();
    write_json(error.status(), &mut json);
    json.push(b'\n');
    json
}

/// Adds warnings: `299 - "text"`.
pub(crate) fn add_warnings(response: &mut Response, warnings: &[String]) {
    let mut seen: Vec<&String> = Vec::new();
    for warning in warnings {
        if seen.contains(&warning) {
            continue;
        }
        seen.push(warning);
        let mut quoted = String::with_capacity(warning.len() + 8);
        for letter in warning.chars() {
            match letter {
                '"' | '\\' => quoted.extend(['\\', letter]),
                '\n' | '\r' | '\t' => quoted.push(' '),
                letter if letter.is_control() => {}
                letter => quoted.push(letter),
            }
        }
        if let Ok(value) = HeaderValue::from_bytes(format!("299 - \"{quoted}\"").as_bytes()) {
            response.headers_mut().append(WARNING, value);
        }
    }
}

/// Compresses bytes.
pub(crate) fn gzip(body: &[u8]) -> Vec<u8> {
    use std::io::Write;
    let mut encoder = flate2::write::GzEncoder::new(
        Vec::with_capacity(body.len() / 4),
        flate2::Compression::new(GZIP_LEVEL),
    );
    // Writing into memory cannot fail; an unfinished stream would be noticed by its reader.
    let _ = encoder.write_all(body);
    encoder.finish().unwrap_or_default()
}

/// An object, compressed when it is long and the client accepts that.
pub(crate) fn maybe_compressed(
    request: &HeaderMap,
    code: u16,
    content_type: &str,
    body: Vec<u8>,
) -> Response {
    let accepts = request
        .get_all(http::header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .any(|value| value.split(',').any(|one| one.trim().starts_with("gzip")));
    if body.len() < GZIP_LEN_MIN || !accepts {
        return bytes(code, content_type, body);
    }
    let mut response = bytes(code, content_type, gzip(&body));
    let headers = response.headers_mut();
    headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    response
}

/// JSON, whoever asks.
pub(crate) fn json(code: u16, body: impl Into<Bytes>) -> Response {
    bytes(code, JSON, body)
}
