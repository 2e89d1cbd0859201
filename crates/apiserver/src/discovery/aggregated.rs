//! Everything in one document: `apidiscovery.k8s.io`.

use serde_json::{Value, json};

use super::catalogue::{Catalogue, Group};
use crate::registry::Entry;
use crate::resource::Subresource;

/// The document of `/api` or `/apis`.
pub(super) fn document(catalogue: &Catalogue<'_>, path: &str, form: &str) -> Option<Value> {
    let is_core = match path {
        "/api" => true,
        "/apis" => false,
        _ => return None,
    };
    let items: Vec<Value> = catalogue
        .groups()
        .iter()
        .filter(|one| one.name.is_empty() == is_core)
        .map(|one| group(catalogue, one))
        .collect();
    Some(json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {},
        "items": items,
    }))
}

fn group(catalogue: &Catalogue<'_>, group: &Group<'_>) -> Value {
    let metadata = if group.name.is_empty() { json!({}) } else { json!({ "name": group.name }) };
    let versions: Vec<Value> = group
        .versions
        .iter()
        .map(|version| {
            let (resources, is_stale) = match version.remote {
                Some(remote) => (Value::Array(remote.resources.to_vec()), remote.is_stale),
                None => (resources(catalogue, group.name, version.name), false),
            };
            let mut said = json!({ "version": version.name });
            if resources.as_array().is_some_and(|all| !all.is_empty()) {
                said["resources"] = resources;
            }
            said["freshness"] = if is_stale { "Stale" } else { "Current" }.into();
            said
        })
        .collect();
    json!({ "metadata": metadata, "versions": versions })
}

fn resources(catalogue: &Catalogue<'_>, group: &str, version: &str) -> Value {
    let kinds = catalogue.kinds(group, version);
    kinds.into_iter().map(|(entry, is_old)| resource(entry, version, is_old)).collect()
}

fn resource(entry: &Entry, version: &str, is_old: bool) -> Value {
    let info = entry.resource.info();
    let mut found = json!({
        "resource": info.plural,
        "responseKind": own_kind(entry, version),
        "scope": if entry.is_namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": info.singular,
        "verbs": info.verbs,
    });
    if !info.short_names.is_empty() && !is_old {
        found["shortNames"] = json!(info.short_names);
    }
    if !info.categories.is_empty() && !is_old {
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
