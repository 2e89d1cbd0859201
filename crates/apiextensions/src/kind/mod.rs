//! A definition as a kind: what the API server asks of every kind, answered by the definition.
//!
//! There is one [`CustomKind`] for the kind as it is stored and one for each other version that is
//! served; all share the definition. Each sees objects in its own version only.

mod columns;
mod scale;
mod strategy;

use std::borrow::Cow;
use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::names::join_api_version;
use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use apiserver::resource::{
    Column, Converter, ObjectApi, PendingHook, Resource, ResourceInfo, Row, Scope, Subresource,
    SubresourceBehaviour, VersionInfo, WriteContext, WriteHook,
};
use async_trait::async_trait;
use base::clock::Timestamp;
use base64::Engine as _;
use sha2::{Digest as _, Sha256};

use crate::definition::{Definition, Version};

/// What all versions of a kind share.
struct Shared {
    definition: Arc<Definition>,
    /// `None` when there is one version only: there is nothing to convert.
    converter: Option<Arc<dyn Converter>>,
    /// The selectable fields of all versions.
    fields: Vec<Cow<'static, str>>,
}

/// A custom kind in one of its versions.
pub(crate) struct CustomKind {
    shared: Arc<Shared>,
    /// The place of the version in the definition.
    at: usize,
    info: ResourceInfo,
}

impl CustomKind {
    /// The kind as it is stored.
    pub(crate) fn new(definition: Arc<Definition>, converter: Arc<dyn Converter>) -> Self {
        let mut fields: Vec<Cow<'static, str>> = Vec::new();
        for field in definition.versions.iter().flat_map(|version| &version.selectable) {
            if !fields.iter().any(|known| known == field) {
                fields.push(field.clone().into());
            }
        }
        let converter = (definition.versions.len() > 1).then_some(converter);
        let at = definition.storage;
        Self::at(Arc::new(Shared { definition, converter, fields }), at)
    }

    fn at(shared: Arc<Shared>, at: usize) -> Self {
        Self { info: info(&shared.definition, at), shared, at }
    }

    fn definition(&self) -> &Definition {
        &self.shared.definition
    }

    fn version(&self) -> &Version {
        &self.shared.definition.versions[self.at]
    }
}

fn info(definition: &Definition, at: usize) -> ResourceInfo {
    let (group, names) = (&definition.group, &definition.names);
    let mut served: Vec<&Version> = definition.versions.iter().filter(|one| one.served).collect();
    served.sort_by_cached_key(|version| api::priority::version_order(&version.name));
    let owned = |list: &[String]| list.iter().map(|text| text.clone().into()).collect();
    // Objects of a kind that is going may still be changed, or nothing could let them go.
    let verbs = ["delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"];
    let is_there = |verb: &&str| !definition.terminating || *verb != "create";
    let stored = &definition.versions[definition.storage].name;
    ResourceInfo {
        group: group.clone().into(),
        versions: served
            .into_iter()
            .map(|version| VersionInfo {
                name: version.name.clone().into(),
                deprecation_warning: version
                    .warning
                    .as_ref()
                    .map(|own| warning(definition, version, own)),
                listed: true,
            })
            .collect(),
        storage_version: definition.versions[at].name.clone().into(),
        plural: names.plural.clone().into(),
        singular: names.singular.clone().into(),
        kind: names.kind.clone().into(),
        list_kind: names.list_kind.clone().into(),
        short_names: owned(&names.short_names),
        categories: owned(&names.categories),
        scope: definition.scope,
        verbs: verbs.into_iter().filter(is_there).map(Cow::Borrowed).collect(),
        key_prefix: format!("/registry/{group}/{}", names.plural).into(),
        storage_version_hash: version_hash(group, stored, &names.kind).into(),
    }
}

fn warning(definition: &Definition, version: &Version, own: &str) -> Cow<'static, str> {
    if own.is_empty() {
        let api_version = join_api_version(&definition.group, &version.name);
        let kind = &definition.names.kind;
        let order = |version: &Version| api::priority::version_order(&version.name);
        let newer = definition
            .versions
            .iter()
            .find(|one| one.served && one.warning.is_none() && order(one) < order(version));
        let instead = newer.map(|newer| {
            format!("; use {} {kind}", join_api_version(&definition.group, &newer.name))
        });
        format!("{api_version} {kind} is deprecated{}", instead.unwrap_or_default()).into()
    } else {
        own.to_owned().into()
    }
}

/// Upstream's `discovery.StorageVersionHash`.
fn version_hash(group: &str, version: &str, kind: &str) -> String {
    let digest = Sha256::digest(format!("{group}/{version}/{kind}"));
    base64::engine::general_purpose::STANDARD.encode(&digest[..8])
}

