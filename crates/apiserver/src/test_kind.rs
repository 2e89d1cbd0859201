//! A kind without any rules, for tests beside the code.

use api::Value;
use api::field::ErrorList;
use base::clock::Timestamp;

use crate::resource::{Column, Resource, ResourceInfo, Row, Scope, VersionInfo, WriteContext};

/// The kind.
pub(crate) struct Plain(ResourceInfo);

impl Plain {
    pub(crate) fn new() -> Self {
        let version = VersionInfo { name: "v1".into(), deprecation_warning: None, listed: true };
        Self(ResourceInfo {
            group: "".into(),
            versions: vec![version],
            storage_version: "v1".into(),
            plural: "plains".into(),
            singular: "plain".into(),
            kind: "Plain".into(),
            list_kind: "PlainList".into(),
            short_names: Vec::new(),
            categories: Vec::new(),
            scope: Scope::Namespaced,
            verbs: Vec::new(),
            key_prefix: "/registry/plains".into(),
            storage_version_hash: "".into(),
        })
    }
}

impl Resource for Plain {
    fn info(&self) -> &ResourceInfo {
        &self.0
    }

    fn schema(&self, _version: &str) -> Option<&str> {
        None
    }

    fn default(&self, _object: &mut Value) {}

    fn prepare_create(&self, _ctx: &WriteContext<'_>, _object: &mut Value) {}

    fn prepare_update(&self, _ctx: &WriteContext<'_>, _object: &mut Value, _old: &Value) {}

    fn validate_create(&self, _ctx: &WriteContext<'_>, _object: &Value) -> ErrorList {
        Vec::new()
    }

    fn validate_update(&self, _ctx: &WriteContext<'_>, _object: &Value, _old: &Value) -> ErrorList {
        Vec::new()
    }

    fn validate_name(&self, _name: &str, _prefix: bool) -> Vec<String> {
        Vec::new()
    }

    fn columns(&self) -> &[Column] {
        &[]
    }

    fn row(&self, _object: &Value, _now: Timestamp) -> Row {
        Row::default()
    }
}
