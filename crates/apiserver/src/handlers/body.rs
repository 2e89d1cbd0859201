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
        let mut decoded = codec::decode(&bytes, format, schema, gvk)
            .map_err(|error| error.handled_as(&gvk.kind, &gvk.version))?;
        let is_older = |older: &&str| {
            join_api_version(&gvk.group, older) == object::api_version(&decoded.object)
        };
        if older.iter().any(is_older) {
            decoded.object["apiVersion"] = gvk.api_version().into();
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
    let given = object::api_version(value);
    if given.is_empty() {
        value["apiVersion"] = api_version.into();
    } else if given != api_version {
        return Err(ApiError::bad_request(format!(
            "the API version in the data ({given}) does not match the expected API version ({api_version})"
        )));
    }
    let given = object::kind(value);
    if given.is_empty() {
        value["kind"] = (&*gvk.kind).into();
    } else if given != &*gvk.kind {
        return Err(ApiError::bad_request(format!(
            "{given} in version {:?} cannot be handled as a {}: converting ({given}) to ({}): unknown conversion",
            gvk.version, gvk.kind, gvk.kind
        )));
    }
    Ok(())
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
    patch: &str,
    schema: &Schema,
) -> ApiResult<Decoded> {
    api::decode::value_from(value, before, schema)
        .map_err(|error| bad_patch(patch, &error.to_string()))
}
