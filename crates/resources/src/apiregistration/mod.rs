//! `apiregistration.k8s.io`: API servers behind this one.

pub mod api_service;
