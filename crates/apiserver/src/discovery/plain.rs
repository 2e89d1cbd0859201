//! The documents of old: one a group, one a version.

use serde_json::{Value, json};

use super::catalogue::{Catalogue, Group};
use crate::registry::Entry;
use crate::resource::Subresource;

/// The document of a path. Those of other servers' versions are theirs to give.
pub(super) fn document(catalogue: &Catalogue<'_>, path: &str, address: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["api"] => Some(versions(catalogue, address)),
        ["apis"] => Some(group_list(catalogue)),
        ["api", version] => resources(catalogue, "", version),
        ["apis", name] => catalogue.group(name).map(|found| {
            let mut found = group(&found);
            found["kind"] = "APIGroup".into();
            found["apiVersion"] = "v1".into();
            found
        }),
        ["apis", group, version] => resources(catalogue, group, version),
        _ => None,
    }
}

fn versions(catalogue: &Catalogue<'_>, address: &str) -> Value {
    let core = catalogue.group("");
    let versions: Vec<&str> =
        core.iter().flat_map(|core| core.versions.iter().map(|version| version.name)).collect();
    json!({
        "kind": "APIVersions",
        "versions": versions,
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

fn group_list(catalogue: &Catalogue<'_>) -> Value {
    let groups = catalogue.groups();
    let all: Vec<Value> = groups.iter().filter(|one| !one.name.is_empty()).map(group).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": all })
}

fn group(group: &Group<'_>) -> Value {
    let name = group.name;
    let shown =
        |version: &str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    let versions: Vec<Value> = group.versions.iter().map(|version| shown(version.name)).collect();
    let preferred = versions.first().cloned();
    json!({ "name": name, "versions": versions, "preferredVersion": preferred })
}

fn resources(catalogue: &Catalogue<'_>, group: &str, version: &str) -> Option<Value> {
    let entries = catalogue.kinds(group, version);
    if entries.is_empty() {
        return None;
    }
    let mut all = Vec::new();
    for (entry, is_old) in entries {
        if !entry.resource.info().verbs.is_empty() {
            all.push(resource(entry, is_old));
        }
        let mut below: Vec<&Subresource> = entry.subresources.iter().collect();
        // Those of custom kinds have an order of their own.
        if !entry.resource.is_custom() {
            below.sort_by(|left, right| left.name.cmp(&right.name));
        }
        all.extend(below.into_iter().map(|one| subresource(entry, version, one)));
    }
    let mut found = json!({
        "kind": "APIResourceList",
        "groupVersion": api::names::join_api_version(group, version),
        "resources": all,
    });
    if !group.is_empty() {
        found["apiVersion"] = "v1".into();
    }
    Some(found)
}

/// An old version has no short names and no categories, which would lead to it instead of to the
/// current one.
fn resource(entry: &Entry, is_old: bool) -> Value {
    let info = entry.resource.info();
    let mut found = json!({
        "name": info.plural,
        "singularName": info.singular,
        "namespaced": entry.is_namespaced(),
        "kind": info.kind,
        "verbs": info.verbs,
    });
    if !info.short_names.is_empty() && !is_old {
        found["shortNames"] = json!(info.short_names);
    }
    if !info.categories.is_empty() && !is_old {
        found["categories"] = json!(info.categories);
    }
    if !info.storage_version_hash.is_empty() {
        found["storageVersionHash"] = json!(info.storage_version_hash);
    }
    found
}

fn subresource(entry: &Entry, own_version: &str, one: &Subresource) -> Value {
    let info = entry.resource.info();
    let mut found = json!({
        "name": format!("{}/{}", info.plural, one.name),
        "singularName": "",
        "namespaced": entry.is_namespaced(),
        "kind": info.kind,
        "verbs": one.verbs,
    });
    if let Some((group, version, kind)) = &one.kind {
        found["kind"] = json!(kind);
        // Said only where it is not the list's own.
        if (&**group, &**version) != (&*info.group, own_version) {
            found["version"] = json!(version);
            if !group.is_empty() {
                found["group"] = json!(group);
            }
        }
    }
    found
}