impl Resource for CustomKind {
    fn info(&self) -> &ResourceInfo {
        &self.info
    }

    fn subresources(&self) -> Vec<Subresource> {
        let verbs = || ["get", "patch", "update"].map(Cow::Borrowed).to_vec();
        let mut found = Vec::new();
        if self.version().has_status {
            found.push(Subresource {
                name: "status".into(),
                kind: None,
                verbs: verbs(),
                behaviour: SubresourceBehaviour::View,
            });
        }
        if let Some(paths) = &self.version().scale {
            found.push(Subresource {
                name: "scale".into(),
                kind: Some(("autoscaling".into(), "v1".into(), "Scale".into())),
                verbs: verbs(),
                behaviour: SubresourceBehaviour::Scale(paths.clone()),
            });
        }
        found
    }

    fn schema(&self, _version: &str) -> Option<&str> {
        None
    }

    fn body_schema(&self, version: &str) -> Schema {
        self.definition().version(version).map_or(Schema::Any, |version| version.body.clone())
    }

    fn in_version(&self, version: &str) -> Option<Arc<dyn Resource>> {
        let at = self.definition().versions.iter().position(|one| one.name == version)?;
        (at != self.at).then(|| Arc::new(Self::at(self.shared.clone(), at)) as Arc<dyn Resource>)
    }

    fn converter(&self) -> Option<Arc<dyn Converter>> {
        self.shared.converter.clone()
    }

    fn default(&self, object: &mut Value) {
        self.version().node.prune(object);
        self.version().node.fill(object);
    }

    fn prepare_create(&self, _ctx: &WriteContext<'_>, object: &mut Value) {
        strategy::prepare_create(self.version(), object);
    }

    fn prepare_update(&self, ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        strategy::prepare_update(self.version(), ctx.subresource, object, old);
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, object: &Value) -> ErrorList {
        strategy::validate(self.version(), object, None)
    }

    fn validate_update(&self, _ctx: &WriteContext<'_>, object: &Value, old: &Value) -> ErrorList {
        strategy::validate(self.version(), object, Some(old))
    }

    fn validate_name(&self, name: &str, prefix: bool) -> Vec<String> {
        api::validate::dns1123_subdomain(&api::validate::meta::mask_trailing_dash(name, prefix))
    }

    fn warnings(&self, object: &Value, old: Option<&Value>) -> Vec<String> {
        strategy::warnings(self.version(), object, old)
    }

    fn allows_unconditional_update(&self) -> bool {
        false
    }

    fn selectable_fields(&self) -> &[Cow<'static, str>] {
        &self.shared.fields
    }

    fn selects(&self, field: &str) -> bool {
        self.version().selectable.iter().any(|known| known == field)
    }

    fn is_custom(&self) -> bool {
        true
    }

    fn openapi(&self, version: &str) -> Option<api::openapi::CustomKind> {
        let definition = self.definition();
        let version = definition.version(version)?;
        Some(api::openapi::CustomKind {
            group: definition.group.clone(),
            version: version.name.clone(),
            kind: definition.names.kind.clone(),
            list_kind: definition.names.list_kind.clone(),
            plural: definition.names.plural.clone(),
            namespaced: definition.scope == Scope::Namespaced,
            schema: version.schema.clone(),
            selectable_fields: version.selectable.clone(),
            status: version.has_status,
            scale: version.scale.is_some(),
        })
    }

    fn complete_stored(&self, object: &mut Value) -> bool {
        let Some(version) = self.definition().version_of(object) else { return false };
        let pruned = version.node.prune(object);
        version.node.fill(object) || pruned
    }

    fn columns(&self) -> &[Column] {
        &self.version().columns
    }

    fn row(&self, object: &Value, now: Timestamp) -> Row {
        columns::row(self.version(), object, now)
    }

    fn hook(&self) -> Option<Arc<dyn WriteHook>> {
        self.definition().terminating.then(|| Arc::new(Terminating) as Arc<dyn WriteHook>)
    }
}

/// Refuses new objects of a kind that is on its way out.
struct Terminating;

#[async_trait]
impl WriteHook for Terminating {
    async fn begin(
        &self,
        _api: &dyn ObjectApi,
        _new: Option<&mut Value>,
        old: Option<&Value>,
        _dry_run: bool,
    ) -> ApiResult<Box<dyn PendingHook>> {
        if old.is_none() {
            let why = "create not allowed while custom resource definition is terminating";
            return Err(ApiError::new(405, "MethodNotAllowed", why));
        }
        Ok(Box::new(Nothing))
    }
}

struct Nothing;

#[async_trait]
impl PendingHook for Nothing {
    async fn commit(self: Box<Self>, _api: &dyn ObjectApi) {}
    async fn rollback(self: Box<Self>, _api: &dyn ObjectApi) {}
}
