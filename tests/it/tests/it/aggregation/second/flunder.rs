//! `wardle.example.com/v1alpha1 Flunder`, the kind of upstream's sample server, in short.

use std::borrow::Cow;
use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object;
use api::openapi::CustomKind;
use apiserver::resource::{Column, Resource, ResourceInfo, Row, Scope, VersionInfo, WriteContext};
use base::clock::Timestamp;
use serde_json::json;

const VERBS: [&str; 8] =
    ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

struct Flunder {
    info: ResourceInfo,
    columns: Vec<Column>,
}

/// The kind.
pub(super) fn kind() -> Arc<dyn Resource> {
    let version = VersionInfo { name: "v1alpha1".into(), deprecation_warning: None, listed: true };
    Arc::new(Flunder {
        info: ResourceInfo {
            group: "wardle.example.com".into(),
            versions: vec![version],
            storage_version: "v1alpha1".into(),
            plural: "flunders".into(),
            singular: "flunder".into(),
            kind: "Flunder".into(),
            list_kind: "FlunderList".into(),
            short_names: vec!["fl".into()],
            categories: Vec::new(),
            scope: Scope::Namespaced,
            verbs: VERBS.iter().map(|verb| Cow::Borrowed(*verb)).collect(),
            key_prefix: "/registry/wardle.example.com/flunders".into(),
            storage_version_hash: "".into(),
        },
        columns: vec![Column {
            name: "Name".into(),
            kind: "string".into(),
            format: "name".into(),
            description: "".into(),
            priority: 0,
        }],
    })
}

impl Resource for Flunder {
    fn info(&self) -> &ResourceInfo {
        &self.info
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

    fn is_custom(&self) -> bool {
        true
    }

    fn openapi(&self, version: &str) -> Option<CustomKind> {
        Some(CustomKind {
            group: self.info.group.to_string(),
            version: version.to_owned(),
            kind: self.info.kind.to_string(),
            list_kind: self.info.list_kind.to_string(),
            plural: self.info.plural.to_string(),
            namespaced: true,
            schema: Some(json!({"type": "object", "properties": {
                "spec": {"type": "object", "properties": {"size": {"type": "integer"}}}}})),
            selectable_fields: Vec::new(),
            status: false,
            scale: false,
        })
    }

    fn columns(&self) -> &[Column] {
        &self.columns
    }

    fn row(&self, object: &Value, _now: Timestamp) -> Row {
        Row { cells: vec![object::name(object).into()], conditions: Vec::new() }
    }
}
