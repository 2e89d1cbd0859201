//! VolumeAttachment: a volume that is to be attached to a node.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{immutable, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("storage.k8s.io", "volumeattachments").needs_resource_version().rules(Attachment)
}

struct Attachment;

impl Rules for Attachment {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let attacher = spec.get("attacher");
        if required(attacher, errors) {
            let lower = attacher.str().to_lowercase();
            errors.extend(
                validate::qualified_name(&lower).into_iter().map(|text| attacher.invalid(text)),
            );
        }
        let source = spec.get("source");
        let (name, inline) = (source.get("persistentVolumeName"), source.get("inlineVolumeSpec"));
        match (name.is_set(), inline.is_set()) {
            (false, false) => {
                errors.push(source.required(
                    "must specify exactly one of inlineVolumeSpec and persistentVolumeName",
                ));
            }
            (true, true) => {
                let text = "must specify exactly one of inlineVolumeSpec and persistentVolumeName";
                errors.push(source.forbidden(text));
            }
            (true, false) => {
                if name.is_empty() {
                    errors.push(name.required("must specify non empty persistentVolumeName"));
                } else {
                    rule(name, validate::dns1123_subdomain, errors);
                }
            }
            (false, true) => {}
        }
        let node = spec.get("nodeName");
        if required(node, errors) {
            rule(node, validate::dns1123_subdomain, errors);
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.get("spec"), old.get("spec"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |path: &[&str]| Value::from(str_at(object, path));
        let attached = at(object, &["status", "attached"]).and_then(Value::as_bool);
        vec![
            table::name(object),
            text(&["spec", "attacher"]),
            text(&["spec", "source", "persistentVolumeName"]),
            text(&["spec", "nodeName"]),
            attached.unwrap_or_default().into(),
            table::age(object, now),
        ]
    }
}
