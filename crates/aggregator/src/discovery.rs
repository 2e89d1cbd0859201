//! What another server serves: its aggregated discovery, or the older documents where it has none.

use std::collections::BTreeMap;
use std::sync::Arc;

use api::Value;
use api::object::{list_at, str_at};
use serde_json::{Map, json};

use crate::client::{Clients, Fetched, RemoteError};
use crate::table::{Server, Versions};

/// The newest form first, as upstream asks for it.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";

/// The resources of each group and version, as `apidiscovery.k8s.io/v2` lists them.
pub(crate) type Resources = BTreeMap<(String, String), Arc<Vec<Value>>>;

/// What a server serves.
#[derive(Default)]
pub(crate) struct Discovered {
    pub(crate) resources: Arc<Resources>,
    tag: Option<String>,
}

/// Asks a server what it serves in the versions that it answers for.
pub(crate) async fn ask(
    clients: &Clients,
    server: &Server,
    versions: &Versions,
    known: &mut Discovered,
) -> Result<(), RemoteError> {
    // A tag is worth something only while the versions are those it was given for.
    let has_all = versions.all.iter().all(|version| known.resources.contains_key(version));
    let tag = known.tag.clone().filter(|_| has_all);
    match clients.document(server, "/apis", AGGREGATED, tag.as_deref()).await {
        Ok(Fetched::Unchanged) => Ok(()),
        Ok(Fetched::New { headers, body }) => {
            let document: Value = serde_json::from_slice(&body).unwrap_or_default();
            if document["kind"] != "APIGroupDiscoveryList" {
                return ask_each(clients, server, versions, known).await;
            }
            let tag = headers.get(http::header::ETAG).and_then(|tag| tag.to_str().ok());
            known.tag = tag.map(str::to_owned);
            known.resources = Arc::new(of_list(&document, versions));
            Ok(())
        }
        Err(RemoteError::Status(403 | 404 | 406)) => {
            ask_each(clients, server, versions, known).await
        }
        Err(error) => Err(error),
    }
}

fn of_list(document: &Value, versions: &Versions) -> Resources {
    let mut found = Resources::new();
    for group in list_at(document, &["items"]) {
        for version in list_at(group, &["versions"]) {
            let key = (
                str_at(group, &["metadata", "name"]).to_owned(),
                str_at(version, &["version"]).to_owned(),
            );
            if versions.all.contains(&key) {
                found.insert(key, Arc::new(list_at(version, &["resources"]).to_vec()));
            }
        }
    }
    found
}

/// One document a version. One that fails fails all, so that a server is either known or stale.
async fn ask_each(
    clients: &Clients,
    server: &Server,
    versions: &Versions,
    known: &mut Discovered,
) -> Result<(), RemoteError> {
    let mut found = Resources::new();
    for (group, version) in &versions.all {
        let path = match group.as_str() {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        if let Fetched::New { body, .. } =
            clients.document(server, &path, "application/json", None).await?
        {
            let list: Value = serde_json::from_slice(&body)
                .map_err(|error| RemoteError::Unreachable(format!("{path}: {error}")))?;
            let resources = of_resource_list(list_at(&list, &["resources"]));
            found.insert((group.clone(), version.clone()), Arc::new(resources));
        }
    }
    *known = Discovered { resources: Arc::new(found), tag: None };
    Ok(())
}

/// An `APIResourceList`'s items as those of aggregated discovery.
/// (apiserver `endpoints.ConvertGroupVersionIntoToDiscovery`)
fn of_resource_list(list: &[Value]) -> Vec<Value> {
    let mut found: Vec<Value> = Vec::new();
    for item in list {
        let kind = json!({
            "group": str_at(item, &["group"]), "version": str_at(item, &["version"]),
            "kind": str_at(item, &["kind"]),
        });
        let (name, below) = match str_at(item, &["name"]).split_once('/') {
            Some((name, below)) => (name, Some(below)),
            None => (str_at(item, &["name"]), None),
        };
        let scope = if item["namespaced"] == true { "Namespaced" } else { "Cluster" };
        let at = found.iter().position(|one| one["resource"] == name);
        match (below, at) {
            (Some(below), at) => {
                let parent = at.unwrap_or_else(|| {
                    found.push(json!({ "resource": name, "scope": scope, "verbs": [] }));
                    found.len() - 1
                });
                let one = json!({
                    "subresource": below, "responseKind": kind, "verbs": item["verbs"],
                });
                match found[parent]["subresources"].as_array_mut() {
                    Some(others) => others.push(one),
                    None => found[parent]["subresources"] = json!([one]),
                }
            }
            (None, _) => {
                let mut one = Map::new();
                one.insert("resource".into(), name.into());
                one.insert("responseKind".into(), kind);
                one.insert("scope".into(), scope.into());
                one.insert("singularResource".into(), item["singularName"].clone());
                one.insert("verbs".into(), item["verbs"].clone());
                for field in ["shortNames", "categories"] {
                    if let Some(value) = item.get(field) {
                        one.insert(field.into(), value.clone());
                    }
                }
                match at {
                    // A subresource came first.
                    Some(at) => {
                        one.insert("subresources".into(), found[at]["subresources"].take());
                        found[at] = Value::Object(one);
                    }
                    None => found.push(Value::Object(one)),
                }
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_documents_become_new_ones() {
        let list = json!([
            {"name": "flunders", "singularName": "flunder", "namespaced": true, "kind": "Flunder",
             "verbs": ["get"], "shortNames": ["fl"]},
            {"name": "flunders/status", "singularName": "", "namespaced": true, "kind": "Flunder",
             "verbs": ["get", "patch"]},
            {"name": "pods/eviction", "singularName": "", "namespaced": true, "kind": "Eviction",
             "group": "policy", "version": "v1", "verbs": ["create"]},
        ]);
        let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
        assert_eq!(
            Value::Array(of_resource_list(list.as_array().unwrap())),
            json!([
                {"resource": "flunders", "responseKind": kind("", "", "Flunder"),
                 "scope": "Namespaced", "singularResource": "flunder", "verbs": ["get"],
                 "shortNames": ["fl"],
                 "subresources": [{"subresource": "status", "responseKind": kind("", "", "Flunder"),
                                   "verbs": ["get", "patch"]}]},
                {"resource": "pods", "scope": "Namespaced", "verbs": [],
                 "subresources": [{"subresource": "eviction",
                                   "responseKind": kind("policy", "v1", "Eviction"),
                                   "verbs": ["create"]}]},
            ])
        );
    }

    #[test]
    fn only_the_versions_that_it_answers_for_count() {
        let document = json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": "a"}, "versions": [
                {"version": "v1", "resources": [{"resource": "x"}]}, {"version": "v2"}]},
            {"metadata": {"name": "apps"}, "versions": [{"version": "v1"}]}]});
        let versions = Versions { is_available: true, all: vec![("a".into(), "v1".into())] };
        let found = of_list(&document, &versions);
        assert_eq!(found.len(), 1);
        assert_eq!(*found[&("a".to_owned(), "v1".to_owned())], [json!({"resource": "x"})]);
    }
}
