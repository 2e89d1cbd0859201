//! PersistentVolume: a piece of storage.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, list_at, remove, set, set_default, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::{Timestamp, rfc3339_seconds};
use serde_json::json;

use super::persistent_volume_claim::{access_mode_text, access_modes, class_of};
use crate::check::{self, immutable, one_of, quantity, required};
use crate::core::pod::defaults::{set_text, volume_source};
use crate::core::pod::validation::scheduling::node_selector;
use crate::core::pod::validation::volume::{driver_name, shared_source};
use crate::core::pod::warnings;
use crate::cursor::{Field, rule, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, UNSET};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "persistentvolumes").rules(Volume)
}

struct Volume;

/// The fields of the spec that are no source.
const PLAIN: [&str; 9] = [
    "capacity",
    "accessModes",
    "claimRef",
    "persistentVolumeReclaimPolicy",
    "storageClassName",
    "mountOptions",
    "volumeMode",
    "nodeAffinity",
    "volumeAttributesClassName",
];

impl Rules for Volume {
    fn default(&self, object: &mut Value) {
        set_text(object, &["status", "phase"], "Pending");
        set_text(object, &["spec", "persistentVolumeReclaimPolicy"], "Retain");
        set_default(object, &["spec", "volumeMode"], "Filesystem");
        if object["spec"].is_object() {
            volume_source(&mut object["spec"]);
            if object["spec"]["hostPath"].is_object() {
                set_default(object, &["spec", "hostPath", "type"], "");
            }
        }
    }

    fn prepare_create(&self, ctx: &WriteContext<'_>, object: &mut Value) {
        object["status"] = json!({
            "phase": "Pending", "lastPhaseTransitionTime": rfc3339_seconds(ctx.now)});
    }

