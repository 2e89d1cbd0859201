//! `coordination.k8s.io`: leases, by which parts of the cluster agree on who does what.

pub mod lease;
pub mod lease_candidate;
