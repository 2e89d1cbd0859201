//! The runtime: sandboxes and containers as Ferry sees them.
//!
//! What it knows lies in memory and, for the time after a restart, in small files beside each
//! container; who runs is known by the shims alone. Invariant: the record of a sandbox or
//! container is written before the deed that it speaks of, so that a crash leaves something to
//! find and never something unknown that runs.

mod client;
mod containers;
mod ending;
mod exec;
mod files;
mod images;
mod records;
mod recover;
mod sandboxes;
mod service;
mod state;
mod stats;
mod terminal;

use std::path::PathBuf;
use std::sync::Arc;

use base::clock::SharedClock;
use container_runtime::{ContainerEventResponse, Error, Result};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch};

use crate::cgroup::Cgroups;
use crate::image::ImageStore;
use crate::network::Network;
use state::State;

pub(crate) use records::{SandboxRecord, load as load_record};

/// What the runtime is made of.
#[derive(Debug)]
pub struct NativeOptions {
    /// Ferry's data folder; images and containers go below `agent/` in it.
    pub data_dir: PathBuf,
    /// The binary that is run as shim, with `ferry-shim` as first argument. `/proc/self/exe` for
    /// Ferry's own.
    pub shim_binary: PathBuf,
    /// Who gives pods their addresses.
    pub network: Arc<dyn Network>,
    /// The cgroup under which everything goes that has no parent of its own, as `ferry`.
    pub cgroup_root: String,
    /// Wall time.
    pub clock: SharedClock,
}

impl NativeOptions {
    /// Options with defaults for a data folder and a network.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>, network: Arc<dyn Network>) -> Self {
        Self {
            data_dir: data_dir.into(),
            shim_binary: "/proc/self/exe".into(),
            network,
            cgroup_root: "ferry".into(),
            clock: base::clock::system(),
        }
    }
}

/// The embedded runtime.
#[derive(Debug)]
pub struct NativeRuntime {
    options: NativeOptions,
    /// `DATA/agent/containers`.
    dir: PathBuf,
    images: ImageStore,
    cgroups: Cgroups,
    state: Mutex<State>,
    events: broadcast::Sender<ContainerEventResponse>,
    /// Wakes those that wait for a container's end.
    changed: watch::Sender<()>,
    /// For tasks that outlive the call that starts them.
    me: std::sync::Weak<NativeRuntime>,
}

impl NativeRuntime {
    /// Opens the runtime: finds what ran before, takes it over, clears what has ended.
    ///
    /// # Errors
    /// The data folder cannot be written, or its path has a character that overlayfs cannot take.
    pub async fn open(options: NativeOptions) -> Result<Arc<Self>> {
        let data_dir = options.data_dir.clone();
        if data_dir.to_str().is_none_or(|path| path.contains([',', ':', '\\'])) {
            let why = format!("data folder {} has a comma or colon in it", data_dir.display());
            return Err(Error::InvalidArgument(why));
        }
        let (dir, images, cgroups) = blocking(move || {
            std::fs::create_dir_all(data_dir.join("agent")).map_err(|e| internal("open", e))?;
            // Absolute, since shims and helpers change their folder.
            let agent = data_dir.join("agent").canonicalize().map_err(|e| internal("open", e))?;
            let images = ImageStore::open(agent.join("images")).map_err(image_error)?;
            let dir = agent.join("containers");
            std::fs::create_dir_all(&dir).map_err(|e| internal("open", e))?;
            let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
            std::fs::set_permissions(&dir, private).map_err(|e| internal("open", e))?;
            let cgroups = Cgroups::detect().map_err(|e| internal("find cgroups", e))?;
            Ok((dir, images, cgroups))
        })
        .await?;
        let runtime = Arc::new_cyclic(|me| Self {
            options,
            dir,
            images,
            cgroups,
            state: Mutex::default(),
            events: broadcast::Sender::new(1024),
            changed: watch::Sender::new(()),
            me: me.clone(),
        });
        runtime.recover().await?;
        Ok(runtime)
    }

    /// The images.
    #[must_use]
    pub fn image_store(&self) -> &ImageStore {
        &self.images
    }

    fn now(&self) -> i64 {
        i64::try_from(self.options.clock.now().as_nanosecond()).unwrap_or(i64::MAX)
    }

    fn shared(&self) -> Arc<Self> {
        self.me.upgrade().expect("a method runs on a runtime that is alive")
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(internal("run", error)),
    }
}

fn internal(what: &str, error: impl std::fmt::Display) -> Error {
    Error::Internal(format!("{what}: {error}"))
}

fn image_error(error: crate::image::ImageError) -> Error {
    use crate::image::ImageError;
    let text = base::error::Chain(&error).to_string();
    match error {
        ImageError::NotFound(_) => Error::NotFound(text),
        ImageError::Name { .. } => Error::InvalidArgument(text),
        ImageError::Denied { .. } => Error::PermissionDenied(text),
        ImageError::Registry { .. } => Error::Unavailable(text),
        ImageError::Io { source, .. } if source.kind() == std::io::ErrorKind::StorageFull => {
            Error::ResourceExhausted(text)
        }
        ImageError::Malformed { .. } | ImageError::Io { .. } => Error::Internal(text),
    }
}
