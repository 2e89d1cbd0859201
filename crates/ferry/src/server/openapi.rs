//! The OpenAPI documents of the kinds that are served, made on first request and kept until the
//! kinds change.

use std::collections::HashMap;
use std::sync::Arc;

use api::openapi::{Catalogue, v2_protobuf};
use apiserver::OpenApiSource;
use apiserver::resource::Resource;
use bytes::Bytes;
use parking_lot::Mutex;

/// Documents, kept.
pub(crate) struct Documents {
    git_version: String,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    /// What the documents were made of: every group and version.
    served: Vec<(String, String)>,
    by_path: HashMap<String, Option<Bytes>>,
}

impl Documents {
    pub(crate) fn new(git_version: String) -> Self {
        Self { git_version, kept: Mutex::default() }
    }

    fn remembered(
        &self,
        resources: &[Arc<dyn Resource>],
        key: &str,
        make: impl FnOnce(&Catalogue<'_>) -> Option<Bytes>,
    ) -> Option<Bytes> {
        let served = served(resources);
        if let Some(kept) = self.keep(&served).by_path.get(key) {
            return kept.clone();
        }
        // Made outside of the lock: a document takes milliseconds, and others may be asked for.
        let made = make(&self.catalogue(&|group, version| is_served(&served, group, version)));
        self.keep(&served).by_path.insert(key.to_owned(), made.clone());
        made
    }

    /// What is kept, forgotten first when the kinds have changed.
    fn keep(&self, served: &[(String, String)]) -> parking_lot::MutexGuard<'_, Kept> {
        let mut kept = self.kept.lock();
        if kept.served != served {
            *kept = Kept { served: served.to_vec(), by_path: HashMap::new() };
        }
        kept
    }

    fn catalogue<'a>(&'a self, is_served: &'a dyn Fn(&str, &str) -> bool) -> Catalogue<'a> {
        Catalogue { git_version: &self.git_version, is_served, custom: &[] }
    }
}

fn served(resources: &[Arc<dyn Resource>]) -> Vec<(String, String)> {
    let mut served: Vec<_> = resources
        .iter()
        .flat_map(|own| {
            let info = own.info();
            info.versions.iter().map(|version| (info.group.to_string(), version.name.to_string()))
        })
        .collect();
    served.sort();
    served.dedup();
    served
}

fn is_served(served: &[(String, String)], group: &str, version: &str) -> bool {
    served.iter().any(|(own, at)| own == group && at == version)
}

impl OpenApiSource for Documents {
    fn v2(&self, resources: &[Arc<dyn Resource>]) -> Bytes {
        let make = |catalogue: &Catalogue<'_>| Some(catalogue.v2().to_string().into());
        self.remembered(resources, "v2", make).unwrap_or_default()
    }

    fn v2_protobuf(&self, resources: &[Arc<dyn Resource>]) -> Option<Bytes> {
        let make = |catalogue: &Catalogue<'_>| Some(Bytes::from(v2_protobuf(&catalogue.v2())));
        self.remembered(resources, "v2 protobuf", make)
    }

    fn v3_paths(&self, resources: &[Arc<dyn Resource>]) -> Vec<String> {
        let served = served(resources);
        self.catalogue(&|group, version| is_served(&served, group, version)).v3_paths()
    }

    fn v3(&self, resources: &[Arc<dyn Resource>], path: &str) -> Option<Bytes> {
        self.remembered(resources, path, |catalogue| {
            catalogue.v3(path).map(|document| document.to_string().into())
        })
    }
}
