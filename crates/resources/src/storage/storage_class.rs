//! StorageClass: a way in which volumes are made.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{annotation, at, set_default, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::parameters;
use crate::check::{immutable, label_key, one_of, required, required_one_of};
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("storage.k8s.io", "storageclasses").rules(StorageClass)
}

struct StorageClass;

impl Rules for StorageClass {
    fn default(&self, object: &mut Value) {
        set_default(object, &["reclaimPolicy"], "Delete");
        set_default(object, &["volumeBindingMode"], "Immediate");
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let provisioner = object.get("provisioner");
        if required(provisioner, errors) {
            let lower = provisioner.str().to_lowercase();
            errors.extend(
                validate::qualified_name(&lower).into_iter().map(|text| provisioner.invalid(text)),
            );
        }
        parameters(object.get("parameters"), false, errors);
        if !object.get("reclaimPolicy").is_empty() {
            one_of(object.get("reclaimPolicy"), &["Delete", "Retain"], errors);
        }
        let modes = ["Immediate", "WaitForFirstConsumer"];
        required_one_of(object.get("volumeBindingMode"), &modes, errors);
        for term in object.get("allowedTopologies").items() {
            let mut keys: Vec<&str> = Vec::new();
            for expression in term.get("matchLabelExpressions").items() {
                let (key, values) = (expression.get("key"), expression.get("values"));
                if values.is_empty() {
                    errors.push(values.required(""));
                }
                let mut seen: Vec<&str> = Vec::new();
                for value in values.items() {
                    if seen.contains(&value.str()) {
                        errors.push(value.duplicate());
                    }
                    seen.push(value.str());
                }
                label_key(key, errors);
                if keys.contains(&key.str()) {
                    errors.push(key.duplicate());
                }
                keys.push(key.str());
            }
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let text = "updates to parameters are forbidden.";
        if !same(new.get("parameters").value(), old.get("parameters").value()) {
            errors.push(new.get("parameters").forbidden(text));
        }
        if new.get("provisioner").str() != old.get("provisioner").str() {
            errors.push(new.get("provisioner").forbidden("updates to provisioner are forbidden."));
        }
        if new.get("reclaimPolicy").str() != old.get("reclaimPolicy").str() {
            let text = "updates to reclaimPolicy are forbidden.";
            errors.push(new.get("reclaimPolicy").forbidden(text));
        }
        immutable(new.get("volumeBindingMode"), old.get("volumeBindingMode"), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = str_at(object, &["metadata", "name"]);
        let default = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ]
        .iter()
        .any(|key| annotation(object, key) == Some("true"));
        let grows = at(object, &["allowVolumeExpansion"]).and_then(Value::as_bool);
        vec![
            if default { format!("{name} (default)").into() } else { name.into() },
            str_at(object, &["provisioner"]).into(),
            table::text_or(object, &["reclaimPolicy"], "Delete"),
            table::text_or(object, &["volumeBindingMode"], "Immediate"),
            grows.unwrap_or_default().to_string().into(),
            table::age(object, now),
        ]
    }
}
