//! The scheduler: which node each pod runs on.
//!
//! [`framework`] is what plugins implement, [`plugins`] has them, one file each, [`cycle`] decides
//! for one pod and is pure, [`cluster`] is what the scheduler believes of the cluster, [`queue`]
//! says whose turn it is, [`run`] ties them to the API.
//!
//! Invariant: a decision is made in one go under one lock, on the newest belief, and assumed at
//! once; binding happens beside it. Nothing is polled: a pod that found no node is tried again when
//! something changed that may help it.

mod binding;
pub mod cluster;
pub mod cycle;
pub mod framework;
pub mod plugins;
mod preempt;
pub mod queue;
mod run;
#[cfg(test)]
mod testing;
mod tolerations;

pub use run::{SchedulerOptions, run};
