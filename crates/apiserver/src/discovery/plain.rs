//! The documents of old: one a group, one a version.

use serde_json::{Value, json};

use super::groups;
use crate::registry::{Entry, Snapshot};
use crate::resource::Subresource;

/// The document of a path.
pub(super) fn document(snapshot: &Snapshot, path: &str, address: &str) -> Option<Value> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["api"] => Some(versions(snapshot, address)),
        ["apis"] => Some(group_list(snapshot)),
        ["api", version] => resources(snapshot, "", version),
        ["apis", group] => {
            groups(snapshot).into_iter().find(|(name, _)| name == group).map(|(name, versions)| {
                let mut found = self::group(name, &versions);
                found["kind"] = "APIGroup".into();
                found["apiVersion"] = "v1".into();
                found
            })
        }
        ["apis", group, version] if !group.is_empty() => resources(snapshot, group, version),
        _ => None,
    }
}

fn versions(snapshot: &Snapshot, address: &str) -> Value {
    let served = snapshot.group_versions();
    json!({
        "kind": "APIVersions",
        "versions": served.get("").cloned().unwrap_or_default(),
        "serverAddressByClientCIDRs": [{ "clientCIDR": "0.0.0.0/0", "serverAddress": address }],
    })
}

fn group_list(snapshot: &Snapshot) -> Value {
    let all: Vec<Value> =
        groups(snapshot).iter().map(|(name, versions)| group(name, versions)).collect();
    json!({ "kind": "APIGroupList", "apiVersion": "v1", "groups": all })
}

fn group(name: &str, versions: &[&str]) -> Value {
    let shown =
        |version: &&str| json!({ "groupVersion": format!("{name}/{version}"), "version": version });
    json!({
        "name": name,
        "versions": versions.iter().map(shown).collect::<Vec<_>>(),
        "preferredVersion": versions.first().map(shown),
    })
}

fn resources(snapshot: &Snapshot, group: &str, version: &str) -> Option<Value> {
    let mut entries: Vec<&Entry> = snapshot
        .entries()
        .iter()
        .map(|entry| &**entry.in_version(version))
        .filter(|entry| {
            let info = entry.resource.info();
            info.group == group && info.versions.iter().any(|one| one.name == version && one.listed)
        })
        .collect();
    if entries.is_empty() {
        return None;
    }
    entries.sort_by(|left, right| left.gr.resource.cmp(&right.gr.resource));
    let mut all = Vec::new();
    for entry in entries {
        if !entry.resource.info().verbs.is_empty() {
            all.push(resource(entry));
        }
        let mut below: Vec<&Subresource> = entry.subresources.iter().collect();
        below.sort_by(|left, right| left.name.cmp(&right.name));
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

fn resource(entry: &Entry) -> Value {
    let info = entry.resource.info();
    let mut found = json!({
        "name": info.plural,
        "singularName": info.singular,
        "namespaced": entry.is_namespaced(),
        "kind": info.kind,
        "verbs": info.verbs,
    });
    if !info.short_names.is_empty() {
        found["shortNames"] = json!(info.short_names);
    }
    if !info.categories.is_empty() {
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
