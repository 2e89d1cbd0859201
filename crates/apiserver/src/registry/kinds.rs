//! The registry as admission asks about it.

use std::sync::Arc;

use api::Value;
use api::names::{GroupResource, Gvk};
use api::schema::Schema;
use api::status::{ApiError, ApiResult};
use async_trait::async_trait;

use super::Entry;
use crate::admission::{Kinds, ServedKind};
use crate::resource::Scope;
use crate::server::Core;

impl Entry {
    /// The kind of the object, or of a subresource's body, in a version.
    pub(crate) fn kind_in(&self, version: &str, subresource: Option<&str>) -> Gvk {
        let info = self.resource.info();
        match subresource.and_then(|name| self.subresource(name)) {
            Some(crate::resource::Subresource { kind: Some((group, version, kind)), .. }) => {
                Gvk::new(group, version, kind)
            }
            _ => info.gvk(version),
        }
    }
}

impl Core {
    /// A kind as a version has it.
    fn entry_in(&self, served: &ServedKind) -> ApiResult<Arc<Entry>> {
        let snapshot = self.registry.snapshot();
        let found = snapshot.by_resource(&served.resource);
        found.map(|entry| entry.in_version(&served.version).clone()).ok_or_else(|| {
            ApiError::internal(format!("unable to convert to {}: unknown kind", served.resource))
        })
    }
}

/// An object in another of a kind's versions.
async fn converted(entry: &Entry, object: Value, version: &str) -> ApiResult<Value> {
    if api::object::api_version(&object) == entry.api_version(version) {
        return Ok(object);
    }
    let Some(converter) = &entry.converter else { return entry.resource.convert(object, version) };
    let mut converted = converter.convert(vec![object], version).await?;
    converted.pop().ok_or_else(|| ApiError::internal("a conversion lost its object"))
}

#[async_trait]
impl Kinds for Core {
    fn equivalents(&self, resource: &GroupResource, subresource: Option<&str>) -> Vec<ServedKind> {
        let snapshot = self.registry.snapshot();
        let Some(own) = snapshot.by_resource(resource) else { return Vec::new() };
        let prefix = &own.resource.info().key_prefix;
        let same = snapshot.entries().iter().filter(|entry| {
            entry.gr == *resource
                || (!prefix.is_empty() && entry.resource.info().key_prefix == *prefix)
        });
        same.flat_map(|entry| {
            entry.resource.info().versions.iter().map(|version| ServedKind {
                resource: entry.gr.clone(),
                version: (&*version.name).into(),
                kind: entry.kind_in(&version.name, subresource),
            })
        })
        .collect()
    }

    fn of_kind(&self, kind: &Gvk) -> Option<(ServedKind, Scope)> {
        let snapshot = self.registry.snapshot();
        let found = snapshot.entries().iter().find(|entry| {
            let info = entry.resource.info();
            info.group == *kind.group
                && info.kind == *kind.kind
                && info.versions.iter().any(|version| version.name == *kind.version)
        })?;
        let served = ServedKind {
            resource: found.gr.clone(),
            version: kind.version.clone(),
            kind: kind.clone(),
        };
        Some((served, found.resource.info().scope))
    }

    fn schema(&self, served: &ServedKind) -> Schema {
        self.entry_in(served)
            .map_or(Schema::Any, |entry| entry.resource.body_schema(&served.version))
    }

    async fn show(&self, object: &Value, served: &ServedKind) -> ApiResult<Value> {
        let entry = self.entry_in(served)?;
        converted(&entry, object.clone(), &served.version).await
    }

    async fn take(&self, shown: Value, served: &ServedKind, own: &ServedKind) -> ApiResult<Value> {
        let entry = self.entry_in(served)?;
        let schema = entry.resource.body_schema(&served.version);
        let mut object = api::decode::value(shown, &schema).map_err(ApiError::internal)?.object;
        let own = self.entry_in(own)?;
        if entry.converter.is_some() {
            entry.resource.default(&mut object);
        }
        // Other groups have versions of other names, and keep the same form.
        let same_group = entry.gr == own.gr;
        let form = if same_group { &own } else { &entry }.resource.info().storage_version.clone();
        let mut taken = converted(&entry, object, &form).await?;
        own.resource.default(&mut taken);
        Ok(taken)
    }
}
