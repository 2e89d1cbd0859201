//! FlowSchema: which requests belong to which priority level.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{int_at, set, str_at};
use api::validate;
use apiserver::resource::Resource;
use base::clock::Timestamp;

use crate::check::{one_of, required};
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("flowcontrol.apiserver.k8s.io", "flowschemas").tracks_generation().rules(FlowSchema)
}

struct FlowSchema;

const VERBS: [&str; 10] = [
    "*",
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "proxy",
    "update",
    "watch",
];

impl Rules for FlowSchema {
    fn default(&self, object: &mut Value) {
        let path = ["spec", "matchingPrecedence"];
        if int_at(object, &path).unwrap_or_default() == 0 {
            set(object, &path, 1000);
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let precedence = spec.get("matchingPrecedence");
        let value = precedence.int().unwrap_or_default();
        if value <= 0 {
            errors.push(precedence.invalid_as(value, "must be a positive value"));
        }
        if value > 10_000 {
            errors.push(precedence.invalid("must not be greater than 10000"));
        }
        if value == 1 && object.at(&["metadata", "name"]).str() != "exempt" {
            let text = "only the schema named 'exempt' may have matchingPrecedence 1";
            errors.push(precedence.invalid(text));
        }
        let method = spec.get("distinguisherMethod");
        if method.is_set() {
            one_of(method.get("type"), &["ByNamespace", "ByUser"], errors);
            required(method.get("type"), errors);
        }
        let level = spec.at(&["priorityLevelConfiguration", "name"]);
        if level.is_empty() {
            errors.push(level.required("must reference a priority level"));
        } else {
            rule(level, validate::dns1123_subdomain, errors);
        }
        for one in spec.get("rules").items() {
            policy(one, errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let dangling = table::condition(object, "Dangling").map(|one| str_at(one, &["status"]));
        vec![
            table::name(object),
            str_at(object, &["spec", "priorityLevelConfiguration", "name"]).into(),
            table::number_text(object, &["spec", "matchingPrecedence"]),
            table::text_or(object, &["spec", "distinguisherMethod", "type"], NONE),
            table::age(object, now),
            dangling.unwrap_or("?").into(),
        ]
    }
}

fn policy(policy: Field<'_>, errors: &mut ErrorList) {
    let subjects = policy.get("subjects");
    if subjects.is_empty() {
        errors.push(subjects.required("subjects must contain at least one value"));
    }
    for subject in subjects.items() {
        self::subject(subject, errors);
    }
    let (resources, others) = (policy.get("resourceRules"), policy.get("nonResourceRules"));
    if resources.is_empty() && others.is_empty() {
        let text = "at least one of resourceRules and nonResourceRules has to be non-empty";
        errors.push(policy.required(text));
    }
    for one in resources.items() {
        verbs(one.get("verbs"), errors);
        for field in ["apiGroups", "resources"] {
            star_alone(Field::get(one, field), errors);
        }
        let namespaces = one.get("namespaces");
        if namespaces.is_empty() && !one.get("clusterScope").bool() {
            let text =
                "resource rules that are not cluster scoped must supply at least one namespace";
            errors.push(namespaces.required(text));
        }
        for namespace in namespaces.items().filter(|one| one.str() != "*") {
            for text in validate::dns1123_label(namespace.str()) {
                let text =
                    format!("each member of this list must be '*' or a DNS-1123 label; {text}");
                errors.push(namespace.invalid(text));
            }
        }
    }
    for one in others.items() {
        verbs(one.get("verbs"), errors);
        star_alone(one.get("nonResourceURLs"), errors);
        for url in one.get("nonResourceURLs").items().filter(|one| one.str() != "*") {
            non_resource_url(url, errors);
        }
    }
}

fn non_resource_url(url: Field<'_>, errors: &mut ErrorList) {
    let path = url.str();
    if path.is_empty() {
        errors.push(url.invalid("must not be empty"));
        return;
    }
    if path == "/" {
        return;
    }
    if !path.starts_with('/') {
        errors.push(url.invalid("must start with slash"));
        return;
    }
    if path.contains(' ') {
        errors.push(url.invalid("must not contain white-space"));
    }
    if path.contains("//") {
        errors.push(url.invalid("must not contain double slash"));
    }
    let stars = path.matches('*').count();
    if stars > 1 || stars == 1 && !path.ends_with("/*") {
        errors.push(url.invalid("wildcard can only do suffix matching"));
    }
}

fn subject(subject: Field<'_>, errors: &mut ErrorList) {
    for (kind, field) in
        [("User", "user"), ("Group", "group"), ("ServiceAccount", "serviceAccount")]
    {
        let part = Field::get(subject, field);
        if subject.get("kind").str() == kind {
            if !part.is_set() {
                let text = format!("{field} is required when subject kind is '{kind}'");
                errors.push(part.required(&text));
                continue;
            }
            required(part.get("name"), errors);
            if kind == "ServiceAccount" {
                if part.get("name").str() != "*" {
                    rule(part.get("name"), validate::dns1123_subdomain, errors);
                }
                rule(part.get("namespace"), validate::dns1123_label, errors);
            }
            if kind == "ServiceAccount" && part.get("namespace").is_empty() {
                errors.push(
                    part.get("namespace").required("must specify namespace for service account"),
                );
            }
        } else if part.is_set() {
            let text = format!("{field} is forbidden when subject kind is not '{kind}'");
            errors.push(part.forbidden(text));
        }
    }
    if !matches!(subject.get("kind").str(), "User" | "Group" | "ServiceAccount") {
        errors.push(subject.get("kind").not_supported(&["Group", "ServiceAccount", "User"]));
    }
}

fn verbs(list: Field<'_>, errors: &mut ErrorList) {
    star_alone(list, errors);
    let alone = list.len() == 1 && list.index(0).str() == "*";
    if !alone && list.items().any(|verb| !VERBS.contains(&verb.str())) {
        let value = list.value().cloned().unwrap_or_default();
        errors.push(list.not_supported_as(value, &VERBS));
    }
}

fn star_alone(list: Field<'_>, errors: &mut ErrorList) {
    if list.is_empty() {
        errors.push(list.required("must contain at least one value"));
    } else if list.len() > 1 && list.items().any(|one| one.str() == "*") {
        let value = list.value().cloned().unwrap_or_default();
        errors.push(list.invalid_as(value, "if '*' is present, must not specify other values"));
    }
}
