//! PersistentVolumeClaim: a pod's claim to storage.

use std::sync::Arc;

use api::Value;
use api::field::ErrorList;
use api::object::{at, remove, set, set_default, str_at};
use api::validate;
use apiserver::resource::{Resource, WriteContext};
use base::clock::Timestamp;
use serde_json::json;

use crate::check::{self, label_selector, one_of, quantity, required};
use crate::core::pod::defaults::set_text;
use crate::cursor::{Field, rule, same};
use crate::kind::Kind;
use crate::rules::Rules;
use crate::table::{self, UNSET};

/// The kind.
#[must_use]
pub fn kind() -> Arc<dyn Resource> {
    Kind::of("", "persistentvolumeclaims").rules(Claim)
}

struct Claim;

/// The modes in which a volume may be mounted, with their short forms in the order of tables.
pub(crate) const ACCESS_MODES: [(&str, &str); 4] = [
    ("ReadWriteOnce", "RWO"),
    ("ReadOnlyMany", "ROX"),
    ("ReadWriteMany", "RWX"),
    ("ReadWriteOncePod", "RWOP"),
];

/// Access modes in their short forms, comma-joined.
#[must_use]
pub(crate) fn access_mode_text(modes: &[Value]) -> String {
    let has = |name: &str| modes.iter().any(|mode| mode == name);
    let short: Vec<_> =
        ACCESS_MODES.iter().filter(|(name, _)| has(name)).map(|(_, short)| *short).collect();
    short.join(",")
}

/// Access modes: at least one, known, `ReadWriteOncePod` alone.
pub(crate) fn access_modes(modes: Field<'_>, errors: &mut ErrorList) {
    if modes.is_empty() {
        errors.push(modes.required("at least 1 access mode is required"));
    }
    let known = ACCESS_MODES.map(|(name, _)| name);
    for mode in modes.items() {
        if !known.contains(&mode.str()) {
            errors.push(modes.not_supported_as(mode.str(), &known));
        }
    }
    let alone = modes.items().any(|mode| mode.str() == "ReadWriteOncePod");
    if alone && modes.items().any(|mode| mode.str() != "ReadWriteOncePod") {
        let text = "may not use ReadWriteOncePod with other access modes";
        errors.push(modes.forbidden(text));
    }
}

/// The spec of a claim, in a claim or in a template of one.
pub(crate) fn claim_spec(spec: Field<'_>, errors: &mut ErrorList) {
    access_modes(spec.get("accessModes"), errors);
    label_selector(spec.get("selector"), errors);
    // Upstream shows the request as if it stood in `resources` itself.
    let request = spec.at(&["resources", "requests"]).key("storage");
    let storage = spec.get("resources").key("storage").with(request.value());
    match quantity(storage) {
        None => errors.push(storage.required("")),
        Some(size) if size.sign() <= 0 => {
            errors.push(storage.invalid("must be greater than zero"));
        }
        Some(_) => {}
    }
    rule(spec.get("storageClassName"), validate::dns1123_subdomain, errors);
    rule(spec.get("volumeAttributesClassName"), validate::dns1123_subdomain, errors);
    one_of(spec.get("volumeMode"), &["Block", "Filesystem"], errors);
    sources(spec, errors);
}

fn sources(spec: Field<'_>, errors: &mut ErrorList) {
    let (source, reference) = (spec.get("dataSource"), spec.get("dataSourceRef"));
    for one in [source, reference].into_iter().filter(|one| one.is_set()) {
        required(one.get("name"), errors);
        required(one.get("kind"), errors);
        let core = one.get("apiGroup").is_empty();
        if core && one.get("kind").str() != "PersistentVolumeClaim" && one.has("kind") {
            let value = one.get("kind").str();
            let text = "must be 'PersistentVolumeClaim' when referencing the default apiGroup";
            errors.push(one.invalid_as(value, text));
        }
    }
    let namespaced = !reference.get("namespace").is_empty();
    if source.is_set() && namespaced {
        let text = "may not be specified when dataSourceRef.namespace is specified";
        errors.push(source.invalid_as(source.value().cloned().unwrap_or_default(), text));
    } else if source.is_set() && reference.is_set() && !same(source.value(), reference.value()) {
        errors.push(
            spec.invalid_as(spec.value().cloned().unwrap_or_default(), "must match dataSourceRef"),
        );
    }
}

/// One of the two sources says the other, where both can say it.
fn mirror_sources(object: &mut Value) {
    let source = at(object, &["spec", "dataSource"]).cloned();
    let reference = at(object, &["spec", "dataSourceRef"]).cloned();
    let group = |source: &Value| str_at(source, &["apiGroup"]).to_owned();
    match (source, reference) {
        (Some(source), None) => set(object, &["spec", "dataSourceRef"], source),
        (None, Some(reference)) if str_at(&reference, &["namespace"]).is_empty() => {
            let plain = match group(&reference).as_str() {
                "" => str_at(&reference, &["kind"]) == "PersistentVolumeClaim",
                "snapshot.storage.k8s.io" => str_at(&reference, &["kind"]) == "VolumeSnapshot",
                _ => false,
            };
            if plain {
                set(object, &["spec", "dataSource"], reference);
            }
        }
        _ => {}
    }
}

