//! The audit: which requests are noted, how much of them, and where.
//!
//! [`policy`] decides, purely; [`event`] writes an event as `audit.k8s.io/v1` says; [`log`] keeps
//! them in a file on a thread of its own. Invariant: a request never waits for the log: what finds
//! its queue full is dropped and counted.

mod event;
mod log;
pub mod policy;
mod rotation;

pub use log::{AuditLog, LogOptions};
pub use policy::{Policy, PolicyError};
