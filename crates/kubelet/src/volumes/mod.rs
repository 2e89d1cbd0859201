//! Volumes: what a pod's `volumes` become on the node.
//!
//! One file a type, each a [`VolumePlugin`]; [`plugins`] lists them. Setting up is idempotent: it is
//! also how a running pod gets new contents when an object changed. Invariant: a plugin writes
//! below the pod's own folder only (a hostPath that asks to be created is the exception).
//!
//! To add a type: one file, one line in [`plugins`].

mod atomic;
mod config_map;
mod downward_api;
mod empty_dir;
mod host_path;
mod image;
mod mount;
mod ownership;
mod payload;
mod projected;
mod secret;
mod sub_path;
pub(crate) mod token;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use async_trait::async_trait;
use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{Pod, Volume};

use crate::env::downward::Place;
use crate::objects::{ObjectRef, Objects};
use crate::pod;

pub(crate) use sub_path::prepare as prepare_sub_path;

/// Why a volume could not be prepared. The texts end up in events; they are upstream's.
#[derive(Debug, thiserror::Error)]
pub(crate) enum VolumeError {
    /// An object that the volume shows does not exist.
    #[error("{kind} \"{name}\" not found")]
    ObjectMissing {
        /// `configmap` or `secret`.
        kind: &'static str,
        /// Its name.
        name: String,
    },
    /// An object has no such key.
    #[error("{kind} references non-existent {what} key: {key}")]
    KeyMissing {
        /// `configmap` or `secret`, or nothing.
        kind: &'static str,
        /// `config` or `secret`.
        what: &'static str,
        /// The key.
        key: String,
    },
    /// What the host has at a path is not what was asked for.
    #[error("hostPath type check failed: {path} is not a {wanted}")]
    HostPathType {
        /// The path.
        path: String,
        /// What it should be.
        wanted: &'static str,
    },
    /// A file name that would leave the volume.
    #[error("invalid path {0}: must stay inside the volume")]
    PathEscapes(String),
    /// A field or resource that cannot be shown.
    #[error("{0}")]
    Field(String),
    /// A token could not be got.
    #[error("failed to fetch token: {0}")]
    Token(String),
    /// The API server could not be asked.
    #[error("{0}")]
    Api(String),
    /// The file system refused.
    #[error("{what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: String,
        /// What came of it.
        source: std::io::Error,
    },
    /// A type that this node does not have.
    #[error("volume type {0} is not supported yet")]
    Unsupported(String),
}

impl VolumeError {
    pub(crate) fn io(what: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::Io { what, path: path.display().to_string(), source }
    }
}

/// What a plugin works with.
pub(crate) struct Context<'a> {
    /// The pod.
    pub(crate) pod: &'a Pod,
    /// The folder of this volume.
    pub(crate) dir: PathBuf,
    /// The cluster's objects.
    pub(crate) objects: &'a Objects,
    /// Tokens of service accounts.
    pub(crate) tokens: &'a token::Tokens,
    /// Where the pod is.
    pub(crate) place: &'a Place,
    /// The present moment.
    pub(crate) now: Timestamp,
    /// Whether this process may mount.
    pub(crate) may_mount: bool,
}

impl Context<'_> {
    fn fs_group(&self) -> Option<u32> {
        let spec = pod::spec(self.pod);
        spec.security_context.as_ref()?.fs_group.and_then(|group| u32::try_from(group).ok())
    }
}

/// A volume that is ready to be mounted into containers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Prepared {
    /// Where it is on the host.
    pub(crate) path: PathBuf,
    /// An image to mount instead of a path.
    pub(crate) image: Option<ImageSource>,
    /// When it must be set up again (a token gets old).
    pub(crate) refresh_at: Option<Timestamp>,
    /// Whether it never takes writes.
    pub(crate) read_only: bool,
}

/// An image that is mounted as a volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ImageSource {
    /// Its name.
    pub(crate) reference: String,
    /// `Always`, `IfNotPresent`, `Never`.
    pub(crate) pull_policy: Option<String>,
}

