//! Bodies in and out: the one place that knows JSON, YAML and protobuf.
//!
//! Invariant: inside the server an object is a JSON value in the canonical form of its schema.
//! What is wrong with a body without making it unreadable (duplicate and unknown fields) comes
//! beside it, in the order in which it was met, for `fieldValidation` to judge.

use api::Value;
use api::decode::{self, DecodeError};
use api::names::Gvk;
use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt, LengthLimitError, Limited};

use crate::negotiate::{Format, JSON, PROTOBUF, YAML};
use crate::storage::stored::write_ordered;

pub(crate) use api::decode::Decoded;

/// The longest body.
pub(crate) const BODY_LEN_MAX: usize = 3 * 1024 * 1024;

/// Reads a body whole.
pub(crate) async fn read_body(body: Body) -> ApiResult<Bytes> {
    match Limited::new(body, BODY_LEN_MAX).collect().await {
        Ok(collected) => Ok(collected.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => {
            Err(ApiError::request_too_large(BODY_LEN_MAX))
        }
        Err(error) => Err(ApiError::bad_request(format!("the body could not be read: {error}"))),
    }
}

/// The format of a body by its `Content-Type`; JSON without one.
pub(crate) fn body_format(content_type: &str) -> ApiResult<Format> {
    let media = content_type.split(';').next().unwrap_or_default().trim();
    match media {
        "" | "*/*" | JSON => Ok(Format::Json),
        YAML => Ok(Format::Yaml),
        PROTOBUF => Ok(Format::Protobuf),
        _ => Err(ApiError::unsupported_media_type(&[JSON, YAML, PROTOBUF])),
    }
}

/// Decodes a body by a schema.
pub(crate) fn decode(
    bytes: &[u8],
    format: Format,
    schema: &Schema,
    expected: &Gvk,
) -> Result<Decoded, DecodeError> {
    match format {
        Format::Json => decode::body(bytes, decode::Format::Json, schema),
        Format::Yaml => decode::body(bytes, decode::Format::Yaml, schema),
        // The transcoder has brought it into its canonical form already.
        Format::Protobuf => crate::proto::decode(bytes, expected)
            .map(|object| Decoded { object, strict: Vec::new() }),
    }
}

/// Encodes an object.
pub(crate) fn encode(value: &Value, format: Format, is_pretty: bool) -> ApiResult<Vec<u8>> {
    match format {
        Format::Json if is_pretty => {
            let mut out = serde_json::to_vec_pretty(value).map_err(ApiError::internal)?;
            out.push(b'\n');
            Ok(out)
        }
        Format::Json => {
            let mut out = Vec::with_capacity(1024);
            write_ordered(value, &mut out);
            out.push(b'\n');
            Ok(out)
        }
        Format::Yaml => Ok(api::yaml::to_string(value).into_bytes()),
        Format::Protobuf => crate::proto::encode(value),
    }
}

/// Turns JSON that is at hand into the format.
pub(crate) fn transcode(json: Vec<u8>, format: Format, is_pretty: bool) -> ApiResult<Vec<u8>> {
    if format == Format::Json && !is_pretty {
        return Ok(json);
    }
    let value: Value = serde_json::from_slice(&json).map_err(ApiError::internal)?;
    encode(&value, format, is_pretty)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn media_types() {
        assert_eq!(body_format("application/json; charset=utf-8").unwrap(), Format::Json);
        assert_eq!(body_format("").unwrap(), Format::Json);
        assert_eq!(body_format("application/cbor").unwrap_err().code(), 415);
    }
}
