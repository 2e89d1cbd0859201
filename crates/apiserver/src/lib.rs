//! The generic API server: HTTP, the registry of kinds, storage and watch caches, admission,
//! discovery. It names no concrete kind and no engine.
//!
//! The way of a request: `authn → authz → admission → resource → store → watchers`.

pub mod admission;
pub mod authn;
pub mod authz;
pub mod resource;
