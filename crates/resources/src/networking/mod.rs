//! `networking.k8s.io`: ways in, walls between, and addresses.

pub mod ip_address;
pub mod service_cidr;
