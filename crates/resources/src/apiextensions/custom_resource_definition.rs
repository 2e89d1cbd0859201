//! CustomResourceDefinition: a kind that people define, served as soon as its names are accepted.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
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

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, _old: &Value) {
        note_storage_version(object);
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

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        validation::stored_versions(new, errors);
    }
}
