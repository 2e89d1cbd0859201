//! `authorization.k8s.io`: what somebody may do. Nothing is stored.

pub mod access_review;
pub mod self_subject_rules_review;
