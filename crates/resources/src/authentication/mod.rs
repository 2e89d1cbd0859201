//! `authentication.k8s.io`: who somebody is. Nothing is stored.

pub mod bound;
pub mod self_subject_review;
pub mod token_review;
