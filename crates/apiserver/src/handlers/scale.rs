//! The scale subresource: `autoscaling/v1 Scale` of any kind that says where its numbers are.

use std::borrow::Cow;

use api::Value;
use api::field::{FieldError, Path};
use api::names::Gvk;
use api::object;
use api::selector::LabelSelector;
use api::status::{ApiError, ApiResult};
use axum::body::Body;
use axum::response::Response;
use serde_json::json;

use super::options::WriteOptions;
use super::{Target, header};
use crate::codec;
use crate::patch::{Patch, PatchKind};
use crate::resource::ScalePaths;
use crate::response;
use crate::storage::list::Version;

const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

fn path<'p>(path: &'p [Cow<'static, str>]) -> Vec<&'p str> {
    path.iter().map(|part| &**part).collect()
}

/// The scale of an object.
pub(crate) fn scale_of(object: &Value, paths: &ScalePaths) -> Value {
    let mut metadata = json!({ "name": object::name(object) });
    for field in ["namespace", "uid", "resourceVersion", "creationTimestamp"] {
        if let Some(value) = object::at(object, &["metadata", field]) {
            metadata[field] = value.clone();
        }
    }
    let replicas = |at: &[Cow<'static, str>]| object::int_at(object, &path(at)).unwrap_or_default();
    let mut spec = json!({});
    // Go leaves out a zero in spec, and shows it in status.
    if let count @ 1.. = replicas(&paths.spec_replicas) {
        spec["replicas"] = count.into();
    }
    let mut status = json!({ "replicas": replicas(&paths.status_replicas) });
    if let Some(selector) = selector_text(object, &paths.selector) {
        status["selector"] = selector.into();
    }
    json!({
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": metadata,
        "spec": spec,
        "status": status,
    })
}

/// A selector in string form: given so, as a label selector, or as a map of labels.
fn selector_text(object: &Value, at: &[Cow<'static, str>]) -> Option<String> {
    if at.is_empty() {
        return None;
    }
    let text = match object::at(object, &path(at))? {
        Value::String(text) => text.clone(),
        value if value.get("matchLabels").is_some() || value.get("matchExpressions").is_some() => {
            LabelSelector::from_object(value).ok()?.to_string()
        }
        value => LabelSelector::from_map(value).to_string(),
    };
    (!text.is_empty()).then_some(text)
}

impl Target {
    pub(super) async fn scale(self, paths: &ScalePaths, body: Body) -> ApiResult<Response> {
        match self.call.info.verb {
            "get" => {
                let found = self.find(Version::Newest).await?;
                let object = found.decode().map_err(ApiError::internal)?;
                self.scale_answer(&object, paths, &[])
            }
            "update" => self.scale_update(paths, body).await,
            "patch" => self.scale_patch(paths, body).await,
            _ => Err(ApiError::method_not_allowed()),
        }
    }

    fn scale_answer(
        &self,
        object: &Value,
        paths: &ScalePaths,
        warnings: &[String],
    ) -> ApiResult<Response> {
        let scale = scale_of(object, paths);
        let body = codec::encode(&scale, self.output.format, self.output.is_pretty)?;
        let mut answer = response::object(200, self.output, body);
        response::add_warnings(&mut answer, warnings);
        self.warn_of_version(&mut answer);
        Ok(answer)
    }

    async fn scale_update(self, paths: &ScalePaths, body: Body) -> ApiResult<Response> {
        let gvk = Gvk::new("autoscaling", "v1", "Scale");
        let schema = api::schema::by_name(SCALE).unwrap_or(api::schema::Schema::Any);
        let received = self.decode_as(body, &gvk, &schema, &[]).await?;
        let name = object::name(&received.value);
        if name != self.call.info.name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                self.call.info.name
            )));
        }
        let scale = received.value;
        let change = |old: &Value| with_scale(old, &scale, paths);
        self.scale_write(paths, received.warnings, &change).await
    }

    async fn scale_patch(self, paths: &ScalePaths, body: Body) -> ApiResult<Response> {
        let kind = PatchKind::of(header(&self.call.parts.headers, "content-type"), &self.entry)?;
        let bytes = codec::read_body(body).await?;
        let decoded = api::decode::untyped(&bytes, api::decode::Format::Yaml)
            .map_err(|error| ApiError::bad_request(error.to_string()))?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        // An apply of a scale has one field that matters, which a merge sets as well.
        let patch = match kind {
            PatchKind::Json => Patch::Json(bytes),
            PatchKind::Strategic => Patch::Strategic(decoded.object),
            PatchKind::Merge | PatchKind::Apply => Patch::Merge(decoded.object),
        };
        let schema = api::schema::by_name(SCALE).unwrap_or(api::schema::Schema::Any);
        let change = |old: &Value| {
            let scale = scale_of(old, paths);
            let patched = patch.apply(&scale, &schema)?;
            let scale = super::body::canonical(patched, &scale, || text.clone(), &schema)?.object;
            with_scale(old, &scale, paths)
        };
        self.scale_write(paths, Vec::new(), &change).await
    }

    async fn scale_write(
        &self,
        paths: &ScalePaths,
        warnings: Vec<String>,
        change: &(dyn Fn(&Value) -> ApiResult<Value> + Send + Sync),
    ) -> ApiResult<Response> {
        let options = WriteOptions::of(&self.call.query, "UpdateOptions")?;
        let manager = self.call.manager();
        let mut op = self.op(Some("scale"), &manager, options.dry_run, "UpdateOptions");
        op.warnings = warnings;
        let name = &self.call.info.name;
        let transform = |old: Option<&Value>| match old {
            Some(old) => change(old),
            None => Err(ApiError::not_found(&self.entry.gr, name)),
        };
        let updated = op.update(name, false, &transform).await?;
        let warnings = std::mem::take(&mut op.warnings);
        self.scale_answer(&updated.deed.into_value(), paths, &warnings)
    }
}

/// The object with a scale's number, under the scale's preconditions.
pub(crate) fn with_scale(old: &Value, scale: &Value, paths: &ScalePaths) -> ApiResult<Value> {
    let replicas = object::int_at(scale, &["spec", "replicas"]).unwrap_or_default();
    if replicas < 0 {
        let error = FieldError::invalid(
            Path::new("spec").child("replicas"),
            replicas,
            "must be greater than or equal to 0",
        );
        return Err(ApiError::invalid("autoscaling", "Scale", object::name(scale), &[error]));
    }
    let mut new = old.clone();
    object::set(&mut new, &path(&paths.spec_replicas), replicas);
    for field in ["resourceVersion", "uid"] {
        if let Some(value) = object::at(scale, &["metadata", field]) {
            object::set(&mut new, &["metadata", field], value.clone());
        }
    }
    Ok(new)
}
