//! ValidatingAdmissionPolicy and MutatingAdmissionPolicy: rules in CEL about what is written.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, set_default, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{
    GROUP, default_match, expressions, match_conditions, match_resources, param_kind, variables,
};
use crate::check::{self, one_of, required};
use crate::cursor::Field;
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, UNSET};

/// ValidatingAdmissionPolicy.
#[must_use]
pub fn validating_kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "validatingadmissionpolicies")
        .tracks_generation()
        .needs_resource_version()
        .rules(Policy { list: "validations" })
}

/// MutatingAdmissionPolicy, stored as upstream stores it in 1.36.
#[must_use]
pub fn mutating_kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "mutatingadmissionpolicies")
        .tracks_generation()
        .needs_resource_version()
        .stored_as("v1beta1")
        .rules(Policy { list: "mutations" })
}

struct Policy {
    /// What a policy holds: `validations` or `mutations`.
    list: &'static str,
}

impl Rules for Policy {
    fn default(&self, object: &mut Value) {
        set_default(object, &["spec", "failurePolicy"], "Fail");
        default_match(object, &["spec", "matchConstraints"]);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        one_of(spec.get("failurePolicy"), &["Fail", "Ignore"], errors);
        param_kind(spec.get("paramKind"), errors);
        let constraints = spec.get("matchConstraints");
        if constraints.is_set() {
            match_resources(constraints, errors);
            if constraints.get("resourceRules").is_empty() {
                errors.push(constraints.get("resourceRules").required(""));
            }
        } else {
            errors.push(constraints.required(""));
        }
        let params = spec.get("paramKind").is_set();
        match_conditions(spec.get("matchConditions"), params, errors);
        variables(spec.get("variables"), errors);
        if self.list == "validations" {
            validations(spec, object.at(&["metadata", "name"]).str(), errors);
        } else {
            mutations(spec, errors);
        }
        expressions::policy(spec, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        check::conditions(new.at(&["status", "conditions"]), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let count = list_at(object, &["spec", self.list]).len();
        let param = at(object, &["spec", "paramKind"]).map_or(UNSET.to_owned(), |kind| {
            format!("{}/{}", str_at(kind, &["apiVersion"]), str_at(kind, &["kind"]))
        });
        vec![table::name(object), count.into(), param.into(), table::age(object, now)]
    }
}

fn validations(spec: Field<'_>, policy: &str, errors: &mut ErrorList) {
    let (list, annotations) = (spec.get("validations"), spec.get("auditAnnotations"));
    if list.is_empty() && annotations.is_empty() {
        let text = "validations or auditAnnotations must contain at least one item";
        errors.push(list.required(text));
        errors.push(annotations.required(text));
    }
    for validation in list.items() {
        let expression = validation.get("expression");
        if expression.str().trim().is_empty() {
            errors.push(expression.required("expression is not specified"));
        }
        let message = validation.get("message");
        let text = message.str().trim();
        if !message.is_empty() && text.is_empty() {
            errors.push(message.invalid("must be non-empty if specified"));
        } else if message.str().contains('\n') {
            errors.push(message.invalid("must not contain line breaks"));
        } else if expression.str().contains('\n') && message.is_empty() {
            errors.push(
                message.required("message must be specified if expression contains line breaks"),
            );
        }
        let known = ["Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"];
        let reason = validation.get("reason");
        if !reason.is_empty() && !known.contains(&reason.str()) {
            // Upstream takes a fourth, and does not say so.
            errors.push(reason.not_supported(&known[..3]));
        }
    }
    if annotations.len() > 20 {
        errors.push(annotations.too_many(20));
    }
    let mut seen: Vec<&str> = Vec::new();
    for annotation in annotations.items() {
        let key = annotation.get("key");
        if required(key, errors) {
            let whole = format!("{policy}/{}", key.str());
            for text in validate::qualified_name(&whole) {
                errors.push(key.invalid_as(whole.as_str(), text));
            }
            if seen.contains(&key.str()) {
                errors.push(key.duplicate());
            }
            seen.push(key.str());
        }
        if annotation.get("valueExpression").str().trim().is_empty() {
            errors.push(
                annotation.get("valueExpression").required("valueExpression is not specified"),
            );
        }
    }
}

fn mutations(spec: Field<'_>, errors: &mut ErrorList) {
    // What goes cannot be changed any more.
    let rules = spec.at(&["matchConstraints", "resourceRules"]);
    let goes = |rule: Field<'_>| rule.get("operations").items().any(|one| one.str() == "DELETE");
    if rules.items().any(goes) {
        let kinds = ["*", "CONNECT", "CREATE", "UPDATE"];
        errors.push(rules.get("operations").not_supported_as("DELETE", &kinds));
    }
    let list = spec.get("mutations");
    if list.is_empty() {
        errors.push(list.required("mutations must contain at least one item"));
    }
    for mutation in list.items() {
        let (own, other) = match mutation.get("patchType").str() {
            "ApplyConfiguration" => ("applyConfiguration", "jsonPatch"),
            "JSONPatch" => ("jsonPatch", "applyConfiguration"),
            "" => {
                errors.push(mutation.get("patchType").required(""));
                continue;
            }
            _ => {
                let kinds = ["ApplyConfiguration", "JSONPatch"];
                errors.push(mutation.get("patchType").not_supported(&kinds));
                continue;
            }
        };
        let kind = mutation.get("patchType").str();
        let source = Field::get(mutation, own);
        if !source.is_set() {
            errors.push(source.required(&format!("must be specified when patchType is {kind}")));
        } else if source.get("expression").str().trim().is_empty() {
            errors.push(source.get("expression").required("expression is not specified"));
        }
        let other = Field::get(mutation, other);
        if other.is_set() {
            let value = other.value().cloned().unwrap_or_default();
            let text = format!("must not be specified when patchType is {kind}");
            errors.push(other.invalid_as(value, text));
        }
    }
    let policy = spec.get("reinvocationPolicy");
    if policy.is_empty() {
        errors.push(policy.required(""));
    } else {
        one_of(policy, &["IfNeeded", "Never"], errors);
    }
}
