//! PodCertificateRequest: a kubelet asks a signer for a certificate on a pod's behalf.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set_default, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::signer_name;
use crate::check::{self, immutable, required};
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("certificates.k8s.io", "podcertificaterequests")
        .needs_resource_version()
        .selectable(&["spec.signerName", "spec.podName", "spec.nodeName"])
        .rules(Request)
}

struct Request;

impl Rules for Request {
    fn default(&self, object: &mut Value) {
        set_default(object, &["spec", "maxExpirationSeconds"], 86_400);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        signer_name(spec.get("signerName"), errors);
        for field in
            ["podName", "podUID", "serviceAccountName", "serviceAccountUID", "nodeName", "nodeUID"]
        {
            required(Field::get(spec, field), errors);
        }
        let seconds = spec.get("maxExpirationSeconds");
        let own = spec.get("signerName").str().starts_with("kubernetes.io/");
        let (least, most) = (3600, if own { 86_400 } else { 7_862_400 });
        if !(least..=most).contains(&seconds.int().unwrap_or_default()) {
            let text = format!("must be in the range [{least}, {most}]");
            errors.push(seconds.invalid(text));
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

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let (status, before) = (new.get("status"), old.get("status"));
        check::conditions(status.get("conditions"), errors);
        if final_state(old.value()).is_some() && !same(status.value(), before.value()) {
            let value = status.value().cloned().unwrap_or_default();
            errors.push(status.invalid_as(value, check::IMMUTABLE));
        }
    }

    fn cells(&self, object: &Value, _now: Timestamp) -> Vec<Value> {
        let text = |field: &str| Value::from(str_at(object, &["spec", field]));
        let annotations = match at(object, &["spec", "unverifiedUserAnnotations"]) {
            Some(map) => table::labels(Some(map)),
            None => table::NONE.to_owned(),
        };
        vec![
            table::name(object),
            text("podName"),
            text("serviceAccountName"),
            text("nodeName"),
            text("signerName"),
            final_state(Some(object)).unwrap_or("Pending").into(),
            annotations.into(),
        ]
    }
}

fn final_state(object: Option<&Value>) -> Option<&str> {
    list_at(object?, &["status", "conditions"])
        .iter()
        .map(|condition| str_at(condition, &["type"]))
        .find(|kind| matches!(*kind, "Issued" | "Denied" | "Failed"))
}
