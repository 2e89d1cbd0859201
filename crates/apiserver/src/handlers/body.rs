//! The body of a write: decoded by its kind's schema, and judged as strictly as the client wants.

use api::Value;
use api::field::{FieldError, Path};
use api::names::{Gvk, join_api_version};
use api::object;
use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use axum::body::Body;

use super::options::{FieldValidation, WriteOptions};
use super::{Target, header};
use crate::codec::{self, Decoded};
use crate::negotiate::Format;

/// An object from a body, and the warnings that it earned.
#[derive(Debug, Default)]
pub(crate) struct Received {
    pub(crate) value: Value,
    pub(crate) warnings: Vec<String>,
}

impl Target {
    /// Reads and decodes the body as an object of the target's kind.
    pub(crate) async fn decode_body(&self, body: Body) -> ApiResult<Received> {
        let version = &self.call.info.version;
        let gvk = self.entry.resource.info().gvk(version);
        let schema = self.entry.resource.body_schema(version);
        self.decode_as(body, &gvk, &schema, &[]).await
    }

    /// Reads and decodes the body as an object of a kind, whose `older` versions say the same in the
    /// same fields.
    pub(crate) async fn decode_as(
        &self,
        body: Body,
        gvk: &Gvk,
        schema: &Schema,
        older: &[&str],
    ) -> ApiResult<Received> {
        let format = codec::body_format(header(&self.call.parts.headers, "content-type"))?;
        let bytes = codec::read_body(body).await?;
        let unrecognized = |why: &str| {
            ApiError::bad_request(format!(
                "the object provided is unrecognized (must be of type {}): {why} ({})",
                gvk.kind,
                summary(&bytes)
            ))
        };
        let mut decoded = codec::decode(&bytes, format, schema, gvk).map_err(|error| {
            match unreadable(&bytes, format) {
                Some(why) => unrecognized(&why),
                None => error.handled_as(&gvk.kind, &gvk.version),
            }
        })?;
        if self.entry.resource.is_custom() && object::kind(&decoded.object).is_empty() {
            let text = String::from_utf8_lossy(&bytes);
            return Err(unrecognized(&format!("Object 'Kind' is missing in '{text}'")));
        }
        let is_older = |older: &&str| {
            join_api_version(&gvk.group, older) == object::api_version(&decoded.object)
        };
        if older.iter().any(is_older) {
            decoded.object["apiVersion"] = gvk.api_version().into();
        }
        let kind = object::kind(&decoded.object);
        if self.entry.resource.is_custom() && kind != &*gvk.kind {
            let wrong =
                FieldError::invalid(Path::new("kind"), kind, format!("must be {}", gvk.kind));
            let name = object::name(&decoded.object);
            return Err(ApiError::invalid(&gvk.group, &gvk.kind, name, &[wrong]));
        }
        check_kind(&mut decoded.object, gvk)?;
        let options = WriteOptions::of(&self.call.query, "CreateOptions")?;
        self.judge(decoded, gvk, options.validation)
    }

    /// Refuses, warns of or ignores what strict decoding found.
    pub(crate) fn judge(
        &self,
        decoded: Decoded,
        gvk: &Gvk,
        validation: FieldValidation,
    ) -> ApiResult<Received> {
        let value = match validation {
            FieldValidation::Strict => decoded.strict_object(&gvk.kind, &gvk.version)?,
            FieldValidation::Ignore => decoded.object,
            FieldValidation::Warn => {
                return Ok(Received { value: decoded.object, warnings: decoded.strict });
            }
        };
        Ok(Received { value, warnings: Vec::new() })
    }
}

/// Checks that a body is of the kind that the path means; fills in what it leaves out.
fn check_kind(value: &mut Value, gvk: &Gvk) -> ApiResult<()> {
    if !value.is_object() {
        return Err(ApiError::bad_request(format!(
            "{} in version {:?} cannot be handled as a {}: json: cannot unmarshal into Go value",
            gvk.kind, gvk.version, gvk.kind
        )));
    }
    let api_version = gvk.api_version();
    let (given_version, given_kind) = (object::api_version(value), object::kind(value));
    let is_other_version = !given_version.is_empty() && given_version != api_version;
    let is_other_kind = !given_kind.is_empty() && given_kind != &*gvk.kind;
    if is_other_version || is_other_kind {
        let given_version = if given_version.is_empty() { &api_version } else { given_version };
        let given_kind = if given_kind.is_empty() { &gvk.kind } else { given_kind };
        return Err(other_kind(given_version, given_kind, gvk));
    }
    if given_version.is_empty() {
        value["apiVersion"] = api_version.into();
    }
    if object::kind(value).is_empty() {
        value["kind"] = (&*gvk.kind).into();
    }
    Ok(())
}

