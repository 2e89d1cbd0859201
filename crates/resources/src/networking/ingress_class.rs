//! IngressClass: which controller serves an Ingress.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{annotation, at, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use crate::check::{domain_prefixed_path, immutable, one_of, required};
use crate::core::pod::defaults::set_text;
use crate::cursor::{Field, given, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, NONE};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("networking.k8s.io", "ingressclasses").tracks_generation().rules(IngressClass)
}

struct IngressClass;

impl Rules for IngressClass {
    fn default(&self, object: &mut Value) {
        if at(object, &["spec", "parameters"]).is_some() {
            set_text(object, &["spec", "parameters", "scope"], "Cluster");
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        let controller = spec.get("controller");
        if controller.str().len() > 250 {
            errors.push(controller.too_long(250));
        }
        if !controller.is_empty() {
            domain_prefixed_path(controller, errors);
        }
        parameters(spec.get("parameters"), errors);
    }

    fn validate_create(&self, _ctx: &WriteContext<'_>, new: Field<'_>, errors: &mut ErrorList) {
        required(new.at(&["spec", "controller"]), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        immutable(new.at(&["spec", "controller"]), old.at(&["spec", "controller"]), errors);
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let name = str_at(object, &["metadata", "name"]);
        let default =
            annotation(object, "ingressclass.kubernetes.io/is-default-class") == Some("true");
        let parameters = at(object, &["spec", "parameters"]).map(|parameters| {
            let group = str_at(parameters, &["apiGroup"]);
            let dot = if group.is_empty() { "" } else { "." };
            let (kind, name) = (str_at(parameters, &["kind"]), str_at(parameters, &["name"]));
            format!("{kind}{dot}{group}/{name}")
        });
        vec![
            if default { format!("{name} (default)").into() } else { name.into() },
            str_at(object, &["spec", "controller"]).into(),
            parameters.unwrap_or_else(|| NONE.to_owned()).into(),
            table::age(object, now),
        ]
    }
}

fn parameters(parameters: Field<'_>, errors: &mut ErrorList) {
    if !parameters.is_set() {
        return;
    }
    given(parameters.get("apiGroup"), validate::dns1123_subdomain, errors);
    for field in ["kind", "name"] {
        let (own, text) = (Field::get(parameters, field), format!("{field} is required"));
        if own.is_empty() {
            errors.push(own.required(&text));
        }
        rule(own, |text| validate::path_segment(text, false), errors);
    }
    let (scope, namespace) = (parameters.get("scope"), parameters.get("namespace"));
    if scope.is_empty() {
        errors.push(scope.required(""));
    }
    one_of(scope, &["Cluster", "Namespace"], errors);
    match scope.str() {
        "Namespace" => {
            if namespace.is_empty() {
                errors.push(namespace.required("`parameters.scope` is set to 'Namespace'"));
            } else {
                rule(namespace, validate::dns1123_label, errors);
            }
        }
        "Cluster" if namespace.is_set() => {
            errors.push(namespace.forbidden("`parameters.scope` is set to 'Cluster'"));
        }
        _ => {}
    }
}