/// One type of volume.
#[async_trait]
pub(crate) trait VolumePlugin: Send + Sync {
    /// The folder of its volumes below `pods/UID/volumes`, as upstream names it.
    fn folder(&self) -> &'static str;
    /// Whether it is for this volume.
    fn takes(&self, volume: &Volume) -> bool;
    /// The objects whose change changes the contents.
    fn references(&self, _pod: &Pod, _volume: &Volume) -> Vec<ObjectRef> {
        Vec::new()
    }
    /// Makes the volume as it should be now.
    async fn set_up(&self, ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError>;
}

/// Every type of volume that this node has.
pub(crate) fn plugins() -> [&'static dyn VolumePlugin; 7] {
    [
        &empty_dir::EmptyDir,
        &host_path::HostPath,
        &config_map::ConfigMapVolume,
        &secret::SecretVolume,
        &downward_api::DownwardApi,
        &projected::Projected,
        &image::ImageVolume,
    ]
}

fn plugin_for(volume: &Volume) -> Option<&'static dyn VolumePlugin> {
    plugins().into_iter().find(|plugin| plugin.takes(volume))
}

/// The objects that a pod's volumes show.
pub(crate) fn references(pod: &Pod) -> Vec<ObjectRef> {
    let spec = pod::spec(pod);
    let volumes = spec.volumes.iter().flatten();
    volumes.filter_map(|one| Some(plugin_for(one)?.references(pod, one))).flatten().collect()
}

/// A volume that failed, and why.
#[derive(Debug)]
pub(crate) struct Failed {
    /// Its name.
    pub(crate) volume: String,
    /// Why.
    pub(crate) error: VolumeError,
}

/// Sets up all volumes of a pod; those that failed are named.
pub(crate) async fn set_up_all<'a>(
    pod_dir: &Path,
    make: impl Fn(PathBuf) -> Context<'a> + Send + Sync,
    volumes: &[Volume],
) -> (BTreeMap<String, Prepared>, Vec<Failed>) {
    let (mut ready, mut failed) = (BTreeMap::new(), Vec::new());
    for volume in volumes {
        let result = match plugin_for(volume) {
            Some(plugin) => {
                let dir = pod_dir.join("volumes").join(plugin.folder()).join(&volume.name);
                plugin.set_up(&make(dir), volume).await
            }
            None => Err(VolumeError::Unsupported(type_name(volume))),
        };
        match result {
            Ok(prepared) => {
                ready.insert(volume.name.clone(), prepared);
            }
            Err(error) => failed.push(Failed { volume: volume.name.clone(), error }),
        }
    }
    (ready, failed)
}

/// The name of the field that a volume sets.
fn type_name(volume: &Volume) -> String {
    let value = serde_json::to_value(volume).unwrap_or_default();
    let fields = value.as_object().into_iter().flatten().map(|(name, _)| name.clone());
    fields.filter(|name| name != "name").collect::<Vec<_>>().join(",")
}

/// Takes a pod's volumes away: unmounts and removes everything below its folder.
pub(crate) async fn tear_down(pod_dir: PathBuf, may_mount: bool) -> Result<(), VolumeError> {
    blocking(move || {
        if may_mount {
            mount::unmount_below(&pod_dir)?;
        }
        match std::fs::remove_dir_all(&pod_dir) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(VolumeError::io("remove", &pod_dir, error))
            }
            _ => Ok(()),
        }
    })
    .await
}

/// Lets everyone read a volume's folder, whatever the umask.
fn open_to_all(dir: &Path) -> Result<(), VolumeError> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(dir, std::fs::Permissions::from_mode(0o777))
        .map_err(|error| VolumeError::io("chmod", dir, error))
}

/// Writes files that must not touch a disk.
async fn write_in_memory(
    ctx: &Context<'_>,
    files: payload::Payload,
    refresh_at: Option<Timestamp>,
) -> Result<Prepared, VolumeError> {
    let (dir, group, now, may_mount) = (ctx.dir.clone(), ctx.fs_group(), ctx.now, ctx.may_mount);
    blocking(move || {
        if may_mount {
            mount::tmpfs(&dir, None)?;
        } else {
            std::fs::create_dir_all(&dir).map_err(|error| VolumeError::io("make", &dir, error))?;
        }
        open_to_all(&dir)?;
        atomic::write(&dir, &files, group, now)?;
        Ok(Prepared { path: dir, refresh_at, read_only: true, ..Prepared::default() })
    })
    .await
}

/// Runs file work off the async threads.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, VolumeError> + Send + 'static,
) -> Result<T, VolumeError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(VolumeError::Api(format!("file work ended early: {error}"))),
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
