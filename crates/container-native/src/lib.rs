//! The embedded container runtime: images, root filesystems, shims, and the two CRI services on
//! them.
//!
//! The daemon never makes a container and is nobody's parent: it starts a [`shim`] per pod, which
//! outlives it. Everything on disk lies below `DATA/agent/{images,containers}`. Pods' addresses
//! come from a [`Network`]; this crate knows the kernel's containers but no Kubernetes object.
//!
//! A binary that embeds the runtime calls [`shim::dispatch`] first thing in `main`.

mod cgroup;
mod check;
mod clean;
mod devices;
pub mod image;
mod network;
mod payload;
mod runtime;
mod seccomp;
mod security;
pub mod shim;
mod spec;

pub use check::{Finding, check};
pub use clean::clean;
pub use network::{Attach, LoopbackOnly, Network};
pub use runtime::{NativeOptions, NativeRuntime};
