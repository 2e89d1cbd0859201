//! OpenAPI: the seam through which documents come, and those that are made of the fact tables.
//!
//! Documents are made when somebody asks and not kept; the registry's snapshot remembers their
//! tags, so a client that has one is told so without making it again.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use api::openapi::{Catalogue, CustomKind, OldKind, v2_protobuf};
use bytes::Bytes;

use crate::resource::Resource;

/// Makes the OpenAPI documents of the kinds that are served. Called again after the registry has
/// changed; may remember what it made.
pub trait OpenApiSource: Send + Sync {
    /// The OpenAPI v2 document as JSON.
    fn v2(&self, resources: &[Arc<dyn Resource>]) -> Bytes;

    /// The OpenAPI v2 document as protobuf (`application/com.github.proto-openapi.spec.v2@v1.0+protobuf`),
    /// if it can be made.
    fn v2_protobuf(&self, _resources: &[Arc<dyn Resource>]) -> Option<Bytes> {
        None
    }

    /// The paths that have an OpenAPI v3 document: `api/v1`, `apis/apps/v1`, `version` …
    fn v3_paths(&self, resources: &[Arc<dyn Resource>]) -> Vec<String>;

    /// The OpenAPI v3 document of a path, as JSON.
    fn v3(&self, resources: &[Arc<dyn Resource>], path: &str) -> Option<Bytes>;

    /// A tag that changes when the document of a path does, if one can be told without making the
    /// document: the index asks for all of them at once.
    fn v3_tag(&self, _resources: &[Arc<dyn Resource>], _path: &str) -> Option<String> {
        None
    }
}

/// The documents of the built-in kinds, from the tables, and of custom kinds, from their schemas.
#[derive(Debug, Clone)]
pub struct StandardOpenApi {
    git_version: String,
    has_old: bool,
}

impl StandardOpenApi {
    /// Documents that say they are of this version, `v1.36.0`.
    #[must_use]
    pub fn new(git_version: &str) -> Self {
        Self { git_version: git_version.to_owned(), has_old: true }
    }

    /// The same, with or without the versions that upstream has removed.
    #[must_use]
    pub fn with_old_versions(self, has_old: bool) -> Self {
        Self { has_old, ..self }
    }

    /// Calls `run` with what is served.
    fn with<T>(&self, resources: &[Arc<dyn Resource>], run: impl FnOnce(&Catalogue<'_>) -> T) -> T {
        let custom: Vec<CustomKind> = resources
            .iter()
            .filter(|resource| resource.is_custom())
            .flat_map(|resource| {
                let versions = &resource.info().versions;
                versions.iter().filter_map(|version| resource.openapi(&version.name))
            })
            .collect();
        let is_served = |group: &str, version: &str| {
            resources.iter().any(|resource| {
                let info = resource.info();
                info.group == group && info.versions.iter().any(|one| one.name == version)
            })
        };
        let old: Vec<OldKind> = match self.has_old {
            true => resources.iter().flat_map(|resource| old_kinds(&**resource)).collect(),
            false => Vec::new(),
        };
        run(&Catalogue {
            git_version: &self.git_version,
            is_served: &is_served,
            custom: &custom,
            old: &old,
        })
    }
}

/// A kind in the versions that upstream has removed.
fn old_kinds(resource: &dyn Resource) -> Vec<OldKind> {
    let info = resource.info();
    let Some(current) = info.versions.first().map(|version| &*version.name) else {
        return Vec::new();
    };
    let listed = resource.old_versions().iter().filter(|old| old.listed);
    let made = listed.filter_map(|old| {
        let (group, version) = api::names::split_api_version(&old.api_version);
        let current_definition = resource.schema(current)?.to_owned();
        let own = resource.schema(&old.api_version).unwrap_or(&current_definition).to_owned();
        Some(OldKind {
            group: group.to_owned(),
            version: version.to_owned(),
            plural: info.plural.to_string(),
            kind: info.kind.to_string(),
            current: (info.group.to_string(), current.to_owned()),
            current_definition,
            definition: own,
        })
    });
    made.collect()
}

fn to_bytes(document: &api::Value) -> Bytes {
    let mut out = Vec::new();
    crate::storage::stored::write_json(document, &mut out);
    out.into()
}

impl OpenApiSource for StandardOpenApi {
    fn v2(&self, resources: &[Arc<dyn Resource>]) -> Bytes {
        self.with(resources, |catalogue| to_bytes(&catalogue.v2()))
    }

    fn v2_protobuf(&self, resources: &[Arc<dyn Resource>]) -> Option<Bytes> {
        Some(self.with(resources, |catalogue| v2_protobuf(&catalogue.v2()).into()))
    }

    fn v3_paths(&self, resources: &[Arc<dyn Resource>]) -> Vec<String> {
        self.with(resources, |catalogue| catalogue.v3_paths())
    }

    fn v3(&self, resources: &[Arc<dyn Resource>], path: &str) -> Option<Bytes> {
        self.with(resources, |catalogue| catalogue.v3(path).as_ref().map(to_bytes))
    }

    /// The documents of built-in kinds follow from the version and from what is served. Custom
    /// kinds come and go with their schemas, so theirs are told by what they say.
    fn v3_tag(&self, resources: &[Arc<dyn Resource>], path: &str) -> Option<String> {
        if resources.iter().any(|own| own.is_custom() && path.contains(&*own.info().group)) {
            return None;
        }
        let mut hasher = DefaultHasher::new();
        (&self.git_version, path, self.has_old).hash(&mut hasher);
        for resource in resources.iter().filter(|own| !own.is_custom()) {
            let info = resource.info();
            info.group.hash(&mut hasher);
            info.versions.iter().for_each(|version| version.name.hash(&mut hasher));
        }
        Some(format!("{:016X}", hasher.finish()))
    }
}
