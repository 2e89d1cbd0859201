//! ResourceQuota: how much a namespace may use.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{self, IMMUTABLE, immutable, one_of, required};
use crate::cursor::{Field, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "resourcequotas").rules(ResourceQuota)
}

struct ResourceQuota;

const SCOPES: [&str; 7] = [
    "BestEffort",
    "CrossNamespacePodAffinity",
    "NotBestEffort",
    "NotTerminating",
    "PriorityClass",
    "Terminating",
    "VolumeAttributesClass",
];

const STANDARD: [&str; 16] = [
    "cpu",
    "memory",
    "ephemeral-storage",
    "requests.cpu",
    "requests.memory",
    "requests.storage",
    "requests.ephemeral-storage",
    "limits.cpu",
    "limits.memory",
    "limits.ephemeral-storage",
    "pods",
    "resourcequotas",
    "services",
    "replicationcontrollers",
    "secrets",
    "configmaps",
];

fn is_standard(name: &str) -> bool {
    STANDARD.contains(&name)
        || matches!(
            name,
            "persistentvolumeclaims" | "services.nodeports" | "services.loadbalancers"
        )
        || name.starts_with("hugepages-")
        || name.starts_with("requests.hugepages-")
}

/// The name of a resource that a quota may limit; errors are shown at `field`.
fn resource_name(name: &str, field: Field<'_>, errors: &mut ErrorList) {
    for text in validate::qualified_name(name) {
        errors.push(field.invalid_as(name, text));
    }
    if !name.contains('/') && !is_standard(name) {
        errors.push(field.invalid_as(name, "must be a standard resource for quota"));
    }
}

fn quantities(list: Field<'_>, errors: &mut ErrorList) {
    for (name, value) in list.entries() {
        resource_name(name, value, errors);
        check::resource_quantity(name, value, errors);
    }
}

/// Whether a scope may limit a resource: pods' scopes limit what pods use.
fn fits(scope: &str, resource: &str) -> bool {
    let pods = matches!(
        resource,
        "pods"
            | "cpu"
            | "memory"
            | "requests.cpu"
            | "requests.memory"
            | "limits.cpu"
            | "limits.memory"
    ) || resource == "count/pods";
    match scope {
        "BestEffort" => resource == "pods" || resource == "count/pods",
        "NotBestEffort"
        | "Terminating"
        | "NotTerminating"
        | "PriorityClass"
        | "CrossNamespacePodAffinity" => {
            pods || resource.contains("ephemeral-storage")
                || resource.contains("hugepages-")
                || resource.starts_with("requests.")
        }
        _ => true,
    }
}

fn scopes(spec: Field<'_>, errors: &mut ErrorList) {
    let list = spec.get("scopes");
    let shown = || list.value().cloned().unwrap_or_default();
    let hard: Vec<&str> = spec.get("hard").entries().map(|(name, _)| name).collect();
    let has = |name: &str| list.items().any(|scope| scope.str() == name);
    for scope in list.items() {
        if !SCOPES.contains(&scope.str()) {
            errors.push(list.invalid_as(shown(), "unsupported scope"));
        }
        for resource in &hard {
            if SCOPES.contains(&scope.str()) && !fits(scope.str(), resource) {
                errors.push(list.invalid_as(shown(), "unsupported scope applied to resource"));
            }
        }
    }
    for (a, b) in [("BestEffort", "NotBestEffort"), ("Terminating", "NotTerminating")] {
        if has(a) && has(b) {
            errors.push(list.invalid_as(shown(), "conflicting scopes"));
        }
    }
    for expression in spec.at(&["scopeSelector", "matchExpressions"]).items() {
        let (name, operator, values) =
            (expression.get("scopeName"), expression.get("operator"), expression.get("values"));
        one_of(name, &SCOPES, errors);
        required(name, errors);
        match operator.str() {
            "In" | "NotIn" if values.is_empty() => {
                let text = "must be at least one value when `operator` is 'In' or 'NotIn' for scope selector";
                errors.push(values.required(text));
            }
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let text = "must be no value when `operator` is 'Exists' or 'DoesNotExist' for scope selector";
                errors.push(values.invalid_as(values.value().cloned().unwrap_or_default(), text));
            }
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(operator.invalid("not a valid selector operator")),
        }
    }
}

impl Rules for ResourceQuota {
    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        quantities(spec.get("hard"), errors);
        scopes(spec, errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let sorted = |field: Field<'_>| {
            let mut all: Vec<String> = field.items().map(|one| one.str().to_owned()).collect();
            all.sort();
            all
        };
        let (scopes, before) = (new.at(&["spec", "scopes"]), old.at(&["spec", "scopes"]));
        if sorted(scopes) != sorted(before) {
            errors.push(scopes.invalid_as(scopes.value().cloned().unwrap_or_default(), IMMUTABLE));
        }
        let path = ["spec", "scopeSelector"];
        if !same(new.at(&path).value(), old.at(&path).value()) {
            immutable(new.at(&path), old.at(&path), errors);
        }
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        quantities(new.at(&["status", "hard"]), errors);
        quantities(new.at(&["status", "used"]), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let hard = at(object, &["status", "hard"]).and_then(Value::as_object);
        let (mut requests, mut limits): (Vec<String>, Vec<String>) = (Vec::new(), Vec::new());
        for (name, value) in hard.into_iter().flatten() {
            let used = match str_at(object, &["status", "used", name]) {
                "" => "0",
                used => used,
            };
            let text = format!("{name}: {used}/{}", table::plain(value));
            if name.starts_with("limits.") { limits.push(text) } else { requests.push(text) }
        }
        vec![
            table::name(object),
            requests.join(", ").into(),
            limits.join(", ").into(),
            table::age(object, now),
        ]
    }
}
