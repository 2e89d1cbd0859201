//! CustomResourceDefinition: a kind that people define, served as soon as its names are accepted.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, finalizers, is_deleting, list_at, set, set_default, str_at};
use apiserver::resource::{Deletion, Resource, WriteContext};
use serde_json::json;

use super::validation;
use crate::core::pod::defaults::set_text;
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("apiextensions.k8s.io", "customresourcedefinitions")
        .tracks_generation()
        .needs_resource_version()
        .rules(Definition)
}

/// What holds a deleted definition until its objects are gone.
const FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

struct Definition;

/// The version that objects are stored in.
fn storage_version(object: &Value) -> Option<&str> {
    list_at(object, &["spec", "versions"])
        .iter()
        .find(|version| version["storage"] == true)
        .map(|version| str_at(version, &["name"]))
}

/// Notes that objects may now be stored in the storage version.
fn note_storage_version(object: &mut Value) {
    let Some(version) = storage_version(object).map(str::to_owned) else { return };
    let mut stored = list_at(object, &["status", "storedVersions"]).to_vec();
    if !stored.iter().any(|known| *known == version) {
        stored.push(version.into());
        set(object, &["status", "storedVersions"], stored);
    }
}

/// The formats of a definition's schemas that mean nothing.
fn unknown_formats(object: &Value) -> Vec<String> {
    fn below(schema: &Value, depth: usize, found: &mut Vec<String>) {
        let format = str_at(schema, &["format"]);
        let is_known = structural::is_known_format(str_at(schema, &["type"]), format);
        if !format.is_empty() && !is_known && !found.iter().any(|known| known == format) {
            found.push(format.to_owned());
        }
        if depth == 0 {
            return;
        }
        for field in ["items", "additionalProperties", "not"] {
            if let Some(child) = at(schema, &[field]) {
                below(child, depth - 1, found);
            }
        }
        let properties = at(schema, &["properties"]).and_then(Value::as_object);
        let listed =
            ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|one| list_at(schema, &[one]));
        for child in properties.into_iter().flat_map(serde_json::Map::values).chain(listed) {
            below(child, depth - 1, found);
        }
    }
    let mut found = Vec::new();
    for version in list_at(object, &["spec", "versions"]) {
        if let Some(schema) = at(version, &["schema", "openAPIV3Schema"]) {
            below(schema, super::structural::DEPTH_MAX, &mut found);
        }
    }
    found
}

/// Holds a definition that is deleted, and says why.
fn mark_terminating(object: &mut Value, ctx: &WriteContext<'_>) {
    if !finalizers(object).any(|one| one == FINALIZER) {
        let kept: Vec<Value> = finalizers(object).chain([FINALIZER]).map(Value::from).collect();
        set(object, &["metadata", "finalizers"], kept);
    }
    let mut conditions = list_at(object, &["status", "conditions"]).to_vec();
    conditions.retain(|one| str_at(one, &["type"]) != "Terminating");
    conditions.push(json!({
        "type": "Terminating",
        "status": "True",
        "lastTransitionTime": base::clock::rfc3339_seconds(ctx.now),
        "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will begin soon",
    }));
    set(object, &["status", "conditions"], conditions);
}

impl Rules for Definition {
    fn default(&self, object: &mut Value) {
        let kind = str_at(object, &["spec", "names", "kind"]).to_owned();
        if !kind.is_empty() {
            set_text(object, &["spec", "names", "singular"], &kind.to_lowercase());
            set_text(object, &["spec", "names", "listKind"], &format!("{kind}List"));
        }
        set_default(object, &["spec", "conversion"], json!({"strategy": "None"}));
        let service = ["spec", "conversion", "webhook", "clientConfig", "service"];
        if at(object, &service).is_some() {
            let path: Vec<_> = service.into_iter().chain(["port"]).collect();
            set_default(object, &path, 443);
        }
    }

    fn prepare_create(&self, _ctx: &WriteContext<'_>, object: &mut Value) {
        object["status"] = json!({"conditions": null, "storedVersions": null,
            "acceptedNames": {"plural": "", "kind": ""}});
        note_storage_version(object);
    }

    /// A definition goes only after its objects: what follows definitions takes the finalizer away.
    fn prepare_deletion(
        &self,
        ctx: &WriteContext<'_>,
        object: &mut Value,
        _grace: Option<i64>,
    ) -> Deletion {
        if !is_deleting(object) {
            mark_terminating(object, ctx);
        }
        Deletion::Finalized
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, _old: &Value) {
        note_storage_version(object);
    }

    /// Formats that nobody knows have no effect; those that were there before are known to have none.
    fn warnings(&self, new: &Value, old: Option<&Value>) -> Vec<String> {
        let before = old.map(unknown_formats).unwrap_or_default();
        let mut found = unknown_formats(new);
        found.retain(|format| !before.contains(format));
        found.into_iter().map(|format| format!("unrecognized format {format:?}")).collect()
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        validation::definition(object, errors);
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        validation::create(new, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        validation::change(new, old, errors);
    }
}
