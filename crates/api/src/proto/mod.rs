//! Protobuf, by one transcoder that walks the table of messages: JSON values of all built-in kinds
//! to Kubernetes' wire form and back, with its envelope (`k8s\0` and a `runtime.Unknown`).
//!
//! What is written is what upstream's generated marshalers write, byte for byte: fields by number,
//! values that are no pointers always, maps by key. What is read goes through the schema
//! afterwards, so that it has the canonical JSON form.
//! Invariant: no bytes make it panic, recurse without bound, or take more memory than they earn.

mod read;
mod removed;
mod table;
pub(crate) mod wire;
mod write;

use serde_json::{Map, Value};

use crate::decode;
use crate::names::{join_api_version, split_api_version};
use crate::schema::{self, Schema};
use table::Message;

/// What every enveloped object starts with.
pub const MAGIC: &[u8] = b"k8s\0";

/// Why an object has no protobuf form, or bytes are none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProtoError {
    /// The kind is none that has a protobuf form.
    #[error(
        "object {0}, Kind={1} does not implement the protobuf marshalling interface and cannot be encoded to a protobuf message"
    )]
    NoMessage(String, String),
    /// The bytes do not start with the envelope's mark.
    #[error(
        "provided data does not appear to be a protobuf message, expected prefix [107 56 115 0]"
    )]
    NoEnvelope,
    /// The bytes are no protobuf, or not of the message.
    #[error("proto: {0}")]
    Malformed(&'static str),
    /// A value has no place in the message.
    #[error("{0}")]
    Value(String),
}

/// Whether a kind has a protobuf form.
#[must_use]
pub fn is_supported(api_version: &str, kind: &str) -> bool {
    message_of(api_version, kind).is_some()
}

/// An object as protobuf in its envelope.
///
/// # Errors
/// When its kind has no protobuf form, or a value is not of its type.
pub fn encode(object: &Value) -> Result<Vec<u8>, ProtoError> {
    let (api_version, kind) = (crate::object::api_version(object), crate::object::kind(object));
    let message = message_of(api_version, kind)
        .ok_or_else(|| ProtoError::NoMessage(api_version.to_owned(), kind.to_owned()))?;
    let mut raw = Vec::with_capacity(1024);
    write::message(message, object, &mut raw)?;
    let mut type_meta = Vec::with_capacity(32);
    wire::put_bytes(1, api_version.as_bytes(), &mut type_meta);
    wire::put_bytes(2, kind.as_bytes(), &mut type_meta);
    let mut out = Vec::with_capacity(raw.len() + type_meta.len() + 24);
    out.extend_from_slice(MAGIC);
    wire::put_bytes(1, &type_meta, &mut out);
    wire::put_bytes(2, &raw, &mut out);
    wire::put_bytes(3, b"", &mut out);
    wire::put_bytes(4, b"", &mut out);
    Ok(out)
}

/// An object from protobuf in its envelope, with `apiVersion` and `kind`, in canonical JSON form.
///
/// # Errors
/// When the bytes are no enveloped object of a known kind.
pub fn decode(bytes: &[u8]) -> Result<Value, ProtoError> {
    let envelope = envelope(bytes)?;
    decode_raw(&envelope.api_version, &envelope.kind, envelope.raw)
}

/// What an envelope says, and holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Envelope<'a> {
    /// `apiVersion`.
    pub api_version: String,
    /// `kind`.
    pub kind: String,
    /// The message.
    pub raw: &'a [u8],
}

/// Opens an envelope.
///
/// # Errors
/// When the bytes are no envelope.
pub fn envelope(bytes: &[u8]) -> Result<Envelope<'_>, ProtoError> {
    let bytes = bytes.strip_prefix(MAGIC).ok_or(ProtoError::NoEnvelope)?;
    let mut envelope = Envelope { api_version: String::new(), kind: String::new(), raw: b"" };
    let mut reader = wire::Reader::new(bytes);
    while let Some((number, value)) = reader.next_field()? {
        match (number, value) {
            (1, wire::Wire::Bytes(meta)) => {
                let mut meta = wire::Reader::new(meta);
                while let Some((number, value)) = meta.next_field()? {
                    match (number, value) {
                        (1, wire::Wire::Bytes(text)) => envelope.api_version = wire::text(text)?,
                        (2, wire::Wire::Bytes(text)) => envelope.kind = wire::text(text)?,
                        _ => {}
                    }
                }
            }
            (2, wire::Wire::Bytes(raw)) => envelope.raw = raw,
            _ => {}
        }
    }
    Ok(envelope)
}

