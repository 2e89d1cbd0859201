//! CertificateSigningRequest: somebody asks a signer for a certificate; somebody else approves.

use std::sync::Arc;

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, int_at, list_at, set, str_at};
use apiserver::resource::{Resource, WriteContext};
use base::clock::{Timestamp, rfc3339_seconds};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use serde_json::json;

use super::{pem_blocks, signer_name};
use crate::check::immutable;
use crate::cursor::{Field, same};
use crate::kind::{Kind, keep};
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("certificates.k8s.io", "certificatesigningrequests")
        .named(api::validate::path_segment)
        .selectable(&["spec.signerName"])
        .rules(Request)
}

struct Request;

const USAGES: [&str; 23] = [
    "signing",
    "digital signature",
    "content commitment",
    "key encipherment",
    "key agreement",
    "data encipherment",
    "cert sign",
    "crl sign",
    "encipher only",
    "decipher only",
    "any",
    "server auth",
    "client auth",
    "code signing",
    "email protection",
    "s/mime",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "timestamping",
    "ocsp signing",
    "microsoft sgc",
    "netscape sgc",
];

/// Conditions that only `approval` may write.
const VERDICTS: [&str; 2] = ["Approved", "Denied"];

fn is_verdict(condition: &Value) -> bool {
    VERDICTS.contains(&str_at(condition, &["type"]))
}

/// New conditions get their times; changed ones keep the time of their last change of status.
fn stamp(object: &mut Value, old: &Value, now: &str) {
    let before = list_at(old, &["status", "conditions"]).to_vec();
    let conditions = at(object, &["status", "conditions"]).cloned();
    let Some(Value::Array(mut conditions)) = conditions else { return };
    for condition in &mut conditions {
        let was = before.iter().find(|was| was["type"] == condition["type"]);
        if was.is_none_or(|was| !same(Some(was), Some(condition)))
            && at(condition, &["lastUpdateTime"]).is_none()
        {
            condition["lastUpdateTime"] = now.into();
        }
        if at(condition, &["lastTransitionTime"]).is_none() {
            let kept = was
                .filter(|was| was["status"] == condition["status"])
                .and_then(|was| at(was, &["lastTransitionTime"]).cloned());
            condition["lastTransitionTime"] = kept.unwrap_or_else(|| now.into());
        }
    }
    set(object, &["status", "conditions"], conditions);
}

impl Rules for Request {
    fn prepare_create(&self, ctx: &WriteContext<'_>, object: &mut Value) {
        for field in ["username", "uid", "groups", "extra"] {
            api::object::remove(object, &["spec", field]);
        }
        set(object, &["spec", "username"], ctx.user.username.as_str());
        if !ctx.user.uid.is_empty() {
            set(object, &["spec", "uid"], ctx.user.uid.as_str());
        }
        if !ctx.user.groups.is_empty() {
            set(object, &["spec", "groups"], ctx.user.groups.clone());
        }
        if !ctx.user.extra.is_empty() {
            set(object, &["spec", "extra"], json!(ctx.user.extra));
        }
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        keep(object, old, "spec");
    }

    fn prepare_status(&self, ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        // The verdict is not the signer's to give.
        let verdicts: Vec<Value> = list_at(old, &["status", "conditions"])
            .iter()
            .filter(|one| is_verdict(one))
            .cloned()
            .collect();
        let own: Vec<Value> = list_at(object, &["status", "conditions"])
            .iter()
            .filter(|one| !is_verdict(one))
            .cloned()
            .collect();
        let all: Vec<Value> = verdicts.into_iter().chain(own).collect();
        if all.is_empty() {
            api::object::remove(object, &["status", "conditions"]);
        } else {
            set(object, &["status", "conditions"], all);
        }
        stamp(object, old, &rfc3339_seconds(ctx.now));
    }

    fn prepare_view(&self, ctx: &WriteContext<'_>, _view: &str, object: &mut Value, old: &Value) {
        // `approval` changes the conditions and nothing else.
        keep(object, old, "spec");
        let conditions = at(object, &["status", "conditions"]).cloned();
        keep(object, old, "status");
        match conditions {
            Some(conditions) => set(object, &["status", "conditions"], conditions),
            None => {
                api::object::remove(object, &["status", "conditions"]);
            }
        }
        stamp(object, old, &rfc3339_seconds(ctx.now));
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        request(spec.get("request"), errors);
        usages(spec.get("usages"), errors);
        signer_name(spec.get("signerName"), errors);
        if spec.get("signerName").str() == "kubernetes.io/legacy-unknown" {
            let text = "the legacy signerName is not allowed via this API version";
            errors.push(spec.get("signerName").invalid(text));
        }
        let seconds = spec.get("expirationSeconds");
        if seconds.int().is_some_and(|value| value < 600) {
            let text = "may not specify a duration less than 600 seconds (10 minutes)";
            errors.push(seconds.invalid(text));
        }
        conditions(object, errors);
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
        conditions(new, errors);
        let certificate = new.at(&["status", "certificate"]);
        let before = old.at(&["status", "certificate"]);
        if !before.is_empty() && certificate.str() != before.str() {
            let text = "updates may not change existing certificate content";
            errors.push(certificate.forbidden(text));
        } else if !certificate.is_empty() && certificate.str() != before.str() {
            let text = BASE64
                .decode(certificate.str())
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            let blocks = text.and_then(|text| pem_blocks(&text, "CERTIFICATE"));
            if blocks.is_none_or(|blocks| blocks.is_empty()) {
                let text = "must contain one or more PEM blocks";
                errors.push(certificate.invalid_as("<certificate data>", text));
            }
        }
    }

