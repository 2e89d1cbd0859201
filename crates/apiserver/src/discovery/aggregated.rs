//! Everything in one document: `apidiscovery.k8s.io`.

use serde_json::{Value, json};

use super::{groups, version};
use crate::registry::{Entry, Snapshot};
use crate::resource::Subresource;

/// The document of `/api` or `/apis`.
pub(super) fn document(snapshot: &Snapshot, path: &str, form: &str) -> Option<Value> {
    let items: Vec<Value> = match path {
        "/api" => {
            let mut versions = snapshot.group_versions().get("").cloned().unwrap_or_default();
            versions.sort_by_key(|name| version::rank(name));
            vec![group(snapshot, "", &versions)]
        }
        "/apis" => groups(snapshot)
            .iter()
            .map(|(name, versions)| group(snapshot, name, versions))
            .collect(),
        _ => return None,
    };
    Some(json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {},
        "items": items,
    }))
}

fn group(snapshot: &Snapshot, name: &str, versions: &[&str]) -> Value {
    let metadata = if name.is_empty() { json!({}) } else { json!({ "name": name }) };
    let versions: Vec<Value> = versions
        .iter()
        .map(|version| {
            json!({
                "version": version,
                "resources": resources(snapshot, name, version),
                "freshness": "Current",
            })
        })
        .collect();
    json!({ "metadata": metadata, "versions": versions })
}

fn resources(snapshot: &Snapshot, group: &str, version: &str) -> Vec<Value> {
    let mut entries: Vec<&Entry> = snapshot
        .entries()
        .iter()
        .map(|entry| &**entry.in_version(version))
        .filter(|entry| {
            let info = entry.resource.info();
            info.group == group && info.versions.iter().any(|one| one.name == version && one.listed)
        })
        .collect();
    entries.sort_by(|left, right| left.gr.resource.cmp(&right.gr.resource));
    entries.into_iter().map(|entry| resource(entry, version)).collect()
}

fn resource(entry: &Entry, version: &str) -> Value {
    let info = entry.resource.info();
    let mut found = json!({
        "resource": info.plural,
        "responseKind": own_kind(entry, version),
        "scope": if entry.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": info.singular,
        "verbs": info.verbs,
    });
    if !info.short_names.is_empty() {
        found["shortNames"] = json!(info.short_names);
    }
    if !info.categories.is_empty() {
        found["categories"] = json!(info.categories);
    }
    if !entry.subresources.is_empty() {
        let mut below: Vec<&Subresource> = entry.subresources.iter().collect();
        below.sort_by(|left, right| left.name.cmp(&right.name));
        let below: Vec<Value> =
            below.into_iter().map(|one| subresource(entry, version, one)).collect();
        found["subresources"] = json!(below);
    }
    found
}

/// Built-in kinds leave out group and version when they are those of the list; custom ones say
/// them.
fn own_kind(entry: &Entry, version: &str) -> Value {
    let info = entry.resource.info();
    if entry.resource.is_custom() {
        json!({ "group": info.group, "version": version, "kind": info.kind })
    } else {
        json!({ "group": "", "version": "", "kind": info.kind })
    }
}

fn subresource(entry: &Entry, own_version: &str, one: &Subresource) -> Value {
    let own_group = &*entry.resource.info().group;
    let kind = match &one.kind {
        Some((group, version, kind)) if (&**group, &**version) == (own_group, own_version) => {
            json!({ "group": "", "version": "", "kind": kind })
        }
        Some((group, version, kind)) => {
            json!({ "group": group, "version": version, "kind": kind })
        }
        None => own_kind(entry, own_version),
    };
    json!({ "subresource": one.name, "responseKind": kind, "verbs": one.verbs })
}
