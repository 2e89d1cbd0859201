//! Messages about images.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::stats::FilesystemUsage;

/// An image as someone names it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageSpec {
    /// A name with tag or digest, or an id (`sha256:…`).
    pub image: String,
    /// Annotations.
    pub annotations: BTreeMap<String, String>,
    /// The name as the pod's author wrote it.
    pub user_specified_image: String,
    /// The handler for which it is pulled.
    pub runtime_handler: String,
}

impl ImageSpec {
    /// An image by name or id.
    #[must_use]
    pub fn named(image: impl Into<String>) -> Self {
        let image = image.into();
        Self { user_specified_image: image.clone(), image, ..Self::default() }
    }
}

/// An image that the node has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Image {
    /// The digest of its configuration, `sha256:…`.
    pub id: String,
    /// `name:tag`s, fully qualified.
    pub repo_tags: Vec<String>,
    /// `name@sha256:…`s.
    pub repo_digests: Vec<String>,
    /// Bytes on disk.
    pub size: u64,
    /// The numeric user of its configuration.
    pub uid: Option<i64>,
    /// The user name of its configuration, if it is not numeric.
    pub username: String,
    /// Never to be removed by garbage collection.
    pub pinned: bool,
}

/// Which images to list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFilter {
    /// Only this one, if its name is not empty.
    pub image: ImageSpec,
}

/// Credentials for a registry; what is empty is not given.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AuthConfig {
    /// User name.
    pub username: String,
    /// Password.
    pub password: String,
    /// Base64 of `user:password`.
    pub auth: String,
    /// The registry they are for.
    pub server_address: String,
    /// A token to trade for an access token.
    pub identity_token: String,
    /// A bearer token.
    pub registry_token: String,
}

impl std::fmt::Debug for AuthConfig {
    // Secrets do not go into logs.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthConfig")
            .field("username", &self.username)
            .field("server_address", &self.server_address)
            .finish_non_exhaustive()
    }
}

/// Where images and containers lie and how much they take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct ImageFsInfo {
    /// Of images.
    pub image_filesystems: Vec<FilesystemUsage>,
    /// Of containers' writable layers.
    pub container_filesystems: Vec<FilesystemUsage>,
}
