//! `scheduling.k8s.io`: who goes first, and who goes together.

pub mod pod_group;
pub mod priority_class;
pub mod workload;