    fn prepare_status(&self, ctx: &WriteContext<'_>, object: &mut Value, old: &Value) {
        let phase = |object: &Value| str_at(object, &["status", "phase"]).to_owned();
        let time = ["status", "lastPhaseTransitionTime"];
        if phase(object) != phase(old) {
            if same(at(object, &time), at(old, &time)) {
                set(object, &time, rfc3339_seconds(ctx.now));
            }
        } else if at(object, &time).is_none()
            && let Some(before) = at(old, &time)
        {
            set(object, &time, before.clone());
        }
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        let spec = object.get("spec");
        access_modes(spec.get("accessModes"), errors);
        capacity(spec.get("capacity"), errors);
        source(spec, errors);
        let policy = spec.get("persistentVolumeReclaimPolicy");
        one_of(policy, &["Delete", "Recycle", "Retain"], errors);
        if policy.str() == "Recycle" && spec.at(&["hostPath", "path"]).str() == "/" {
            errors.push(policy.forbidden("may not be 'recycle' for a hostPath mount of '/'"));
        }
        rule(spec.get("storageClassName"), validate::dns1123_subdomain, errors);
        one_of(spec.get("volumeMode"), &["Block", "Filesystem"], errors);
        let affinity = spec.get("nodeAffinity");
        if affinity.is_set() {
            if affinity.get("required").is_set() {
                node_selector(affinity.get("required"), errors);
            } else {
                errors.push(
                    affinity.get("required").required("must specify required node constraints"),
                );
            }
        }
        let class = spec.get("volumeAttributesClassName");
        if class.is_set() {
            rule(class, validate::dns1123_subdomain, errors);
            if !spec.get("csi").is_set() {
                errors.push(
                    spec.get("csi")
                        .required("has to be specified when using volumeAttributesClassName"),
                );
            }
        }
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        let (spec, before) = (new.get("spec"), old.get("spec"));
        let sources = |spec: Field<'_>| -> Value {
            let map = spec.value().and_then(Value::as_object).cloned().unwrap_or_default();
            map.into_iter().filter(|(key, _)| !PLAIN.contains(&key.as_str())).collect()
        };
        let (mut now, mut was) = (sources(spec), sources(before));
        // Only where the driver finds its secrets for growing may change.
        for sources in [&mut now, &mut was] {
            remove(sources, &["csi", "controllerExpandSecretRef"]);
        }
        if !same(Some(&now), Some(&was)) {
            errors.push(
                spec.get("persistentvolumesource")
                    .forbidden("spec.persistentvolumesource is immutable after creation"),
            );
        }
        immutable(spec.get("volumeMode"), before.get("volumeMode"), errors);
        if before.get("nodeAffinity").is_set() {
            immutable(spec.get("nodeAffinity"), before.get("nodeAffinity"), errors);
        }
        let class = spec.get("volumeAttributesClassName");
        if before.get("volumeAttributesClassName").is_set() && !class.is_set() {
            errors.push(class.forbidden("update from non-nil value to nil is forbidden"));
        }
    }

    fn warnings(&self, new: &Value, _old: Option<&Value>) -> Vec<String> {
        let spec = Field::root(new).get("spec");
        let mut found = Vec::new();
        if spec.get("persistentVolumeReclaimPolicy").str() == "Recycle" {
            let text = "spec.persistentVolumeReclaimPolicy: The Recycle reclaim policy is deprecated. Instead, the recommended approach is to use dynamic provisioning.";
            found.push(text.to_owned());
        }
        for term in spec.at(&["nodeAffinity", "required", "nodeSelectorTerms"]).items() {
            warnings::node_term(term, &mut found);
        }
        warnings::volume_sources(spec, &mut found);
        // Upstream forgot this one here.
        found.retain(|text| !text.starts_with("spec.quobyte"));
        found
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let deleting = api::object::is_deleting(object);
        let phase = if deleting { "Terminating" } else { str_at(object, &["status", "phase"]) };
        let claim = match at(object, &["spec", "claimRef"]) {
            Some(claim) => {
                format!("{}/{}", str_at(claim, &["namespace"]), str_at(claim, &["name"]))
            }
            None => String::new(),
        };
        vec![
            table::name(object),
            str_at(object, &["spec", "capacity", "storage"]).into(),
            access_mode_text(list_at(object, &["spec", "accessModes"])).into(),
            str_at(object, &["spec", "persistentVolumeReclaimPolicy"]).into(),
            phase.into(),
            claim.into(),
            class_of(object).into(),
            table::text_or(object, &["spec", "volumeAttributesClassName"], UNSET),
            str_at(object, &["status", "reason"]).into(),
            table::age(object, now),
            table::text_or(object, &["spec", "volumeMode"], UNSET),
        ]
    }
}

fn capacity(capacity: Field<'_>, errors: &mut ErrorList) {
    if capacity.is_empty() {
        errors.push(capacity.required(""));
        return;
    }
    if !capacity.has("storage") || capacity.len() > 1 {
        let value = capacity.value().cloned().unwrap_or_default();
        errors.push(capacity.not_supported_as(value, &["storage"]));
    }
    for (name, value) in capacity.entries() {
        check::resource_quantity(name, value, errors);
        if quantity(value).is_some_and(|size| size.is_zero()) {
            errors.push(value.invalid("must be greater than zero"));
        }
    }
}

fn source(spec: Field<'_>, errors: &mut ErrorList) {
    let mut seen = false;
    for (name, _) in spec.entries().filter(|(name, _)| !PLAIN.contains(name)) {
        let source = spec.get(name);
        if !source.is_set() {
            continue;
        }
        if seen {
            errors.push(source.forbidden("may not specify more than 1 volume type"));
            continue;
        }
        seen = true;
        match name {
            "csi" => {
                if required(source.get("driver"), errors) {
                    driver_name(source.get("driver"), errors);
                }
                required(source.get("volumeHandle"), errors);
            }
            "local" => {
                required(source.get("path"), errors);
                if !spec.get("nodeAffinity").is_set() {
                    let text = "Local volume requires node affinity";
                    errors.push(spec.get("nodeAffinity").required(text));
                }
            }
            name => shared_source(name, source, errors),
        }
    }
    if !seen {
        errors.push(spec.required("must specify a volume type"));
    }
}
