//! Environment variables: names, sources, field paths.

use api::field::ErrorList;
use api::validate;

use super::resources::resource_field;
use crate::check::required;
use crate::cursor::{Field, rule};

const ENV_FIELDS: [&str; 9] = [
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.hostIP",
    "status.hostIPs",
    "status.podIP",
    "status.podIPs",
];

const VOLUME_FIELDS: [&str; 5] = [
    "metadata.annotations",
    "metadata.labels",
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
];

/// What is wrong with `env` and `envFrom` of a container.
pub(crate) fn env(container: Field<'_>, errors: &mut ErrorList) {
    for variable in container.get("env").items() {
        let name = variable.get("name");
        if required(name, errors) {
            rule(name, validate::env_var_name, errors);
        }
        value_from(variable, errors);
    }
    let list = container.get("envFrom");
    for source in list.items() {
        rule(source.get("prefix"), validate::env_var_name, errors);
        let refs = ["configMapRef", "secretRef"];
        for name in refs {
            let reference = Field::get(source, name);
            if reference.is_set() && required(reference.get("name"), errors) {
                rule(reference.get("name"), validate::dns1123_subdomain, errors);
            }
        }
        match refs.iter().filter(|name| source.get(name).is_set()).count() {
            0 => {
                let text = "must specify one of: `configMapRef` or `secretRef`";
                errors.push(list.invalid_as("", text));
            }
            1 => {}
            _ => {
                let text = "may not have more than one field specified at a time";
                errors.push(list.invalid_as("", text));
            }
        }
    }
}

/// Files of variables lie in volumes that the pod has.
pub(crate) fn file_volumes(container: Field<'_>, spec: Field<'_>, errors: &mut ErrorList) {
    let has = |name: &str| spec.get("volumes").items().any(|one| one.get("name").str() == name);
    for variable in container.get("env").items() {
        let source = variable.at(&["valueFrom", "fileKeyRef"]);
        let name = source.get("volumeName");
        if source.is_set() && !name.is_empty() && !has(name.str()) {
            errors.push(name.not_found());
        }
    }
}

fn value_from(variable: Field<'_>, errors: &mut ErrorList) {
    let from = variable.get("valueFrom");
    if !from.is_set() {
        return;
    }
    let mut sources = 0;
    let known = ["fieldRef", "resourceFieldRef", "configMapKeyRef", "secretKeyRef", "fileKeyRef"];
    for name in known {
        let source = Field::get(from, name);
        if !source.is_set() {
            continue;
        }
        sources += 1;
        match name {
            "fieldRef" => field_ref(source, &ENV_FIELDS, true, errors),
            "resourceFieldRef" => resource_field(source, false, errors),
            "configMapKeyRef" | "secretKeyRef" => key_ref(source, errors),
            "fileKeyRef" => file_key(source, errors),
            _ => {}
        }
    }
    match sources {
        0 => errors.push(from.invalid_as(
            "",
            "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, `secretKeyRef` or `fileKeyRef`",
        )),
        _ if !variable.get("value").is_empty() => {
            errors.push(from.invalid_as("", "may not be specified when `value` is not empty"));
        }
        1 => {}
        _ => {
            let text = "may not have more than one field specified at a time";
            errors.push(from.invalid_as("", text));
        }
    }
}

fn key_ref(source: Field<'_>, errors: &mut ErrorList) {
    let name = source.get("name");
    errors
        .extend(validate::dns1123_subdomain(name.str()).into_iter().map(|text| name.invalid(text)));
    if required(source.get("key"), errors) {
        rule(source.get("key"), validate::config_map_key, errors);
    }
}

fn file_key(source: Field<'_>, errors: &mut ErrorList) {
    if required(source.get("key"), errors) {
        rule(source.get("key"), validate::env_var_name, errors);
    }
    if required(source.get("volumeName"), errors) {
        rule(source.get("volumeName"), validate::dns1123_label, errors);
    }
    if required(source.get("path"), errors) {
        super::container::no_backsteps(source.get("path"), errors);
    }
}

/// A `fieldRef`: a path of the fields that may be read there.
pub(crate) fn field_ref(source: Field<'_>, allowed: &[&str], in_env: bool, errors: &mut ErrorList) {
    let (version, path) = (source.get("apiVersion"), source.get("fieldPath"));
    if !required(version, errors) || !required(path, errors) {
        return;
    }
    if version.str() != "v1" {
        let text =
            format!("error converting fieldPath: unsupported pod version: {}", version.str());
        errors.push(path.invalid(text));
        return;
    }
    if let Some((map, key)) = path.str().strip_suffix("']").and_then(|text| text.split_once("['")) {
        match map {
            "metadata.labels" => {
                errors.extend(
                    validate::qualified_name(key)
                        .into_iter()
                        .map(|text| source.invalid_as(key, text)),
                );
            }
            "metadata.annotations" => {
                let key = key.to_lowercase();
                errors.extend(
                    validate::qualified_name(&key)
                        .into_iter()
                        .map(|text| source.invalid_as(key.as_str(), text)),
                );
            }
            _ => errors.push(source.invalid_as(map, "does not support subscript")),
        }
        return;
    }
    let known = ENV_FIELDS.contains(&path.str()) || VOLUME_FIELDS.contains(&path.str());
    if !known {
        let text = format!("error converting fieldPath: field label not supported: {}", path.str());
        errors.push(path.invalid(text));
    } else if !allowed.contains(&path.str()) {
        debug_assert!(in_env || allowed.len() == VOLUME_FIELDS.len());
        errors.push(path.not_supported(allowed));
    }
}

/// A `fieldRef` of a volume.
pub(crate) fn volume_field_ref(source: Field<'_>, errors: &mut ErrorList) {
    field_ref(source, &VOLUME_FIELDS, false, errors);
}