/// 400 for an object of another kind: one that nobody knows, one of another version of the same
/// kind, or one that has nothing to do with it.
fn other_kind(api_version: &str, kind: &str, wanted: &Gvk) -> ApiError {
    let (group, version) = api::names::split_api_version(api_version);
    let is_same_kind = *group == *wanted.group && *kind == *wanted.kind;
    let is_known = api::schema::by_kind(group, version, kind).is_some();
    let why = if is_same_kind && is_known
        || api::schema::by_kind(&wanted.group, &wanted.version, &wanted.kind).is_none()
    {
        return ApiError::bad_request(format!(
            "the API version in the data ({api_version}) does not match the expected API version ({})",
            wanted.api_version()
        ));
    } else if is_known {
        let package = wanted.group.split('.').next().unwrap_or_default();
        let package = if package.is_empty() { "core" } else { package };
        format!("converting ({version}.{kind}) to ({package}.{}): unknown conversion", wanted.kind)
    } else {
        format!(
            "no kind {kind:?} is registered for version {api_version:?} in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )
    };
    ApiError::bad_request(format!(
        "{kind} in version {version:?} cannot be handled as a {}: {why}",
        wanted.kind
    ))
}

/// Why nobody can tell what a body is of: its text is none of its format, or it is no object.
fn unreadable(bytes: &[u8], format: Format) -> Option<String> {
    const WANTED: &str = r#"struct { APIVersion string "json:\"apiVersion,omitempty\""; Kind string "json:\"kind,omitempty\"" }"#;
    let value = match format {
        Format::Protobuf if bytes.is_empty() => return Some("empty data".to_owned()),
        Format::Protobuf => {
            let why = api::proto::envelope(bytes).err()?.to_string();
            return Some(why);
        }
        Format::Yaml => match api::yaml::parse(bytes) {
            Ok(document) => document.value,
            Err(error) => return Some(error.to_string()),
        },
        Format::Json => {
            if let Some(why) = api::decode::json_syntax_error(bytes) {
                return Some(format!("couldn't get version/kind; json parse error: {why}"));
            }
            serde_json::from_slice(bytes).ok()?
        }
    };
    let found = match value {
        Value::Array(_) => "array",
        Value::String(_) => "string",
        Value::Number(_) => "number",
        Value::Bool(_) => "bool",
        Value::Null | Value::Object(_) => return None,
    };
    Some(format!(
        "couldn't get version/kind; json parse error: json: cannot unmarshal {found} into Go value of type {WANTED}"
    ))
}

/// The beginning of a body, as errors show it: text when it looks like JSON.
fn summary(bytes: &[u8]) -> String {
    use std::fmt::Write;
    const LEN_MAX: usize = 30;
    if bytes.is_empty() {
        return "<empty>".to_owned();
    }
    let shown = &bytes[..bytes.len().min(LEN_MAX)];
    let mut text = String::new();
    if shown[0] == b'{' {
        text.push_str(&String::from_utf8_lossy(shown));
    } else {
        for byte in shown {
            let _ = write!(text, "{byte:02x}");
        }
    }
    if bytes.len() > LEN_MAX {
        text.push_str(" ...");
    }
    text
}

/// 422 for a patch that leads to something that is no object of the kind, or (strictly) has more
/// than its fields.
pub(crate) fn bad_patch(patch: &str, why: &str) -> ApiError {
    let error = FieldError::invalid(Path::new("patch"), patch, why);
    ApiError::invalid("", "", "", &[error])
}

/// What a patch made of an object, in its canonical form.
pub(crate) fn canonical(
    value: Value,
    before: &Value,
    patch: impl FnOnce() -> String,
    schema: &Schema,
) -> ApiResult<Decoded> {
    api::decode::value_from(value, before, schema)
        .map_err(|error| bad_patch(&patch(), &error.to_string()))
}