    fn validate_view(
        &self,
        _ctx: &WriteContext<'_>,
        _view: &str,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        conditions(new, errors);
        let path = || Path::new("status").child("conditions");
        for kind in VERDICTS {
            let find = |object: Field<'_>| {
                let list = object.at(&["status", "conditions"]).list();
                list.iter().filter(|one| one["type"] == kind).cloned().collect::<Vec<_>>()
            };
            let (before, now) = (find(old), find(new));
            if now.len() < before.len() {
                let text = format!("updates may not remove a condition of type {kind:?}");
                errors.push(FieldError::forbidden(path(), text));
            } else if !before.is_empty() && before != now {
                let text = format!("updates may not modify a condition of type {kind:?}");
                errors.push(FieldError::forbidden(path(), text));
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let duration = match int_at(object, &["spec", "expirationSeconds"]) {
            Some(seconds) => api::duration::human(seconds),
            None => NONE.to_owned(),
        };
        vec![
            table::name(object),
            table::age(object, now),
            table::text_or(object, &["spec", "signerName"], NONE),
            str_at(object, &["spec", "username"]).into(),
            duration.into(),
            state(object).into(),
        ]
    }
}

fn state(object: &Value) -> String {
    let has = |kind| table::condition(object, kind).is_some();
    let mut state = if has("Denied") {
        "Denied"
    } else if has("Approved") {
        "Approved"
    } else {
        "Pending"
    }
    .to_owned();
    if has("Failed") {
        state.push_str(",Failed");
    }
    if !str_at(object, &["status", "certificate"]).is_empty() {
        state.push_str(",Issued");
    }
    state
}

fn request(field: Field<'_>, errors: &mut ErrorList) {
    let bytes = BASE64.decode(field.str()).unwrap_or_default();
    let text = String::from_utf8(bytes).unwrap_or_default();
    let blocks = pem_blocks(&text, "CERTIFICATE REQUEST");
    if blocks.is_none_or(|blocks| blocks.is_empty()) {
        let value = match field.is_empty() {
            true => Value::Null,
            false => field.value().cloned().unwrap_or_default(),
        };
        errors.push(field.invalid_as(value, "PEM block type must be CERTIFICATE REQUEST"));
    }
}

fn usages(list: Field<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.push(list.required(""));
        return;
    }
    let mut seen: Vec<&str> = Vec::new();
    for usage in list.items() {
        if !USAGES.contains(&usage.str()) {
            errors.push(usage.not_supported(&USAGES));
        }
        if seen.contains(&usage.str()) {
            errors.push(usage.duplicate());
        }
        seen.push(usage.str());
    }
}

fn conditions(object: Field<'_>, errors: &mut ErrorList) {
    let list = object.at(&["status", "conditions"]);
    let mut seen: Vec<&str> = Vec::new();
    for condition in list.items() {
        let (kind, status) = (condition.get("type"), condition.get("status"));
        if kind.is_empty() {
            errors.push(kind.required(""));
        }
        let allowed: &[&str] = if matches!(kind.str(), "Approved" | "Denied" | "Failed") {
            &["True"]
        } else {
            &["False", "True", "Unknown"]
        };
        if status.is_empty() {
            errors.push(status.required(""));
        } else if !allowed.contains(&status.str()) {
            errors.push(status.not_supported(allowed));
        }
        if seen.contains(&kind.str()) {
            errors.push(condition.get("type").duplicate());
        }
        seen.push(kind.str());
    }
    if VERDICTS.iter().all(|kind| seen.contains(kind)) {
        // The verdict that came second is the one that does not fit.
        let mut verdicts = seen.iter().filter(|kind| VERDICTS.contains(kind));
        let second = verdicts.nth(1).copied().unwrap_or("Denied");
        let text = "Approved and Denied conditions are mutually exclusive";
        errors.push(list.invalid_as(second, text));
    }
}
