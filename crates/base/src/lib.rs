//! What every part needs and no part owns: time, shutdown, readiness, supervised tasks, error
//! chains.
//!
//! Invariant: no I/O beyond the clock, and no knowledge of Kubernetes. Everything here is
//! injectable, so that the whole control plane can run under paused time from a seed.

pub mod clock;
pub mod drain;
pub mod error;
pub mod metrics;
pub mod readiness;
pub mod rng;
pub mod task;
