//! create, update and patch.

use api::Value;
use api::names::Gvk;
use api::object;
use api::status::{ApiError, ApiResult};
use axum::body::Body;
use axum::response::Response;
use parking_lot::Mutex;
use serde_json::json;

use super::body::{canonical, patch_strict_error};
use super::options::{FieldValidation, WriteOptions};
use super::{Target, header};
use crate::codec;
use crate::patch::{self, PatchKind};
use crate::registry::{Op, Updated};
use crate::response;

impl Target {
    /// A write in this request's name.
    pub(crate) fn op<'a>(
        &'a self,
        subresource: Option<&'a str>,
        manager: &'a str,
        dry_run: bool,
        options_kind: &str,
    ) -> Op<'a> {
        let mut options = json!({ "kind": options_kind, "apiVersion": "meta.k8s.io/v1" });
        if dry_run {
            options["dryRun"] = json!(["All"]);
        }
        for key in ["fieldManager", "fieldValidation"] {
            if let Some(value) = self.call.query.get(key) {
                options[key] = value.into();
            }
        }
        Op {
            core: &self.call.core,
            entry: &self.entry,
            version: &self.call.info.version,
            namespace: self.namespace(),
            subresource,
            user: &self.call.user,
            dry_run,
            manager,
            options,
            admit: true,
            warnings: Vec::new(),
            audit: Vec::new(),
        }
    }

    fn gvk(&self) -> Gvk {
        let info = self.entry.resource.info();
        Gvk::new(&info.group, &self.call.info.version, &info.kind)
    }

    pub(super) async fn create(self, body: Body) -> ApiResult<Response> {
        let options = WriteOptions::of(&self.call.query, "CreateOptions")?;
        let received = self.decode_body(body).await?;
        let manager = self.call.manager();
        let mut op = self.op(None, &manager, options.dry_run, "CreateOptions");
        op.warnings = received.warnings;
        let made = op.create(received.value).await?;
        let warnings = std::mem::take(&mut op.warnings);
        self.answer(201, made, &warnings)
    }

    pub(super) async fn update(self, subresource: Option<&str>, body: Body) -> ApiResult<Response> {
        let options = WriteOptions::of(&self.call.query, "UpdateOptions")?;
        let received = self.decode_body(body).await?;
        self.check_name(&received.value)?;
        let manager = self.call.manager();
        let mut op = self.op(subresource, &manager, options.dry_run, "UpdateOptions");
        op.warnings = received.warnings;
        let new = op.into_storage_version(received.value)?;
        let create = subresource.is_none() && self.entry.resource.allows_create_on_update();
        let name = &self.call.info.name;
        let updated = op.update(name, create, &|_| Ok(new.clone())).await?;
        let warnings = std::mem::take(&mut op.warnings);
        self.answer_updated(updated, &warnings)
    }

    pub(super) async fn patch(self, subresource: Option<&str>, body: Body) -> ApiResult<Response> {
        let content_type = header(&self.call.parts.headers, "content-type");
        let kind = PatchKind::of(content_type, &self.entry)?;
        let options = WriteOptions::of(&self.call.query, "PatchOptions")?;
        let bytes = codec::read_body(body).await?;
        let work = PatchWork::new(&self, kind, options, &bytes)?;
        let manager = self.call.manager();
        let mut op = self.op(subresource, &manager, options.dry_run, "PatchOptions");
        let create = subresource.is_none() && kind == PatchKind::Apply;
        let updated = op.update(&self.call.info.name, create, &|old| work.transform(old)).await?;
        let mut warnings = std::mem::take(&mut op.warnings);
        drop(op);
        warnings.extend(work.warnings.into_inner());
        self.answer_updated(updated, &warnings)
    }

    fn check_name(&self, value: &Value) -> ApiResult<()> {
        let info = &self.call.info;
        let name = object::name(value);
        if name.is_empty() {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({} based on URL) was undeterminable: name must be provided",
                info.name
            )));
        }
        if name != info.name {
            return Err(ApiError::bad_request(format!(
                "the name of the object ({name}) does not match the name on the URL ({})",
                info.name
            )));
        }
        let namespace = object::namespace(value);
        if self.entry.is_namespaced() && !namespace.is_empty() && namespace != info.namespace {
            return Err(ApiError::bad_request(format!(
                "the namespace of the object ({namespace}) does not match the namespace on the request ({})",
                info.namespace
            )));
        }
        Ok(())
    }

    pub(super) fn answer_updated(
        &self,
        updated: Updated,
        warnings: &[String],
    ) -> ApiResult<Response> {
        let code = if updated.created { 201 } else { 200 };
        self.answer(code, updated.deed.into_value(), warnings)
    }

    pub(super) fn answer(
        &self,
        code: u16,
        value: Value,
        warnings: &[String],
    ) -> ApiResult<Response> {
        let body = self.renderer().value(value)?;
        let mut answer = self.finish(code, body);
        response::add_warnings(&mut answer, warnings);
        Ok(answer)
    }
}

