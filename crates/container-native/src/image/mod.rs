//! Images: names, content, unpacked layers; usable without a running runtime.
//!
//! The store is an OCI image layout (`oci-layout`, `index.json`, `blobs/sha256`) with a folder of
//! unpacked layers beside it, so any tool of the field can read it. Invariants: a blob's name is
//! its digest, checked when it is written; files and folders appear whole, by rename after
//! `fsync`; what `index.json` names is there. Several processes may use one store at once: the
//! command line imports while the server runs.

mod archive;
mod build;
pub mod builtin;
mod codec;
mod config;
mod index;
pub mod reference;
mod registry;
mod store;
mod tree;
mod unpack;

pub use build::BuildConfig;
pub use config::{ImageConfig, ProcessConfig};
pub use reference::Reference;
pub use registry::{Credentials, Progress};
pub use store::{ImageStore, StoredImage};

/// What can go wrong with images.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A name that is not one.
    #[error("{name:?} is not an image name: {why}")]
    Name {
        /// As it was given.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The node does not have it.
    #[error("image {0} is not here")]
    NotFound(String),
    /// An archive, layer or configuration that cannot be understood.
    #[error("{what}: {why}")]
    Malformed {
        /// Which.
        what: String,
        /// Why.
        why: String,
    },
    /// The disk, or the machine, did not let us.
    #[error("{what}")]
    Io {
        /// What was attempted.
        what: String,
        /// Why it failed.
        #[source]
        source: std::io::Error,
    },
    /// The registry refused the credentials.
    #[error("registry refused {name}: {why}")]
    Denied {
        /// The image.
        name: String,
        /// What it said.
        why: String,
    },
    /// The registry could not be reached, or answered nonsense.
    #[error("registry: {name}: {why}")]
    Registry {
        /// The image.
        name: String,
        /// What happened.
        why: String,
    },
}

/// The result of a deed with images.
pub type Result<T> = std::result::Result<T, ImageError>;

/// Gives an I/O error the words of what was attempted.
trait Attempt<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T> Attempt<T> for std::io::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|source| ImageError::Io { what: what(), source })
    }
}

impl<T> Attempt<T> for nix::Result<T> {
    fn attempt(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|errno| ImageError::Io { what: what(), source: errno.into() })
    }
}

fn malformed(what: impl Into<String>, why: impl ToString) -> ImageError {
    ImageError::Malformed { what: what.into(), why: why.to_string() }
}
