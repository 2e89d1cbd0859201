//! The core group: pods and what they need.

pub mod config_map;
pub mod endpoints;
pub mod event;
mod keyed;
pub mod namespace;
pub mod node;
pub mod persistent_volume_claim;
pub mod pod;
pub mod range_allocation;
pub mod secret;
pub mod service;
pub mod service_account;
