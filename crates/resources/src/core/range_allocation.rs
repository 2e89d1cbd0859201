//! RangeAllocation: which numbers of a range are taken. Stored as upstream stores it, and served
//! nowhere: it has no verbs, and discovery does not list it.

use std::sync::Arc;

use apiserver::resource::{Resource, ResourceInfo, Scope, VersionInfo};

use crate::kind::Kind;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    let version = VersionInfo { name: "v1".into(), deprecation_warning: None, listed: false };
    Kind::unlisted(ResourceInfo {
        group: "".into(),
        versions: vec![version],
        storage_version: "v1".into(),
        plural: "rangeallocations".into(),
        singular: "rangeallocation".into(),
        kind: "RangeAllocation".into(),
        list_kind: "RangeAllocationList".into(),
        short_names: Vec::new(),
        categories: Vec::new(),
        scope: Scope::Cluster,
        verbs: Vec::new(),
        key_prefix: "/registry/ranges".into(),
        storage_version_hash: "".into(),
    })
    .plain()
}
