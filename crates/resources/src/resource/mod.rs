//! `resource.k8s.io`: devices, and claims to them (dynamic resource allocation).

mod convert;
pub mod device_class;
pub mod device_taint_rule;
pub mod resource_claim;
pub mod resource_pool_status_request;
pub mod resource_slice;

use api::Value;
use api::field::ErrorList;
use api::object::{int_at, set, str_at};
use cel::devices::SelectorError;

use crate::check::required;
use crate::core::pod::defaults::{each, set_text};
use crate::cursor::Field;

/// The group.
pub(crate) const GROUP: &str = "resource.k8s.io";

/// Defaults of one request for devices.
fn default_request(request: &mut Value) {
    set_text(request, &["allocationMode"], "ExactCount");
    let exact = str_at(request, &["allocationMode"]) == "ExactCount";
    if exact && int_at(request, &["count"]).unwrap_or_default() == 0 {
        set(request, &["count"], 1);
    }
    each(request, &["tolerations"], |toleration| set_text(toleration, &["operator"], "Equal"));
}

/// Defaults of the `devices` of a claim's spec at `path`.
pub(crate) fn default_claim(object: &mut Value, path: &[&str]) {
    let requests: Vec<&str> = path.iter().copied().chain(["devices", "requests"]).collect();
    each(object, &requests, |request| {
        if request["exactly"].is_object() {
            default_request(&mut request["exactly"]);
        }
        each(request, &["firstAvailable"], default_request);
    });
}

/// Selectors by CEL expression.
pub(crate) fn selectors(list: Field<'_>, errors: &mut ErrorList) {
    if list.len() > 32 {
        errors.push(list.too_many(32));
    }
    for selector in list.items() {
        let cel = selector.get("cel");
        if !cel.is_set() {
            errors.push(cel.required(""));
        } else if required(cel.get("expression"), errors) {
            expression(cel.get("expression"), errors);
        }
    }
}

fn expression(field: Field<'_>, errors: &mut ErrorList) {
    if field.str().len() > 10 * 1024 {
        errors.push(field.too_long(10 * 1024));
        return;
    }
    match cel::devices::compile(field.str()) {
        Ok(_) => {}
        Err(error @ SelectorError::Invalid(_)) => errors.push(field.invalid(error.to_string())),
        Err(error @ SelectorError::TooExpensive) => errors.push(field.forbidden(error.to_string())),
    }
}

/// Configuration for drivers.
pub(crate) fn configuration(list: Field<'_>, errors: &mut ErrorList) {
    if list.len() > 32 {
        errors.push(list.too_many(32));
    }
    for one in list.items() {
        let opaque = one.get("opaque");
        if !opaque.is_set() {
            errors.push(opaque.required(""));
            continue;
        }
        if required(opaque.get("driver"), errors) {
            crate::core::pod::validation::volume::driver_name(opaque.get("driver"), errors);
        }
        if !opaque.get("parameters").is_set() {
            errors.push(opaque.get("parameters").required(""));
        }
    }
}
