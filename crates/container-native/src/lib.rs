//! The embedded container runtime: images, snapshots, shims.
