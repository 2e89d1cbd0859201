//! Protobuf bodies: the seam to the transcoder.

use api::Value;
use api::status::{ApiError, ApiResult};

/// Whether protobuf is spoken at all.
pub(crate) fn is_supported() -> bool {
    false
}

/// Decodes an enveloped object.
pub(crate) fn decode(_bytes: &[u8]) -> ApiResult<Value> {
    Err(ApiError::unsupported_media_type(&[crate::negotiate::JSON, crate::negotiate::YAML]))
}

/// Encodes an object with its envelope.
pub(crate) fn encode(_value: &Value) -> ApiResult<Vec<u8>> {
    Err(ApiError::not_acceptable(&[crate::negotiate::JSON, crate::negotiate::YAML]))
}

/// Appends a watch event, framed: the length and the enveloped event.
pub(crate) fn watch_frame(_kind: &str, _object: &[u8], _out: &mut Vec<u8>) -> ApiResult<()> {
    Err(ApiError::not_acceptable(&[crate::negotiate::JSON]))
}
