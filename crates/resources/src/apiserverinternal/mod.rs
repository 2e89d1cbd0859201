//! `internal.apiserver.k8s.io`: what API servers tell each other.

pub mod storage_version;
