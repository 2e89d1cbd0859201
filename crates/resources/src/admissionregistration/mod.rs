//! `admissionregistration.k8s.io`: who else has a say in what is written.

pub mod admission_policy;
mod expressions;
pub mod policy_binding;
pub mod webhook_configuration;

use api::Value;
use api::field::ErrorList;
use api::object::{at, set_default};
use api::validate;
use serde_json::json;

use crate::check::{label_selector, one_of, required};
use crate::cursor::{Field, rule};

/// The group.
pub(crate) const GROUP: &str = "admissionregistration.k8s.io";

const OPERATIONS: [&str; 5] = ["*", "CONNECT", "CREATE", "DELETE", "UPDATE"];
const SCOPES: [&str; 3] = ["*", "Cluster", "Namespaced"];

/// Defaults of `matchConstraints` and `matchResources`.
pub(crate) fn default_match(object: &mut Value, path: &[&str]) {
    if at(object, path).is_none() {
        return;
    }
    let child = |field| -> Vec<&str> { path.iter().copied().chain([field]).collect() };
    set_default(object, &child("matchPolicy"), "Equivalent");
    set_default(object, &child("namespaceSelector"), json!({}));
    set_default(object, &child("objectSelector"), json!({}));
    for list in ["resourceRules", "excludeResourceRules"] {
        crate::core::pod::defaults::each(object, &child(list), |rule| {
            set_default(rule, &["scope"], "*");
        });
    }
}

/// A rule: operations on resources of groups and versions.
pub(crate) fn rule_with_operations(rule: Field<'_>, errors: &mut ErrorList) {
    let operations = rule.get("operations");
    if operations.is_empty() {
        errors.push(operations.required(""));
    }
    let star = operations.items().any(|one| one.str() == "*");
    if operations.len() > 1 && star {
        let value = operations.value().cloned().unwrap_or_default();
        let text = "if '*' is present, must not specify other operations";
        errors.push(operations.invalid_as(value, text));
    }
    for operation in operations.items() {
        if !OPERATIONS.contains(&operation.str()) {
            errors.push(operation.not_supported(&OPERATIONS));
        }
    }
    for field in ["apiGroups", "apiVersions"] {
        stars_alone(Field::get(rule, field), errors);
    }
    for version in rule.get("apiVersions").items() {
        if version.is_empty() {
            errors.push(version.required(""));
        }
    }
    resources(rule.get("resources"), errors);
    one_of(rule.get("scope"), &SCOPES, errors);
}

fn stars_alone(list: Field<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.push(list.required(""));
    }
    if list.len() > 1 && list.items().any(|one| one.str() == "*") {
        let name = list.path().to_string();
        let name = name.rsplit('.').next().unwrap_or_default();
        let what = if name == "apiGroups" { "API groups" } else { "API versions" };
        let value = list.value().cloned().unwrap_or_default();
        let text = format!("if '*' is present, must not specify other {what}");
        errors.push(list.invalid_as(value, text));
    }
}

fn resources(list: Field<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.push(list.required(""));
    }
    let has = |text: &str| list.items().any(|one| one.str() == text);
    for resource in list.items() {
        let text = resource.str();
        if text.is_empty() {
            errors.push(resource.required(""));
        }
        let Some((name, sub)) = text.split_once('/') else { continue };
        if name != "*" && has(&format!("{name}/*")) && sub != "*" {
            let why = format!("if '{name}/*' is present, must not specify {text}");
            errors.push(resource.invalid(why));
        }
        if name != "*" && sub != "*" && has(&format!("*/{sub}")) {
            let why = format!("if '*/{sub}' is present, must not specify {text}");
            errors.push(resource.invalid(why));
        }
    }
    let value = || list.value().cloned().unwrap_or_default();
    if list.len() > 1 && has("*/*") {
        let text = "if '*/*' is present, must not specify other resources";
        errors.push(list.invalid_as(value(), text));
    }
    if has("*") && list.items().any(|one| one.str() != "*" && !one.str().contains('/')) {
        let text = "if '*' is present, must not specify other resources without subresources";
        errors.push(list.invalid_as(value(), text));
    }
}

/// `matchConstraints` and `matchResources`.
pub(crate) fn match_resources(resources: Field<'_>, errors: &mut ErrorList) {
    one_of(resources.get("matchPolicy"), &["Equivalent", "Exact"], errors);
    for field in ["namespaceSelector", "objectSelector"] {
        let selector = Field::get(resources, field);
        if selector.is_set() {
            label_selector(selector, errors);
        } else {
            errors.push(selector.required(""));
        }
    }
    for list in ["resourceRules", "excludeResourceRules"] {
        for one in Field::get(resources, list).items() {
            rule_with_operations(one, errors);
            let names = one.get("resourceNames");
            let mut seen: Vec<&str> = Vec::new();
            for name in names.items() {
                rule(name, |text| validate::path_segment(text, false), errors);
                if seen.contains(&name.str()) {
                    errors.push(name.duplicate());
                }
                seen.push(name.str());
            }
        }
    }
}

/// Conditions in CEL: named, unique, with an expression that compiles; `params` is whether it may
/// speak of parameters.
pub(crate) fn match_conditions(list: Field<'_>, params: bool, errors: &mut ErrorList) {
    if list.len() > 64 {
        errors.push(list.too_many(64));
    }
    let mut seen: Vec<&str> = Vec::new();
    for condition in list.items() {
        if condition.get("expression").str().trim().is_empty() {
            errors.push(condition.get("expression").required(""));
        }
        let name = condition.get("name");
        if required(name, errors) {
            rule(name, validate::qualified_name, errors);
            if seen.contains(&name.str()) {
                errors.push(name.duplicate());
            }
            seen.push(name.str());
        }
    }
    expressions::match_conditions(list, params, errors);
}

/// Variables in CEL: identifiers with an expression.
pub(crate) fn variables(list: Field<'_>, errors: &mut ErrorList) {
    for variable in list.items() {
        let name = variable.get("name");
        if name.str().trim().is_empty() {
            errors.push(name.required("name is not specified"));
        } else {
            let mut bytes = name.str().bytes();
            let fits =
                bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
                    && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
            if !fits {
                errors.push(name.invalid("must be a valid CEL identifier"));
            }
        }
        if variable.get("expression").str().trim().is_empty() {
            errors.push(variable.get("expression").required("expression is not specified"));
        }
    }
}

/// `paramKind`: a version and a kind.
pub(crate) fn param_kind(param: Field<'_>, errors: &mut ErrorList) {
    if !param.is_set() {
        return;
    }
    let (version, kind) = (param.get("apiVersion"), param.get("kind"));
    if required(version, errors) {
        if version.str().matches('/').count() > 1 {
            let text = format!("unexpected GroupVersion string: {}", version.str());
            errors.push(version.invalid(text));
        } else {
            let (group, name) = api::names::split_api_version(version.str());
            let found = match group {
                "" => Vec::new(),
                group => validate::dns1123_subdomain(group),
            };
            for text in found.into_iter().chain(validate::dns1035_label(name)) {
                errors.push(version.invalid(text));
            }
        }
    }
    if required(kind, errors) {
        for text in validate::dns1035_label(&kind.str().to_lowercase()) {
            let text = format!("may have mixed case, but should otherwise match: {text}");
            errors.push(kind.invalid(text));
        }
    }
}
