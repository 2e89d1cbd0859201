//! Protobuf bodies and answers, by the transcoder of the `api` crate.

use api::Value;
use api::decode::DecodeError;
use api::names::Gvk;
use api::proto;
use api::status::{ApiError, ApiResult};

use crate::negotiate::{JSON, YAML};

/// Decodes an enveloped object; `expected` is what an envelope that does not say its kind holds.
/// Options such as `DeleteOptions` come under any group's name.
pub(crate) fn decode(bytes: &[u8], expected: &Gvk) -> Result<Value, DecodeError> {
    let read = || {
        let envelope = proto::envelope(bytes)?;
        let own = expected.api_version();
        let kind = if envelope.kind.is_empty() { &*expected.kind } else { &envelope.kind };
        let api_version =
            if envelope.api_version.is_empty() { &own } else { &envelope.api_version };
        if proto::is_supported(api_version, kind) {
            return proto::decode_raw(api_version, kind, envelope.raw);
        }
        proto::decode_raw(&own, kind, envelope.raw)
    };
    read().map_err(|error: proto::ProtoError| DecodeError::new(error.to_string()))
}

/// Encodes an object with its envelope.
pub(crate) fn encode(value: &Value) -> ApiResult<Vec<u8>> {
    proto::encode(value).map_err(|error| match error {
        proto::ProtoError::NoMessage(..) => ApiError::not_acceptable(&[JSON, YAML]),
        other => ApiError::internal(other),
    })
}

/// Appends a watch event, framed, whose object is at hand as JSON.
pub(crate) fn watch_frame(kind: &str, object: &[u8], out: &mut Vec<u8>) -> ApiResult<()> {
    let object: Value = serde_json::from_slice(object).map_err(ApiError::internal)?;
    proto::watch_frame(kind, &encode(&object)?, out);
    Ok(())
}
