//! A built-in kind: its identity from the tables, what is common to kinds, and its own rules.
//!
//! A kind's file ends in `Kind::of(group, plural)` with what departs from the ordinary, and
//! `.rules(…)`. Invariants kept here for all: the main resource cannot change `status`, `status`
//! cannot change anything but itself and metadata, `generation` grows exactly when what it counts
//! changes, defaults come before rules.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::Value;
use api::field::ErrorList;
use api::object;
use api::status::ApiResult;
use api::validate;
use apiserver::resource::{
    Column, DefaultPropagation, Deletion, OldVersion, Resource, ResourceInfo, Row, ScalePaths,
    Subresource, SubresourceBehaviour, SubresourceHandler, VirtualResource, WriteContext,
    WriteHook,
};
use base::clock::Timestamp;

use crate::cursor::{Field, same};
use crate::facts::{self, SubresourceRow};
use crate::habits;
use crate::old;
use crate::rules::Rules;

/// What raises `metadata.generation`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Generation {
    /// Nothing: the kind does not track it.
    Untracked,
    /// Any change outside of metadata and status.
    Spec,
    /// That, or a change of annotations (Deployment).
    SpecOrAnnotations,
}

/// How names are checked: the name, and whether it is only a prefix.
pub type NameRule = fn(&str, bool) -> Vec<String>;

/// A built-in kind.
pub struct Kind {
    info: ResourceInfo,
    schemas: BTreeMap<String, String>,
    old: Vec<OldVersion>,
    rows: Vec<SubresourceRow>,
    handlers: BTreeMap<&'static str, Arc<dyn SubresourceHandler>>,
    scale: Option<ScalePaths>,
    columns: Vec<Column>,
    keeps_status_on_create: bool,
    generation: Generation,
    name_rule: NameRule,
    unconditional_update: bool,
    create_on_update: bool,
    orphans_dependents: bool,
    relaxed: bool,
    ttl: Option<Duration>,
    fields: Vec<Cow<'static, str>>,
    hook: Option<Arc<dyn WriteHook>>,
    answers: Option<Arc<dyn VirtualResource>>,
    rules: Box<dyn Rules>,
}

struct NoRules;
impl Rules for NoRules {}

/// DNS subdomain (RFC 1123): the rule for most names.
#[must_use]
pub fn subdomain_name(name: &str, prefix: bool) -> Vec<String> {
    validate::dns1123_subdomain(&validate::meta::mask_trailing_dash(name, prefix))
}

/// DNS label (RFC 1123).
#[must_use]
pub fn label_name(name: &str, prefix: bool) -> Vec<String> {
    validate::dns1123_label(&validate::meta::mask_trailing_dash(name, prefix))
}

impl Kind {
    /// A kind of the table, with ordinary behaviour.
    ///
    /// # Panics
    /// When the table has no such resource: a mistake that every test finds.
    #[must_use]
    pub fn of(group: &str, plural: &str) -> Self {
        let (info, rows) =
            facts::identity(group, plural).expect("kinds are made from rows of the table");
        let mut kind = Self::unlisted(info);
        kind.rows = rows;
        kind
    }

    /// A kind that is not in the table.
    #[must_use]
    pub fn unlisted(info: ResourceInfo) -> Self {
        let definition = |version: &str| facts::schema_name(&info.group, version, &info.kind);
        let mut schemas: BTreeMap<String, String> = info
            .versions
            .iter()
            .map(|version| (version.name.to_string(), definition(&version.name)))
            .collect();
        let mut old = Vec::new();
        for row in old::versions(&info) {
            let current = || definition(old::current_version(&info));
            let schema = row.definition.map_or_else(current, str::to_owned);
            schemas.insert(row.version.api_version.clone(), schema);
            old.push(row.version);
        }
        Self {
            schemas,
            old,
            rows: Vec::new(),
            handlers: BTreeMap::new(),
            scale: None,
            columns: facts::columns(&info.kind),
            keeps_status_on_create: false,
            generation: Generation::Untracked,
            name_rule: subdomain_name,
            unconditional_update: true,
            create_on_update: false,
            orphans_dependents: false,
            relaxed: false,
            ttl: None,
            fields: Vec::new(),
            hook: None,
            answers: None,
            rules: Box::new(NoRules),
            info,
        }
    }

    /// `metadata.generation` counts changes of the spec.
    #[must_use]
    pub fn tracks_generation(mut self) -> Self {
        self.generation = Generation::Spec;
        self
    }

    /// `metadata.generation` counts changes of the spec and of annotations.
    #[must_use]
    pub fn tracks_generation_with_annotations(mut self) -> Self {
        self.generation = Generation::SpecOrAnnotations;
        self
    }

