//! `storagemigration.k8s.io`: rewriting stored objects in a newer form.

pub mod storage_version_migration;