/// A patch and what it is applied with.
struct PatchWork<'a> {
    target: &'a Target,
    kind: PatchKind,
    options: WriteOptions,
    patch: Value,
    gvk: Gvk,
    warnings: Mutex<Vec<String>>,
}

impl<'a> PatchWork<'a> {
    fn new(
        target: &'a Target,
        kind: PatchKind,
        options: WriteOptions,
        bytes: &[u8],
    ) -> ApiResult<Self> {
        if options.force.is_some() && kind != PatchKind::Apply {
            let path = api::field::Path::new("force");
            let error =
                api::field::FieldError::forbidden(path, "may not be specified for non-apply patch");
            return Err(ApiError::invalid("meta.k8s.io", "PatchOptions", "", &[error]));
        }
        let format = match kind {
            PatchKind::Apply => api::decode::Format::Yaml,
            _ => api::decode::Format::Json,
        };
        let decoded = api::decode::untyped(bytes, format).map_err(|error| {
            ApiError::bad_request(match kind {
                PatchKind::Apply => format!("error decoding YAML: {error}"),
                _ => format!("error decoding patch: {error}"),
            })
        })?;
        let gvk = target.gvk();
        let mut warnings = Vec::new();
        match options.validation {
            FieldValidation::Strict => {
                if let Some(error) = patch_strict_error(&decoded.strict, &gvk, "") {
                    return Err(error);
                }
            }
            FieldValidation::Warn => warnings = decoded.strict,
            FieldValidation::Ignore => {}
        }
        let patch = decoded.object;
        Ok(Self { target, kind, options, patch, gvk, warnings: Mutex::new(warnings) })
    }

    /// The patched object in the storage version.
    fn transform(&self, old: Option<&Value>) -> ApiResult<Value> {
        let target = self.target;
        let entry = &target.entry;
        let version = &target.call.info.version;
        let name = &target.call.info.name;
        let info = entry.resource.info();
        let Some(old) = old else {
            let mut new = self.patch.clone();
            object::set(&mut new, &["metadata", "name"], name.as_str());
            return Ok(new);
        };
        let shown = if *version == info.storage_version {
            old.clone()
        } else {
            entry.resource.convert(old.clone(), version)?
        };
        let patched = patch::patched(self.kind, entry, version, name, &shown, &self.patch)?;
        let schema = entry.resource.body_schema(version);
        let decoded = canonical(patched, &self.gvk, &schema)?;
        self.note(&decoded.strict)?;
        let new = decoded.object;
        target.check_name(&new)?;
        if *version == info.storage_version {
            return Ok(new);
        }
        entry.resource.convert(new, &info.storage_version)
    }

    fn note(&self, strict: &[String]) -> ApiResult<()> {
        match self.options.validation {
            FieldValidation::Ignore => {}
            FieldValidation::Warn => {
                let mut warnings = self.warnings.lock();
                for one in strict {
                    if !warnings.contains(one) {
                        warnings.push(one.clone());
                    }
                }
            }
            FieldValidation::Strict => {
                let name = &self.target.call.info.name;
                if let Some(error) = patch_strict_error(strict, &self.gvk, name) {
                    return Err(error);
                }
            }
        }
        Ok(())
    }
}
