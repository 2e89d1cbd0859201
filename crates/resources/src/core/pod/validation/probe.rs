//! Probes and lifecycle hooks.

use api::Value;
use api::field::ErrorList;
use api::validate;

use crate::check::{non_negatives, one_of, required};
use crate::cursor::{Field, rule};

/// What is wrong with a container's probes.
pub(crate) fn probes(container: Field<'_>, _grace: i64, errors: &mut ErrorList) {
    for name in ["livenessProbe", "startupProbe", "readinessProbe"] {
        let probe = Field::get(container, name);
        if !probe.is_set() {
            continue;
        }
        handler(probe, &["exec", "httpGet", "tcpSocket", "grpc"], errors);
        let numbers = [
            "initialDelaySeconds",
            "timeoutSeconds",
            "periodSeconds",
            "successThreshold",
            "failureThreshold",
        ];
        non_negatives(probe, &numbers, errors);
        let grace = probe.get("terminationGracePeriodSeconds");
        if name == "readinessProbe" {
            if grace.is_set() {
                errors.push(grace.invalid("must not be set for readinessProbes"));
            }
        } else {
            if grace.int().is_some_and(|value| value <= 0) {
                errors.push(grace.invalid("must be greater than 0"));
            }
            let threshold = probe.get("successThreshold");
            if threshold.int().unwrap_or_default() != 1 {
                errors.push(threshold.invalid_as(threshold.int().unwrap_or_default(), "must be 1"));
            }
        }
    }
}

/// What is wrong with a container's lifecycle.
pub(crate) fn lifecycle(lifecycle: Field<'_>, grace: i64, spec: Field<'_>, errors: &mut ErrorList) {
    for name in ["postStart", "preStop"] {
        let hook = Field::get(lifecycle, name);
        if !hook.is_set() {
            continue;
        }
        handler(hook, &["exec", "httpGet", "tcpSocket", "sleep"], errors);
        let seconds = hook.at(&["sleep", "seconds"]);
        if hook.get("sleep").is_set() {
            let value = seconds.int().unwrap_or_default();
            if value < 0 || value > grace {
                let text = format!(
                    "must be non-negative and less than terminationGracePeriodSeconds ({grace})"
                );
                errors.push(hook.get("sleep").invalid_as(value, text));
            }
        }
    }
    let signal = lifecycle.get("stopSignal");
    if !signal.is_empty() && spec.at(&["os", "name"]).is_empty() {
        errors.push(signal.forbidden("may not be set for containers with empty `spec.os.name`"));
    }
}

fn handler(field: Field<'_>, kinds: &[&'static str], errors: &mut ErrorList) {
    let mut handlers = 0;
    for kind in kinds {
        let action = Field::get(field, kind);
        if !action.is_set() {
            continue;
        }
        handlers += 1;
        if handlers > 1 {
            errors.push(action.forbidden("may not specify more than 1 handler type"));
            continue;
        }
        match *kind {
            "exec" => {
                required(action.get("command"), errors);
            }
            "httpGet" => http_get(action, errors),
            "tcpSocket" => port(action.get("port"), errors),
            "grpc" => {
                let number = action.get("port");
                let value = number.int().unwrap_or_default();
                errors.extend(
                    validate::port_number(value).into_iter().map(|text| number.invalid(text)),
                );
            }
            _ => {}
        }
    }
    if handlers == 0 {
        errors.push(field.required("must specify a handler type"));
    }
}

fn http_get(action: Field<'_>, errors: &mut ErrorList) {
    required(action.get("path"), errors);
    port(action.get("port"), errors);
    one_of(action.get("scheme"), &["HTTP", "HTTPS"], errors);
    let headers = action.get("httpHeaders");
    for header in headers.items() {
        let name = header.get("name").str();
        errors.extend(
            validate::http_header_name(name).into_iter().map(|text| headers.invalid_as(name, text)),
        );
    }
}

/// A port by number or by name.
pub(crate) fn port(field: Field<'_>, errors: &mut ErrorList) {
    match field.value() {
        Some(Value::String(_)) => {
            if field.is_empty() {
                errors.extend(
                    validate::port_name("").into_iter().map(|text| field.invalid_as("", text)),
                );
            } else {
                rule(field, validate::port_name, errors);
            }
        }
        _ => {
            let value = field.int().unwrap_or_default();
            errors.extend(
                validate::port_number(value).into_iter().map(|text| field.invalid_as(value, text)),
            );
        }
    }
}
