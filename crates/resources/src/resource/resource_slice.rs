//! ResourceSlice: devices of a driver's pool.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::str_at;
use api::status::ApiResult;
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;

use super::{GROUP, convert};
use crate::check::{immutable, non_negative, required};
use crate::core::pod::validation::scheduling::node_selector;
use crate::core::pod::validation::volume::driver_name;
use crate::cursor::{Field, rule};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table;

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of(GROUP, "resourceslices")
        .tracks_generation()
        .selectable(&["spec.nodeName", "spec.driver"])
        .rules(Slice)
}

struct Slice;

impl Rules for Slice {
    fn convert(&self, mut object: Value, from: &str, to: &str) -> ApiResult<Value> {
        if from == "v1beta1" {
            convert::slice_to_v1(&mut object);
        }
        if to == "v1beta1" {
            convert::slice_to_v1beta1(&mut object);
        }
        Ok(object)
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        if required(spec.get("driver"), errors) {
            driver_name(spec.get("driver"), errors);
        }
        let pool = spec.get("pool");
        if required(pool.get("name"), errors) {
            for part in pool.get("name").str().split('/') {
                for text in validate::dns1123_subdomain(part) {
                    errors.push(pool.get("name").invalid(text));
                }
            }
        }
        non_negative(pool.get("generation"), errors);
        let count = pool.get("resourceSliceCount");
        if count.int().unwrap_or_default() <= 0 {
            let value = count.int().unwrap_or_default();
            errors.push(count.invalid_as(value, "must be greater than zero"));
        }
        place(spec, errors);
        let devices = spec.get("devices");
        if devices.len() > 128 {
            errors.push(devices.too_many(128));
        }
        let mut seen: Vec<&str> = Vec::new();
        for device in devices.items() {
            let name = device.get("name");
            if required(name, errors) {
                rule(name, validate::dns1123_label, errors);
                if seen.contains(&name.str()) {
                    errors.push(name.duplicate());
                }
                seen.push(name.str());
            }
            attributes(device, errors);
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        for path in [&["spec", "nodeName"][..], &["spec", "driver"], &["spec", "pool", "name"]] {
            immutable(new.at(path), old.at(path), errors);
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let text = |path: &[&str]| Value::from(str_at(object, path));
        vec![
            table::name(object),
            text(&["spec", "nodeName"]),
            text(&["spec", "driver"]),
            text(&["spec", "pool", "name"]),
            table::age(object, now),
        ]
    }
}

/// Where the devices are: exactly one way to say it.
fn place(spec: Field<'_>, errors: &mut ErrorList) {
    let ways = ["nodeName", "nodeSelector", "allNodes", "perDeviceNodeSelection"];
    let given: Vec<&str> = ways
        .into_iter()
        .filter(|way| {
            let field = Field::get(spec, way);
            field.bool() || (!field.is_empty() && field.value() != Some(&Value::Bool(false)))
        })
        .collect();
    if given.is_empty() {
        let text = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required";
        errors.push(spec.required(text));
    } else if given.len() > 1 {
        let shown: Vec<String> = given.iter().map(|way| format!("`{way}`")).collect();
        let text = "exactly one of `nodeName`, `nodeSelector`, `allNodes`, `perDeviceNodeSelection` is required, but multiple fields are set";
        errors.push(spec.invalid_as(format!("{{{}}}", shown.join(", ")), text));
    }
    rule(spec.get("nodeName"), validate::dns1123_subdomain, errors);
    node_selector(spec.get("nodeSelector"), errors);
}

fn attributes(device: Field<'_>, errors: &mut ErrorList) {
    let (attributes, capacity) = (device.get("attributes"), device.get("capacity"));
    if attributes.len() + capacity.len() > 32 {
        let path = attributes.path();
        let total = attributes.len() + capacity.len();
        errors.push(api::field::FieldError::too_many(path, total, 32));
    }
    for (name, value) in attributes.entries() {
        let kinds = ["bool", "int", "string", "version"];
        match kinds.iter().filter(|kind| value.has(kind)).count() {
            1 => {}
            0 => errors.push(value.required("exactly one value must be specified")),
            _ => {
                let shown = value.value().cloned().unwrap_or_default();
                errors.push(value.invalid_as(shown, "exactly one value must be specified"));
            }
        }
        let id = name.rsplit('/').next().unwrap_or(name);
        let mut bytes = id.bytes();
        let fits = bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
            && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if !fits || id.len() > 32 {
            let text = "a valid C identifier must start with alphabetic character or '_', followed by a string of alphanumeric characters or '_' (e.g. 'my_name',  or 'MY_NAME',  or 'MyName', regex used for validation is '[A-Za-z_][A-Za-z0-9_]*')";
            errors.push(value.invalid_as(name, text));
        }
    }
}
