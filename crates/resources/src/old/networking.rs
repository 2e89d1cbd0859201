//! Ingress of `extensions/v1beta1` and `networking.k8s.io/v1beta1`: flat backends, and paths that
//! need not say how they match.

use api::Value;
use api::object::{at, remove, set_default};
use serde_json::json;

use super::{items, rename};

pub(super) fn to_current(ingress: &mut Value) {
    rename(ingress, "backend", "defaultBackend");
    if let Some(backend) = ingress["spec"].get_mut("defaultBackend") {
        nest(backend);
    }
    for rule in items(ingress, &["spec", "rules"]) {
        for path in items(rule, &["http", "paths"]) {
            set_default(path, &["pathType"], "ImplementationSpecific");
            if let Some(backend) = path.get_mut("backend") {
                nest(backend);
            }
        }
    }
}

pub(super) fn from_current(ingress: &mut Value) {
    rename(ingress, "defaultBackend", "backend");
    if let Some(backend) = ingress["spec"].get_mut("backend") {
        flatten(backend);
    }
    for rule in items(ingress, &["spec", "rules"]) {
        for path in items(rule, &["http", "paths"]) {
            if let Some(backend) = path.get_mut("backend") {
                flatten(backend);
            }
        }
    }
}

/// `serviceName`, `servicePort` → `service`.
fn nest(backend: &mut Value) {
    let name = remove(backend, &["serviceName"]).filter(|name| *name != "" && !name.is_null());
    let port = remove(backend, &["servicePort"]).filter(|port| !port.is_null());
    if name.is_none() && port.is_none() {
        return;
    }
    let mut service = json!({ "name": name.unwrap_or_default() });
    match port {
        Some(Value::String(port)) if !port.is_empty() => service["port"] = json!({ "name": port }),
        Some(port @ Value::Number(_)) => service["port"] = json!({ "number": port }),
        _ => {}
    }
    backend["service"] = service;
}

fn flatten(backend: &mut Value) {
    let Some(service) = remove(backend, &["service"]).filter(Value::is_object) else { return };
    if let Some(name) = at(&service, &["name"]) {
        backend["serviceName"] = name.clone();
    }
    let port = at(&service, &["port", "name"]).or_else(|| at(&service, &["port", "number"]));
    if let Some(port) = port {
        backend["servicePort"] = port.clone();
    }
}