/// An object from a bare message whose kind is known (`DeleteOptions` in a body without a kind).
///
/// # Errors
/// When there is no such kind, or the bytes are not of it.
pub fn decode_raw(api_version: &str, kind: &str, raw: &[u8]) -> Result<Value, ProtoError> {
    let message = message_of(api_version, kind)
        .ok_or_else(|| ProtoError::NoMessage(api_version.to_owned(), kind.to_owned()))?;
    finish(message, read::message(message, raw)?, api_version, kind)
}

/// Adds what the envelope says, and brings the object into canonical form.
fn finish(
    message: &Message,
    mut object: Map<String, Value>,
    api_version: &str,
    kind: &str,
) -> Result<Value, ProtoError> {
    object.insert("apiVersion".to_owned(), api_version.into());
    object.insert("kind".to_owned(), kind.into());
    let named = |api_version: &str| {
        let (group, version) = split_api_version(api_version);
        schema::by_kind(group, version, kind)
    };
    if let Some(schema) = named(api_version)
        .or_else(|| schema::by_name(message.name))
        .or_else(|| named(removed::today(api_version, kind)?))
    {
        return canonical(Value::Object(object), &schema);
    }
    // The kinds without a definition: `PartialObjectMetadata`, its list, `List`.
    if let Some(Value::Array(items)) = object.get_mut("items") {
        for item in items {
            if let Some(item) = item.as_object_mut() {
                canonical_metadata(item, "ObjectMeta")?;
            }
        }
        canonical_metadata(&mut object, "ListMeta")?;
    } else {
        canonical_metadata(&mut object, "ObjectMeta")?;
    }
    Ok(Value::Object(object))
}

fn canonical_metadata(object: &mut Map<String, Value>, name: &str) -> Result<(), ProtoError> {
    let schema = schema::by_name(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{name}"));
    if let (Some(metadata), Some(schema)) = (object.get_mut("metadata"), schema) {
        *metadata = canonical(metadata.take(), &schema)?;
    }
    Ok(())
}

fn canonical(object: Value, schema: &Schema) -> Result<Value, ProtoError> {
    decode::value(object, schema)
        .map(|decoded| decoded.object)
        .map_err(|error| ProtoError::Value(error.to_string()))
}

/// Appends a watch event as a stream carries it: its length in four bytes, then a bare
/// `WatchEvent` around the enveloped object.
pub fn watch_frame(event: &str, enveloped: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    wire::put_bytes(1, event.as_bytes(), out);
    let mut extension = Vec::with_capacity(enveloped.len() + 6);
    wire::put_bytes(1, enveloped, &mut extension);
    wire::put_bytes(2, &extension, out);
    let length = u32::try_from(out.len() - start - 4).unwrap_or(u32::MAX);
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// A watch event of a stream: its type and the enveloped object.
///
/// # Errors
/// When the bytes (without the four of the length) are no `WatchEvent`.
pub fn read_watch_event(frame: &[u8]) -> Result<(String, &[u8]), ProtoError> {
    let (mut event, mut object): (String, &[u8]) = (String::new(), b"");
    let mut reader = wire::Reader::new(frame);
    while let Some((number, value)) = reader.next_field()? {
        match (number, value) {
            (1, wire::Wire::Bytes(text)) => event = wire::text(text)?,
            (2, wire::Wire::Bytes(extension)) => object = read::raw_extension(extension)?,
            _ => {}
        }
    }
    Ok((event, object))
}

/// The message of a kind: that of its definition, else one of its group or of `meta/v1`, else for a
/// removed version that of today.
fn message_of(api_version: &str, kind: &str) -> Option<&'static Message> {
    let (group, version) = split_api_version(api_version);
    if let Some(Schema::Def(def)) = schema::by_kind(group, version, kind) {
        return table::by_name(def.name());
    }
    let meta = || table::by_name(&format!("io.k8s.apimachinery.pkg.apis.meta.v1.{kind}"));
    if group == "meta.k8s.io" {
        return meta();
    }
    let package = if group.is_empty() { "core" } else { group.split('.').next()? };
    table::by_name(&format!("io.k8s.api.{package}.{version}.{kind}"))
        .or_else(|| (join_api_version(group, version) == "v1").then(meta).flatten())
        .or_else(|| message_of(removed::today(api_version, kind)?, kind))
}

#[cfg(test)]
mod tests;
