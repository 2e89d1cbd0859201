//! ValidatingAdmissionPolicyBinding and MutatingAdmissionPolicyBinding: where a policy holds.

use std::sync::Arc;

use api::Value;
use api::field::{ErrorList, FieldError};
use api::object::{at, str_at};
use api::validate;
use apiserver::resource::Resource;
use base::clock::Timestamp;

use super::{GROUP, default_match, match_resources};
use crate::check::{label_selector, one_of, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, UNSET};

/// ValidatingAdmissionPolicyBinding.
#[must_use]
pub fn validating_kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "validatingadmissionpolicybindings")
        .tracks_generation()
        .needs_resource_version()
        .rules(Binding { validating: true })
}

/// MutatingAdmissionPolicyBinding, stored as upstream stores it in 1.36.
#[must_use]
pub fn mutating_kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "mutatingadmissionpolicybindings")
        .tracks_generation()
        .needs_resource_version()
        .stored_as("v1beta1")
        .rules(Binding { validating: false })
}

struct Binding {
    validating: bool,
}

impl Rules for Binding {
    fn default(&self, object: &mut Value) {
        default_match(object, &["spec", "matchResources"]);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let policy = spec.get("policyName");
        if required(policy, errors) {
            rule(policy, validate::dns1123_subdomain, errors);
        }
        param_ref(spec.get("paramRef"), errors);
        if spec.get("matchResources").is_set() {
            match_resources(spec.get("matchResources"), errors);
        }
        if self.validating {
            actions(spec.get("validationActions"), errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let param = at(object, &["spec", "paramRef"]).map_or(UNSET.to_owned(), param_text);
        vec![
            table::name(object),
            str_at(object, &["spec", "policyName"]).into(),
            param.into(),
            table::age(object, now),
        ]
    }
}

fn param_text(param: &Value) -> String {
    let (name, namespace) = (str_at(param, &["name"]), str_at(param, &["namespace"]));
    match (name, namespace) {
        ("", _) => at(param, &["selector"])
            .map_or(UNSET.to_owned(), |selector| table::selector(Some(selector))),
        (name, "") => format!("*/{name}"),
        (name, namespace) => format!("{namespace}/{name}"),
    }
}

fn param_ref(param: Field<'_>, errors: &mut ErrorList) {
    if !param.is_set() {
        return;
    }
    let (name, selector) = (param.get("name"), param.get("selector"));
    rule(name, |text| validate::path_segment(text, false), errors);
    match (name.is_empty(), selector.is_set()) {
        (false, true) => {
            let text = "name and selector are mutually exclusive";
            errors.push(param.get("name").forbidden(text));
            errors.push(param.get("selector").forbidden(text));
        }
        (true, false) => {
            errors.push(param.required("one of name or selector must be specified"));
        }
        _ => label_selector(selector, errors),
    }
    let action = param.get("parameterNotFoundAction");
    if action.is_empty() {
        errors.push(action.required(""));
    } else {
        let known = ["Deny", "Allow"];
        if !known.contains(&action.str()) {
            errors.push(FieldError::not_supported_in(action.path(), action.str(), &known));
        }
    }
}

fn actions(list: Field<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.push(list.required("at least one validation action is required"));
    }
    let mut seen: Vec<&str> = Vec::new();
    for action in list.items() {
        one_of(action, &["Audit", "Deny", "Warn"], errors);
        if seen.contains(&action.str()) {
            errors.push(action.duplicate());
        }
        seen.push(action.str());
    }
    if seen.contains(&"Deny") && seen.contains(&"Warn") {
        let value = list.value().cloned().unwrap_or_default();
        let text = "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)";
        errors.push(list.invalid_as(value, text));
    }
}
