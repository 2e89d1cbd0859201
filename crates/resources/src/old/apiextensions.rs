//! CustomResourceDefinition of `apiextensions.k8s.io/v1beta1`: one schema, one set of columns and of
//! subresources for all versions, and unknown fields that are kept unless it says otherwise.

use api::Value;
use api::object::{at, list_at, remove, set, set_default};
use serde_json::{Map, json};

use super::items;

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
/// What all versions share, by its name at the top and in a version.
const SHARED: [(&str, &str); 3] = [
    ("validation", "schema"),
    ("subresources", "subresources"),
    ("additionalPrinterColumns", "additionalPrinterColumns"),
];

pub(super) fn to_current(definition: &mut Value) {
    let preserves = remove(definition, &["spec", "preserveUnknownFields"]) != Some(false.into());
    let version = remove(definition, &["spec", "version"]);
    if let Some(name) = version.filter(|_| list_at(definition, &["spec", "versions"]).is_empty()) {
        let only = json!([{ "name": name, "served": true, "storage": true }]);
        set(definition, &["spec", "versions"], only);
    }
    for (top, below) in SHARED {
        let shared = remove(definition, &["spec", top]).filter(|shared| !shared.is_null());
        let Some(shared) = shared else { continue };
        for version in items(definition, &["spec", "versions"]) {
            set_default(version, &[below], shared.clone());
        }
    }
    for version in items(definition, &["spec", "versions"]) {
        rename_paths(version, "JSONPath", "jsonPath");
        let schema = version.get_mut("schema").and_then(|one| one.get_mut("openAPIV3Schema"));
        if let Some(schema) = schema {
            type_nodes(schema);
        }
        if preserves {
            set_default(version, &["schema", "openAPIV3Schema", "type"], "object");
            set(version, &["schema", "openAPIV3Schema", PRESERVE], true);
        }
    }
    nest_conversion(definition);
}

pub(super) fn from_current(definition: &mut Value) {
    let versions = list_at(definition, &["spec", "versions"]).to_vec();
    if let Some(name) = versions.first().and_then(|first| at(first, &["name"])) {
        set(definition, &["spec", "version"], name.clone());
    }
    let preserves = versions
        .iter()
        .all(|one| at(one, &["schema", "openAPIV3Schema", PRESERVE]) == Some(&true.into()));
    set(definition, &["spec", "preserveUnknownFields"], preserves && !versions.is_empty());
    for version in items(definition, &["spec", "versions"]) {
        rename_paths(version, "jsonPath", "JSONPath");
        if preserves && at(version, &["schema"]) == Some(&anything()) {
            remove(version, &["schema"]);
        }
    }
    hoist(definition);
    if let Some(mut webhook) = remove(definition, &["spec", "conversion", "webhook"]) {
        for (old, new) in [
            ("webhookClientConfig", "clientConfig"),
            ("conversionReviewVersions", "conversionReviewVersions"),
        ] {
            if let Some(value) = remove(&mut webhook, &[new]) {
                set(definition, &["spec", "conversion", old], value);
            }
        }
    }
}

/// The schema that says nothing.
fn anything() -> Value {
    json!({ "openAPIV3Schema": { "type": "object", PRESERVE: true } })
}

/// What all versions say alike is said at the top.
fn hoist(definition: &mut Value) {
    for (top, below) in SHARED {
        let versions = list_at(definition, &["spec", "versions"]);
        let first = versions.first().and_then(|version| at(version, &[below])).cloned();
        let Some(first) = first else { continue };
        if !versions.iter().all(|version| at(version, &[below]) == Some(&first)) {
            continue;
        }
        for version in items(definition, &["spec", "versions"]) {
            remove(version, &[below]);
        }
        set(definition, &["spec", top], first);
    }
}

fn rename_paths(version: &mut Value, from: &str, to: &str) {
    for column in items(version, &["additionalPrinterColumns"]) {
        if let Some(path) = remove(column, &[from]) {
            column[to] = path;
        }
    }
}

fn nest_conversion(definition: &mut Value) {
    let client = remove(definition, &["spec", "conversion", "webhookClientConfig"]);
    let reviews = remove(definition, &["spec", "conversion", "conversionReviewVersions"]);
    if at(definition, &["spec", "conversion", "strategy"]) != Some(&"Webhook".into()) {
        return;
    }
    let mut webhook = json!({ "conversionReviewVersions":
        reviews.filter(|list| !list.is_null()).unwrap_or_else(|| json!(["v1beta1"])) });
    if let Some(client) = client.filter(|client| !client.is_null()) {
        webhook["clientConfig"] = client;
    }
    set(definition, &["spec", "conversion", "webhook"], webhook);
}

/// Schemas of old did not have to say that what has properties is an object.
fn type_nodes(schema: &mut Value) {
    let Some(node) = schema.as_object_mut() else { return };
    let has = |node: &Map<String, Value>, key: &str| node.get(key).is_some_and(|v| !v.is_null());
    if !has(node, "type") && !has(node, "x-kubernetes-int-or-string") {
        if has(node, "properties") || has(node, "additionalProperties") {
            node.insert("type".to_owned(), "object".into());
        } else if has(node, "items") {
            node.insert("type".to_owned(), "array".into());
        }
    }
    if let Some(properties) = node.get_mut("properties").and_then(Value::as_object_mut) {
        properties.values_mut().for_each(type_nodes);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(below) = node.get_mut(key) {
            type_nodes(below);
        }
    }
}