    /// Names follow another rule than DNS subdomain.
    #[must_use]
    pub fn named(mut self, rule: NameRule) -> Self {
        self.name_rule = rule;
        self
    }

    /// The fields that field selectors know.
    #[must_use]
    pub fn selectable(mut self, fields: &'static [&'static str]) -> Self {
        self.fields = fields.iter().map(|field| Cow::Borrowed(*field)).collect();
        self
    }

    /// An update must carry the resource version that it changes.
    #[must_use]
    pub fn needs_resource_version(mut self) -> Self {
        self.unconditional_update = false;
        self
    }

    /// A PUT to a missing name creates.
    #[must_use]
    pub fn creates_on_update(mut self) -> Self {
        self.create_on_update = true;
        self
    }

    /// Dependents are kept when the caller does not say.
    #[must_use]
    pub fn orphans_dependents(mut self) -> Self {
        self.orphans_dependents = true;
        self
    }

    /// A creator may set `status` (Node).
    #[must_use]
    pub fn keeps_status_on_create(mut self) -> Self {
        self.keeps_status_on_create = true;
        self
    }

    /// Objects are stored in another version than the preferred one.
    #[must_use]
    pub fn stored_as(mut self, version: &'static str) -> Self {
        self.info.storage_version = version.into();
        self
    }

    /// A version that is not served has a schema too (the storage form of `events.k8s.io`).
    #[must_use]
    pub fn with_schema(mut self, version: &str, schema: &str) -> Self {
        self.schemas.insert(version.to_owned(), schema.to_owned());
        self
    }

    /// A kind that is served in old versions only, which have one schema.
    #[must_use]
    pub(crate) fn also_in(mut self, versions: Vec<OldVersion>, schema: &str) -> Self {
        let names = versions.iter().map(|version| version.api_version.clone());
        for name in names.chain([self.info.storage_version.to_string()]) {
            self.schemas.insert(name, schema.to_owned());
        }
        self.old = versions;
        self
    }

    /// Scale by the usual paths: `spec.replicas`, `status.replicas` and this selector.
    #[must_use]
    pub fn scaled_by(mut self, selector: &[&'static str]) -> Self {
        let cows = |path: &[&'static str]| path.iter().map(|part| Cow::Borrowed(*part)).collect();
        self.scale = Some(ScalePaths {
            spec_replicas: cows(&["spec", "replicas"]),
            status_replicas: cows(&["status", "replicas"]),
            selector: cows(selector),
        });
        self
    }

    /// Who does a custom subresource.
    #[must_use]
    pub fn handled(mut self, name: &'static str, by: impl SubresourceHandler + 'static) -> Self {
        self.handlers.insert(name, Arc::new(by));
        self
    }

    /// Writes need not wait for the disk, and objects may live for a time only.
    #[must_use]
    pub fn relaxed(mut self, ttl: Option<Duration>) -> Self {
        self.relaxed = true;
        self.ttl = ttl;
        self
    }

    /// What happens around the store.
    #[must_use]
    pub fn hooked(mut self, hook: impl WriteHook + 'static) -> Self {
        self.hook = Some(Arc::new(hook));
        self
    }

    /// Who answers instead of the store.
    #[must_use]
    pub fn answered(mut self, by: impl VirtualResource + 'static) -> Self {
        self.answers = Some(Arc::new(by));
        self
    }

    /// The kind, finished with its rules.
    #[must_use]
    pub fn rules(mut self, rules: impl Rules) -> Arc<dyn Resource> {
        self.rules = Box::new(rules);
        Arc::new(self)
    }

    /// The kind, finished, without rules of its own.
    #[must_use]
    pub fn plain(self) -> Arc<dyn Resource> {
        Arc::new(self)
    }

    fn has_status(&self) -> bool {
        self.rows.iter().any(|row| row.name == "status")
    }

    fn behaviour(&self, name: &str) -> SubresourceBehaviour {
        if let Some(handler) = self.handlers.get(name) {
            return SubresourceBehaviour::Custom(Arc::clone(handler));
        }
        match (name, &self.scale) {
            ("scale", Some(paths)) => SubresourceBehaviour::Scale(paths.clone()),
            _ => SubresourceBehaviour::View,
        }
    }

    fn subresource(&self, row: &SubresourceRow) -> Subresource {
        let kind = (row.kind != self.info.kind).then(|| {
            let mut parts = row.kind.rsplitn(3, '/');
            let kind = parts.next().unwrap_or_default();
            let version = parts.next().unwrap_or(&self.info.versions[0].name).to_owned();
            let group = parts.next().unwrap_or(&self.info.group).to_owned();
            (group.into(), version.into(), kind.into())
        });
        Subresource {
            name: row.name.into(),
            kind,
            verbs: row.verbs.iter().map(|verb| Cow::Borrowed(*verb)).collect(),
            behaviour: self.behaviour(row.name),
        }
    }

    /// The status that nobody has written yet, in the form that Go prints.
    fn print_status(&self, object: &mut Value) {
        let schema = self.schemas.get(self.info.storage_version.as_ref());
        let schema = schema.and_then(|name| api::schema::by_name(name));
        if let Some(status) = schema.as_ref().and_then(|schema| schema.child("status")) {
            let zero = api::decode::zero(status);
            if zero.is_object() {
                object["status"] = zero;
            }
        }
    }

    /// Sets `generation` from the stored object's, one higher when what it counts has changed.
    fn count_generation(&self, new: &mut Value, old: &Value) {
        if self.generation == Generation::Untracked {
            return;
        }
        let annotations = |object| object::at(object, &["metadata", "annotations"]);
        let changed = !same_outside_metadata(new, old)
            || (self.generation == Generation::SpecOrAnnotations
                && !same(annotations(new), annotations(old)));
        let generation = object::generation(old) + i64::from(changed);
        if generation > 0 {
            object::set(new, &["metadata", "generation"], generation);
        }
    }
}

/// Whether two objects are the same but for metadata and status.
fn same_outside_metadata(a: &Value, b: &Value) -> bool {
    let (Some(a), Some(b)) = (a.as_object(), b.as_object()) else { return a == b };
    let counts = |key: &str| !matches!(key, "metadata" | "status" | "apiVersion" | "kind");
    a.keys().chain(b.keys()).filter(|key| counts(key)).all(|key| same(a.get(key), b.get(key)))
}

/// Puts the value of `old` at a top-level field, or takes the field away.
pub(crate) fn keep(new: &mut Value, old: &Value, field: &str) {
    match old.get(field) {
        Some(value) => new[field] = value.clone(),
        None => {
            object::remove(new, &[field]);
        }
    }
}

/// Replaces everything but `metadata` and one field by the stored object's.
pub(crate) fn keep_all_but(new: &mut Value, old: &Value, field: &str) {
    let metadata = object::remove(new, &["metadata"]);
    let own = object::remove(new, &[field]);
    *new = old.clone();
    for (name, value) in [("metadata", metadata), (field, own)] {
        match value {
            Some(value) => new[name] = value,
            None => {
                object::remove(new, &[name]);
            }
        }
    }
}

/// Puts a field of the metadata back.
fn keep_in_metadata(new: &mut Value, old: &Value, field: &str) {
    match object::at(old, &["metadata", field]).cloned() {
        Some(value) => object::set(new, &["metadata", field], value),
        None => drop(object::remove(new, &["metadata", field])),
    }
}

impl Resource for Kind {
    fn reset_fields(&self, subresource: Option<&str>) -> Vec<&'static str> {
        habits::reset_fields(&self.info, subresource, self.has_status())
    }

    fn returns_deleted(&self) -> bool {
        habits::returns_deleted(&self.info)
    }

    fn info(&self) -> &ResourceInfo {
        &self.info
    }

    fn old_versions(&self) -> &[OldVersion] {
        &self.old
    }

    fn subresources(&self) -> Vec<Subresource> {
        self.rows.iter().map(|row| self.subresource(row)).collect()
    }

    fn schema(&self, version: &str) -> Option<&str> {
        self.schemas.get(version).map(String::as_str)
    }

    fn convert(&self, mut object: Value, to_version: &str) -> ApiResult<Value> {
        // An event is stored under another group's `v1` than the one that it is asked for in.
        let to = self.info.api_version(to_version);
        let from = object::api_version(&object).to_owned();
        if from == to {
            return Ok(object);
        }
        let current = old::current_version(&self.info);
        let is_old = |api_version: &str| {
            api_version != self.info.api_version(current)
                && self.old.iter().any(|one| one.api_version == api_version)
        };
        if is_old(&from) {
            return self.convert(old::to_current(&self.info, &from, object), to_version);
        }
        if is_old(&to) {
            let object = self.convert(object, current)?;
            return Ok(old::from_current(&self.info, &to, object));
        }
        let (_, from) = api::names::split_api_version(&from);
        let from = from.to_owned();
        object["apiVersion"] = to.into();
        self.rules.convert(object, &from, to_version)
    }

    fn default(&self, object: &mut Value) {
        self.rules.default(object);
    }

    fn prepare_create(&self, ctx: &WriteContext<'_>, object: &mut Value) {
        if self.has_status() && !self.keeps_status_on_create {
            object::remove(object, &["status"]);
        }
        self.rules.prepare_create(ctx, object);
        if self.has_status() && object.get("status").is_none() {
            self.print_status(object);
        }
        if self.generation != Generation::Untracked {
            object::set(object, &["metadata", "generation"], 1);
        }
    }

    fn prepare_update(&self, ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        match ctx.subresource {
            None => {
                if self.has_status() {
                    keep(object, old, "status");
                }
                self.rules.prepare_update(ctx, object, old);
            }
            Some("status") => {
                keep_all_but(object, old, "status");
                if habits::keeps_metadata_on_status(&self.info) {
                    for field in ["labels", "annotations", "finalizers", "ownerReferences"] {
                        keep_in_metadata(object, old, field);
                    }
                }
                self.rules.prepare_status(ctx, object, old);
            }
            // To be given a node is no change of what was asked for.
            Some("binding") => return,
            Some(view) => self.rules.prepare_view(ctx, view, object, old),
        }
        self.count_generation(object, old);
    }

    fn validate_create(&self, ctx: &WriteContext<'_>, object: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        habits::standard_finalizers(&self.info, object, &mut errors);
        let object = Field::root(object);
        self.rules.validate(object, &mut errors);
        self.rules.validate_create(ctx, object, &mut errors);
        errors
    }

    fn validate_update(&self, ctx: &WriteContext<'_>, object: &Value, old: &Value) -> ErrorList {
        let mut errors = ErrorList::new();
        let (object, old) = (Field::root(object), Field::root(old));
        match ctx.subresource {
            None => {
                if self.rules.revalidates() {
                    self.rules.validate(object, &mut errors);
                }
                self.rules.validate_change(ctx, object, old, &mut errors);
            }
            Some("status") => self.rules.validate_status(ctx, object, old, &mut errors),
            // A scale is a change of the object's spec.
            Some("scale") => {
                self.rules.validate(object, &mut errors);
                self.rules.validate_change(ctx, object, old, &mut errors);
            }
            Some(view) => self.rules.validate_view(ctx, view, object, old, &mut errors),
        }
        errors
    }

    // Most kinds compare it with what was there; some ask only whether a new object could have it.
    fn validate_changed_meta(&self, new: &Value, compared: ErrorList) -> ErrorList {
        let mut errors = if habits::judges_changed_meta_as_new(&self.info) {
            let namespaced = self.info.scope == apiserver::resource::Scope::Namespaced;
            // The name was checked when the object was created, and cannot change.
            api::validate::object_meta(new, namespaced, &|_: &str, _: bool| Vec::new())
        } else {
            compared
        };
        habits::standard_finalizers(&self.info, new, &mut errors);
        errors
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        (self.name_rule)(name, prefix)
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        self.rules.warnings(object, old)
    }

    fn prepare_deletion(
        &self,
        ctx: &WriteContext<'_>,
        object: &mut Value,
        grace: Option<i64>,
    ) -> Deletion {
        self.rules.prepare_deletion(ctx, object, grace)
    }

    fn default_propagation(&self) -> DefaultPropagation {
        if self.orphans_dependents {
            DefaultPropagation::Orphan
        } else {
            DefaultPropagation::Background
        }
    }

    fn allows_unconditional_update(&self) -> bool {
        self.unconditional_update
    }

    fn allows_create_on_update(&self) -> bool {
        self.create_on_update
    }

    fn selectable_fields(&self) -> &[Cow<'static, str>] {
        &self.fields
    }

    fn field<'a>(&self, object: &'a Value, name: &str) -> Cow<'a, str> {
        if let Some(value) = self.rules.field(object, name) {
            return value;
        }
        let value = name.split('.').try_fold(object, |value, key| value.get(key));
        match value {
            Some(Value::String(text)) => Cow::Borrowed(text),
            None | Some(Value::Null) => Cow::Borrowed(""),
            Some(other) => Cow::Owned(other.to_string()),
        }
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Row {
        self.rules.row(object, now)
    }

    fn hook(&self) -> Option<Arc<dyn WriteHook>> {
        self.hook.clone()
    }

    fn configures_server(&self) -> bool {
        self.info.group == crate::admissionregistration::GROUP
    }

    fn is_relaxed(&self) -> bool {
        self.relaxed
    }

    fn ttl(&self) -> Option<Duration> {
        self.ttl
    }

    fn virtual_handler(&self) -> Option<Arc<dyn VirtualResource>> {
        self.answers.clone()
    }
}
