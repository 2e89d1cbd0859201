//! The seam between the kubelet and whatever runs containers: CRI v1's own calls.
//!
//! Messages and fields carry the names of CRI v1's `api.proto` in Rust's spelling; only what
//! kubelets use is here. Two object-safe traits, [`RuntimeService`] and [`ImageService`], as
//! kubelets see them: arguments instead of request wrappers, byte streams instead of the URLs of
//! a streaming server. Invariant: this crate starts no process and touches no kernel interface;
//! it is the vocabulary, an in-memory implementation ([`memory`]) and the suite that every
//! implementation passes ([`conformance`]).
//!
//! To add a runtime: a crate that implements both traits, a test that calls
//! [`conformance::run`], and its line in the composition.

pub mod conformance;
mod container;
mod error;
mod event;
mod image;
pub mod memory;
mod sandbox;
mod service;
mod stats;
mod status;
mod stream;

pub use container::*;
pub use error::{Error, Result};
pub use event::*;
pub use image::*;
pub use sandbox::*;
pub use service::{ImageService, RuntimeService};
pub use stats::*;
pub use status::*;
pub use stream::*;
