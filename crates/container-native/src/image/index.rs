//! The files of an OCI image layout: descriptors, manifests, the index.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The annotation of an index entry that holds a name in full.
pub(super) const NAME: &str = "io.containerd.image.name";
/// The annotation that other tools hold a name or a tag in.
pub(super) const REF_NAME: &str = "org.opencontainers.image.ref.name";

pub(super) const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub(super) const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub(super) const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub(super) const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
pub(super) const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
pub(super) const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
pub(super) const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";

/// Points at a blob.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Descriptor {
    pub(super) media_type: String,
    pub(super) digest: String,
    pub(super) size: u64,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) annotations: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) platform: Option<Platform>,
}

#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Platform {
    pub(super) architecture: String,
    pub(super) os: String,
}

/// An image's manifest.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Manifest {
    pub(super) schema_version: u32,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) media_type: String,
    pub(super) config: Descriptor,
    pub(super) layers: Vec<Descriptor>,
}

/// `index.json`, and manifest lists.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Index {
    pub(super) schema_version: u32,
    pub(super) manifests: Vec<Descriptor>,
}

impl Index {
    /// The entry for this machine's kind; the first one when none says.
    pub(super) fn for_this_machine(&self) -> Option<&Descriptor> {
        let fits = |entry: &&Descriptor| {
            entry.platform.as_ref().is_some_and(|p| p.os == "linux" && p.architecture == "amd64")
        };
        let silent = |entry: &&Descriptor| entry.platform.is_none();
        self.manifests.iter().find(fits).or_else(|| self.manifests.iter().find(silent))
    }
}

impl Descriptor {
    /// Whether it points at a list of manifests.
    pub(super) fn is_list(&self) -> bool {
        self.media_type == INDEX || self.media_type == DOCKER_LIST
    }

    /// The name in full that it has in our index.
    pub(super) fn name(&self) -> Option<&str> {
        self.annotations.get(NAME).map(String::as_str)
    }
}
