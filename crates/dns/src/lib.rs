//! Cluster DNS, by the DNS-Based Service Discovery specification, version 1.1.
//!
//! ```text
//! shared caches → view → zone (pure: a name and a type in, records out) ┐
//!                             upstream resolvers, cached ───────────────┴→ server → clients
//! ```
//!
//! It runs as the Deployment `kube-dns` in `kube-system` from the built-in image ([`manifests`]),
//! with CoreDNS' ports, health paths and metric names, so that what is written about CoreDNS
//! holds.
//!
//! Invariants: answers about the cluster come from memory and never wait for anybody; before the
//! caches are whole nothing is said about the cluster, rather than that something does not exist;
//! glibc's resolver is not used.

mod admin;
mod forward;
mod lookup;
mod manifests;
mod metrics;
mod server;
mod view;
pub mod zone;

pub use forward::Upstream;
pub use lookup::{LookupError, lookup};
pub use manifests::manifests;
pub use server::{DnsError, DnsOptions, run};
