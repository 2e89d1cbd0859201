//! create, update and patch.

use std::borrow::Cow;

use api::Value;
use api::decode::strict_text;
use api::object;
use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::json;

use super::body::{bad_patch, canonical};
use super::options::{FieldValidation, WriteOptions};
use super::{Target, header};
use crate::codec;
use crate::negotiate::Output;
use crate::patch::{Patch, PatchKind};
use crate::registry::{Deed, Op, Updated};
use crate::response;
use crate::storage::Stored;

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
            tracks: true,
            demands_uid: true,
            warnings: Vec::new(),
            audit: Vec::new(),
            written: None,
            conversions: self.conversions.clone(),
            journal: Some(&self.call.journal),
        }
    }

    pub(super) async fn create(self, body: Body) -> ApiResult<Response> {
        let options = WriteOptions::of(&self.call.query, "CreateOptions")?;
        let received = self.decode_body(body).await?;
        let manager = self.call.manager();
        let mut op = self.op(None, &manager, options.dry_run, "CreateOptions");
        op.warnings = received.warnings;
        let made = op.create(received.value).await?;
        let (warnings, written) = (std::mem::take(&mut op.warnings), op.written.take());
        self.answer_written(201, made, written.as_deref(), &warnings)
    }

    pub(super) async fn update(self, subresource: Option<&str>, body: Body) -> ApiResult<Response> {
        let options = WriteOptions::of(&self.call.query, "UpdateOptions")?;
        let received = self.decode_body(body).await?;
        self.check_name(&received.value)
            .inspect_err(|_| self.call.journal.warn(received.warnings.clone()))?;
        let manager = self.call.manager();
        let mut op = self.op(subresource, &manager, options.dry_run, "UpdateOptions");
        op.warnings = received.warnings;
        let new = op.storage_form(received.value)?;
        let create = subresource.is_none() && self.entry.resource.allows_create_on_update();
        let name = &self.call.info.name;
        let updated = op.update(name, create, &|_| Ok(new.clone())).await?;
        let (warnings, written) = (std::mem::take(&mut op.warnings), op.written.take());
        self.answer_updated(updated, written.as_deref(), &warnings)
    }

    pub(super) async fn patch(self, subresource: Option<&str>, body: Body) -> ApiResult<Response> {
        let content_type = header(&self.call.parts.headers, "content-type");
        let kind = PatchKind::of(content_type, &self.entry)?;
        let is_apply = kind == PatchKind::Apply;
        let options = WriteOptions::of_patch(&self.call.query, is_apply)?;
        let bytes = codec::read_body(body).await?;
        let manager = self.call.manager();
        // To admission a patch is an update, with an update's options.
        let mut op = self.op(subresource, &manager, options.dry_run, "UpdateOptions");
        op.tracks = kind != PatchKind::Apply;
        op.demands_uid = false;
        let work = PatchWork::new(&self, subresource, kind, options, bytes)?;
        let create = subresource.is_none() && kind == PatchKind::Apply;
        let updated = op.update(&self.call.info.name, create, &|old| work.transform(old)).await;
        op.warnings.extend(std::mem::take(&mut *work.warnings.lock()));
        let updated = updated?;
        let (warnings, written) = (std::mem::take(&mut op.warnings), op.written.take());
        self.answer_updated(updated, written.as_deref(), &warnings)
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
        written: Option<&Stored>,
        warnings: &[String],
    ) -> ApiResult<Response> {
        let code = if updated.created { 201 } else { 200 };
        let written = written.filter(|_| matches!(updated.deed, Deed::Stored(_)));
        self.answer_written(code, updated.deed.into_value(), written, warnings)
    }

    /// An answer about an object that may have been stored just now: then it is a copy of what was
    /// stored, as a GET's is, and not serialized again.
    fn answer_written(
        &self,
        code: u16,
        value: Value,
        written: Option<&Stored>,
        warnings: &[String],
    ) -> ApiResult<Response> {
        let api_version = self.entry.api_version(&self.call.info.version);
        let copied =
            written.filter(|one| self.output == Output::default() && one.is_in(&api_version));
        let Some(written) = copied else { return self.answer(code, value, warnings) };
        let mut answer = self.finish(code, self.renderer().stored(written)?);
        response::add_warnings(&mut answer, warnings);
        Ok(answer)
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

/// What is done to the object.
enum Work {
    Patch(Patch),
    /// The configuration of an apply.
    Apply(Value),
}

/// A patch and what it is applied with.
struct PatchWork<'a> {
    target: &'a Target,
    subresource: Option<&'a str>,
    options: WriteOptions,
    work: Work,
    schema: Schema,
    /// The patch as it came, for errors.
    text: String,
    manager: String,
    /// What strict decoding found in the patch itself.
    found: Vec<String>,
    warnings: Mutex<Vec<String>>,
}

