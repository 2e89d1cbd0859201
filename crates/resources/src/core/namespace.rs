//! Namespace: a scope for names, and what is deleted with it.
//!
//! A namespace that is deleted stays `Terminating` until the controller has emptied it and taken
//! the finalizer `kubernetes` out of its spec through `finalize`.

use std::sync::Arc;

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, is_deleting, list_at, set, str_at};
use api::validate;
use apiserver::resource::{Deletion, Resource, WriteContext};
use base::clock::{Timestamp, rfc3339_seconds};
use serde_json::json;

use crate::cursor::Field;
use crate::kind::{Kind, keep, label_name};
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "namespaces").named(label_name).selectable(&["status.phase"]).rules(Namespace)
}

struct Namespace;

impl Rules for Namespace {
    fn default(&self, object: &mut Value) {
        let name = str_at(object, &["metadata", "name"]).to_owned();
        if !name.is_empty() {
            set(object, &["metadata", "labels", "kubernetes.io/metadata.name"], name);
        }
        if str_at(object, &["status", "phase"]).is_empty() {
            set(object, &["status", "phase"], "Active");
        }
    }

    fn prepare_create(&self, _ctx: &WriteContext<'_>, object: &mut Value) {
        let finalizers = list_at(object, &["spec", "finalizers"]);
        if !finalizers.iter().any(|finalizer| finalizer == "kubernetes") {
            let mut all = finalizers.to_vec();
            all.push("kubernetes".into());
            set(object, &["spec", "finalizers"], all);
        }
        object["status"] = json!({"phase": "Active"});
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        match at(old, &["spec", "finalizers"]) {
            Some(finalizers) => set(object, &["spec", "finalizers"], finalizers.clone()),
            None => keep(object, old, "spec"),
        }
    }

    fn prepare_view(&self, _ctx: &WriteContext<'_>, _view: &str, object: &mut Value, old: &Value) {
        // `finalize` changes spec.finalizers; a status that came with it is dropped.
        keep(object, old, "status");
    }

    fn validate_view(
        &self,
        _ctx: &WriteContext<'_>,
        _view: &str,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        finalizers(new, errors);
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        finalizers(new, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let phase = new.at(&["status", "phase"]).str();
        let deleting = new.at(&["metadata", "deletionTimestamp"]).is_set();
        let path = Path::new("status").child("Phase");
        if !deleting && phase != "Active" {
            let text = "may only be 'Active' if `deletionTimestamp` is empty";
            errors.push(FieldError::invalid(path, phase, text));
        } else if deleting && phase != "Terminating" {
            let text = "may only be 'Terminating' if `deletionTimestamp` is not empty";
            errors.push(FieldError::invalid(path, phase, text));
        }
    }

    fn prepare_deletion(
        &self,
        ctx: &WriteContext<'_>,
        object: &mut Value,
        _grace: Option<i64>,
    ) -> Deletion {
        if list_at(object, &["spec", "finalizers"]).is_empty() {
            return Deletion::Immediate;
        }
        if !is_deleting(object) {
            set(object, &["metadata", "deletionTimestamp"], rfc3339_seconds(ctx.now));
        }
        set(object, &["status", "phase"], "Terminating");
        Deletion::Finalized
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let phase = str_at(object, &["status", "phase"]).into();
        vec![table::name(object), phase, table::age(object, now)]
    }
}

fn finalizers(object: Field<'_>, errors: &mut ErrorList) {
    let list = object.at(&["spec", "finalizers"]);
    for finalizer in list.items() {
        let text = finalizer.str();
        let here = |message: String| {
            FieldError::invalid(Path::new("spec").child("finalizers"), text, message)
        };
        errors.extend(validate::qualified_name(text).into_iter().map(here));
        if !text.contains('/') && !matches!(text, "kubernetes" | "orphan" | "foregroundDeletion") {
            let message = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(here(message.to_owned()));
        }
    }
}
