//! `discovery.k8s.io`: where services lead.

pub mod endpoint_slice;