impl Rules for Claim {
    fn default(&self, object: &mut Value) {
        set_default(object, &["spec", "volumeMode"], "Filesystem");
        set_text(object, &["status", "phase"], "Pending");
    }

    fn prepare_create(&self, _ctx: &WriteContext<'_>, object: &mut Value) {
        object["status"] = json!({"phase": "Pending"});
        mirror_sources(object);
    }

    fn prepare_update(&self, _ctx: &WriteContext<'_>, object: &mut Value, _old: &Value) {
        mirror_sources(object);
    }

    fn validate(&self, object: Field<'_>, errors: &mut ErrorList) {
        claim_spec(object.get("spec"), errors);
    }

    fn validate_change(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        change(new, old, errors);
    }

    fn validate_status(
        &self,
        _ctx: &WriteContext<'_>,
        new: Field<'_>,
        _old: Field<'_>,
        errors: &mut ErrorList,
    ) {
        for kind in ["capacity", "allocatedResources"] {
            for (name, value) in new.get("status").get(kind).entries() {
                check::resource_quantity(name, value, errors);
            }
        }
    }

    fn cells(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        let deleting = api::object::is_deleting(object);
        let phase = if deleting { "Terminating" } else { str_at(object, &["status", "phase"]) };
        let volume = str_at(object, &["spec", "volumeName"]);
        let (capacity, modes) = if volume.is_empty() {
            (String::new(), String::new())
        } else {
            let modes = api::object::list_at(object, &["status", "accessModes"]);
            (str_at(object, &["status", "capacity", "storage"]).to_owned(), access_mode_text(modes))
        };
        vec![
            table::name(object),
            phase.into(),
            volume.into(),
            capacity.into(),
            modes.into(),
            class_of(object).into(),
            table::text_or(object, &["spec", "volumeAttributesClassName"], UNSET),
            table::age(object, now),
            table::text_or(object, &["spec", "volumeMode"], UNSET),
        ]
    }
}

/// The storage class, from the old annotation or from the spec.
#[must_use]
pub(crate) fn class_of(object: &Value) -> &str {
    api::object::annotation(object, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| str_at(object, &["spec", "storageClassName"]))
}

const CHANGE_TEXT: &str = "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims";

fn change(new: Field<'_>, old: Field<'_>, errors: &mut ErrorList) {
    let (spec, before) = (new.get("spec"), old.get("spec"));
    let (Some(new_value), Some(old_value)) = (spec.value(), before.value()) else { return };
    let mut rest = new_value.clone();
    // The binder sets the volume once; a class may be added where there was none.
    if before.get("volumeName").is_empty() {
        put_back(&mut rest, old_value, "volumeName");
    }
    if !before.get("storageClassName").is_set() {
        put_back(&mut rest, old_value, "storageClassName");
    }
    put_back(&mut rest, old_value, "volumeAttributesClassName");
    put_back(&mut rest, old_value, "dataSource");
    put_back(&mut rest, old_value, "dataSourceRef");
    let sources_kept = ["dataSource", "dataSourceRef"].iter().all(|field| {
        let before = before.get(field);
        !before.is_set() || same(Field::get(spec, field).value(), before.value())
    });
    let bound = old.at(&["status", "phase"]).str() == "Bound";
    let path = ["resources", "requests"];
    if bound && let Some(requests) = at(old_value, &path) {
        set(&mut rest, &path, requests.clone());
    }
    if !same(Some(&rest), Some(old_value)) || !sources_kept {
        errors.push(spec.forbidden(CHANGE_TEXT));
    }
    let now = spec.at(&path).key("storage");
    let had = quantity(before.at(&path).key("storage"));
    let real = quantity(old.at(&["status", "capacity"]).key("storage"));
    if let (Some(size), Some(had)) = (quantity(now), had)
        && size < had
        && real.is_none_or(|real| size <= real)
    {
        let text = "field can not be less than status.capacity";
        errors.push(now.forbidden(text));
    }
    let class = spec.get("volumeAttributesClassName");
    if !before.get("volumeAttributesClassName").is_empty() && class.is_empty() {
        let text = "update from non-nil value to nil is forbidden";
        errors.push(class.forbidden(text));
    }
}

fn put_back(to: &mut Value, from: &Value, field: &str) {
    match from.get(field) {
        Some(value) => to[field] = value.clone(),
        None => {
            remove(to, &[field]);
        }
    }
}
