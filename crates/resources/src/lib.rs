//! The built-in kinds, one file each, on the API server's
//! [`Resource`](apiserver::resource::Resource) trait.
//!
//! A kind's identity and columns come from the tables in `facts/`; what is common to kinds is in
//! [`kind`]; a kind's own defaults, validation, strategy and cells are its [`rules::Rules`].
//! Objects are JSON values that have been decoded by their schema, so that types are right.
//!
//! To add a kind: a file `<group>/<kind>.rs` with `kind()`, its line in [`all`]; the tests below
//! it see that every row of the table is served with the right names and columns.

pub mod apps;
pub mod check;
pub mod coordination;
pub mod core;
pub mod cursor;
pub mod deps;
pub mod discovery;
mod facts;
pub mod kind;
pub mod networking;
pub mod rules;
pub mod table;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use apiserver::resource::Resource;

pub use crate::core::service::alloc::repair as repair_allocations;
pub use deps::{Deps, NodeTransport, PolicySource, Target};

/// Every built-in kind.
#[must_use]
pub fn all(deps: &Deps) -> Vec<Arc<dyn Resource>> {
    vec![
        core::namespace::kind(),
        core::node::kind(deps),
        core::pod::kind(deps),
        core::service::kind(deps),
        core::endpoints::kind(),
        core::config_map::kind(),
        core::secret::kind(),
        core::service_account::kind(deps),
        core::event::kind(),
        core::event::kind_of_events_group(),
        core::persistent_volume_claim::kind(),
        core::range_allocation::kind(),
        coordination::lease::kind(),
        coordination::lease_candidate::kind(),
        apps::deployment::kind(),
        apps::replica_set::kind(),
        apps::stateful_set::kind(),
        apps::daemon_set::kind(),
        apps::controller_revision::kind(),
        discovery::endpoint_slice::kind(),
        networking::ip_address::kind(),
        networking::service_cidr::kind(),
    ]
}