impl<'a> PatchWork<'a> {
    fn new(
        target: &'a Target,
        subresource: Option<&'a str>,
        kind: PatchKind,
        options: WriteOptions,
        bytes: Bytes,
    ) -> ApiResult<Self> {
        let format = match kind {
            PatchKind::Apply => api::decode::Format::Yaml,
            _ => api::decode::Format::Json,
        };
        let decoded = api::decode::untyped(&bytes, format).map_err(|error| {
            ApiError::bad_request(match kind {
                PatchKind::Apply => format!("error decoding YAML: {error}"),
                PatchKind::Strategic => error.to_string(),
                _ => format!("error decoding patch: {error}"),
            })
        })?;
        let mut found = decoded.strict;
        if options.validation == FieldValidation::Strict
            && kind == PatchKind::Apply
            && !found.is_empty()
        {
            return Err(ApiError::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: yaml: unmarshal errors:\n  {}",
                found.join("\n  ")
            )));
        }
        if options.validation == FieldValidation::Ignore {
            found.clear();
        }
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let work = match kind {
            PatchKind::Apply => Work::Apply(decoded.object),
            PatchKind::Json => Work::Patch(Patch::Json(bytes)),
            PatchKind::Merge => Work::Patch(Patch::Merge(decoded.object)),
            PatchKind::Strategic => Work::Patch(Patch::Strategic(decoded.object)),
        };
        Ok(Self {
            target,
            subresource,
            options,
            work,
            schema: target.entry.resource.body_schema(&target.call.info.version),
            text,
            manager: target.call.manager(),
            warnings: Mutex::new(found.clone()),
            found,
        })
    }

    /// The patched object in the storage version.
    fn transform(&self, old: Option<&Value>) -> ApiResult<Value> {
        let target = self.target;
        let resource = &target.entry.resource;
        let version = &target.call.info.version;
        let info = resource.info();
        let shown = match old {
            Some(old) if *version != info.storage_version => {
                Some(Cow::Owned(resource.convert(old.clone(), version)?))
            }
            old => old.map(Cow::Borrowed),
        };
        let shown = shown.as_deref();
        let patched = match (&self.work, shown) {
            (Work::Patch(patch), Some(shown)) => patch.apply(shown, &self.schema)?,
            (Work::Patch(_), None) => {
                return Err(ApiError::not_found(&target.entry.gr, &target.call.info.name));
            }
            (Work::Apply(configuration), shown) => self.applied(shown, configuration)?,
        };
        if let Work::Patch(Patch::Strategic(_)) = &self.work
            && let Some(error) = api::decode::restore_error(&patched, &self.schema)
        {
            return Err(bad_patch(&self.shown(), &error.to_string()));
        }
        let before = shown.unwrap_or(&Value::Null);
        let decoded = canonical(patched, before, || self.misfit(shown), &self.schema)?;
        self.note(&decoded.strict)?;
        let new = decoded.object;
        target.check_name(&new)?;
        if *version == info.storage_version {
            return Ok(new);
        }
        resource.convert(new, &info.storage_version)
    }

    /// The patch as errors show it: a strategic one has become a map of Go's.
    fn shown(&self) -> Cow<'_, str> {
        match &self.work {
            Work::Patch(Patch::Strategic(patch)) => Cow::Owned(api::decode::go_value(patch)),
            _ => Cow::Borrowed(&self.text),
        }
    }

    /// What an error shows when the result is no object of its kind: what the patch made.
    fn misfit(&self, shown: Option<&Value>) -> String {
        match (&self.work, shown) {
            (Work::Patch(patch @ (Patch::Json(_) | Patch::Merge(_))), Some(shown)) => {
                patch.apply(shown, &self.schema).map_or(self.text.clone(), |made| made.to_string())
            }
            _ => self.text.clone(),
        }
    }

    fn applied(&self, live: Option<&Value>, configuration: &Value) -> ApiResult<Value> {
        let target = self.target;
        let gvk = target.entry.resource.info().gvk(&target.call.info.version);
        let kind = object::kind(configuration);
        if configuration.is_object() && kind != &*gvk.kind {
            // Stored as it is, it would be an object of another kind in this one's place.
            let api_version = object::api_version(configuration);
            let slash = if api_version.contains('/') { "" } else { "/" };
            return Err(ApiError::bad_request(format!(
                "invalid object type: {slash}{api_version}, Kind={kind}"
            )));
        }
        let mut configuration = configuration.clone();
        if object::name(&configuration).is_empty() {
            object::set(&mut configuration, &["metadata", "name"], target.call.info.name.as_str());
        }
        if target.entry.is_namespaced() && object::namespace(&configuration).is_empty() {
            object::set(&mut configuration, &["metadata", "namespace"], target.namespace());
        }
        let op = target.op(self.subresource, &self.manager, self.options.dry_run, "PatchOptions");
        op.with_options(|options| {
            let mut options = *options;
            options.force = self.options.force == Some(true);
            apply::ssa::apply(live, &configuration, &self.schema, &options)
        })
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
                let all: Vec<String> = self.found.iter().chain(strict).cloned().collect();
                if let Some(why) = strict_text(&all) {
                    return Err(bad_patch(&self.shown(), &why));
                }
            }
        }
        Ok(())
    }
}
