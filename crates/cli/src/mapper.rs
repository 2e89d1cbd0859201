//! From what people type (`po`, `deploy`, `pods.v1.`, `deployments.apps`) to a resource's path.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use api::Value;
use api::names::join_api_version;
use api::object::{list_at, str_at};

use crate::client::Api;

const AGGREGATED: &str =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json";

/// A resource that the server has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Mapping {
    pub(crate) group: String,
    pub(crate) version: String,
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) namespaced: bool,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
    pub(crate) verbs: Vec<String>,
    /// Whether this version is the one that its group prefers.
    pub(crate) preferred: bool,
}

impl Mapping {
    pub(crate) fn api_version(&self) -> String {
        join_api_version(&self.group, &self.version)
    }

    /// `pod`, `deployment.apps`: the form of `-o name` and of messages.
    pub(crate) fn short_form(&self) -> String {
        if self.group.is_empty() {
            self.singular.clone()
        } else {
            format!("{}.{}", self.singular, self.group)
        }
    }

    /// The path of the collection in a namespace, or across all when it is empty.
    pub(crate) fn collection(&self, namespace: &str) -> String {
        let root = if self.group.is_empty() { "/api" } else { "/apis" };
        let version = self.api_version();
        if self.namespaced && !namespace.is_empty() {
            format!("{root}/{version}/namespaces/{namespace}/{}", self.plural)
        } else {
            format!("{root}/{version}/{}", self.plural)
        }
    }

    /// The path of an object.
    pub(crate) fn object(&self, namespace: &str, name: &str) -> String {
        format!("{}/{}", self.collection(namespace), crate::client::encode(name))
    }
}

/// All resources of the server, in the order in which it lists them.
#[derive(Debug, Default)]
pub(crate) struct Mapper {
    pub(crate) all: Vec<Mapping>,
}

impl Mapper {
    /// Asks the server what it has: two requests.
    pub(crate) async fn discover(api: &Api) -> Result<Self> {
        let (core, groups) =
            futures::try_join!(api.get_as("/api", AGGREGATED), api.get_as("/apis", AGGREGATED))?;
        let mut mapper = Self::default();
        for document in [&core, &groups] {
            if str_at(document, &["kind"]) == "APIGroupDiscoveryList" {
                mapper.add_aggregated(document);
            } else {
                mapper.add_plain(api, document).await?;
            }
        }
        Ok(mapper)
    }

    fn add_aggregated(&mut self, document: &Value) {
        for group in list_at(document, &["items"]) {
            let name = str_at(group, &["metadata", "name"]);
            for (index, version) in list_at(group, &["versions"]).iter().enumerate() {
                for resource in list_at(version, &["resources"]) {
                    self.all.push(Mapping {
                        group: name.to_owned(),
                        version: str_at(version, &["version"]).to_owned(),
                        plural: str_at(resource, &["resource"]).to_owned(),
                        singular: str_at(resource, &["singularResource"]).to_owned(),
                        kind: str_at(resource, &["responseKind", "kind"]).to_owned(),
                        namespaced: str_at(resource, &["scope"]) == "Namespaced",
                        short_names: strings(resource, "shortNames"),
                        categories: strings(resource, "categories"),
                        verbs: strings(resource, "verbs"),
                        preferred: index == 0,
                    });
                }
            }
        }
    }

    /// A server without aggregated discovery: one more request a group version.
    async fn add_plain(&mut self, api: &Api, document: &Value) -> Result<()> {
        let mut versions: Vec<(String, String, bool)> = Vec::new();
        for version in strings(document, "versions") {
            versions.push((String::new(), version, true));
        }
        for group in list_at(document, &["groups"]) {
            let preferred = str_at(group, &["preferredVersion", "version"]);
            for version in list_at(group, &["versions"]) {
                let version = str_at(version, &["version"]);
                let name = str_at(group, &["name"]).to_owned();
                versions.push((name, version.to_owned(), version == preferred));
            }
        }
        for (group, version, preferred) in versions {
            let root = if group.is_empty() { "/api/" } else { "/apis/" };
            let list = api.get(&format!("{root}{}", join_api_version(&group, &version))).await?;
            for resource in list_at(&list, &["resources"]) {
                let plural = str_at(resource, &["name"]);
                if plural.contains('/') {
                    continue;
                }
                let kind = str_at(resource, &["kind"]);
                let singular = str_at(resource, &["singularName"]);
                self.all.push(Mapping {
                    group: group.clone(),
                    version: version.clone(),
                    plural: plural.to_owned(),
                    singular: if singular.is_empty() {
                        kind.to_lowercase()
                    } else {
                        singular.to_owned()
                    },
                    kind: kind.to_owned(),
                    namespaced: resource["namespaced"] == true,
                    short_names: strings(resource, "shortNames"),
                    categories: strings(resource, "categories"),
                    verbs: strings(resource, "verbs"),
                    preferred,
                });
            }
        }
        Ok(())
    }

    /// The resource that a word means: `RESOURCE`, `RESOURCE.GROUP`, `RESOURCE.VERSION.GROUP`, by
    /// plural, singular, kind or short name.
    pub(crate) fn resource(&self, word: &str) -> Result<&Mapping> {
        let lower = word.to_lowercase();
        let named = |mapping: &Mapping, name: &str| {
            mapping.plural == name
                || mapping.singular == name
                || mapping.kind.eq_ignore_ascii_case(name)
                || mapping.short_names.iter().any(|short| short == name)
        };
        let found = match lower.split_once('.') {
            None => self.best(|mapping| named(mapping, &lower)),
            Some((name, rest)) => self
                .best(|mapping| named(mapping, name) && mapping.group == rest)
                .or_else(|| {
                    let (version, group) = rest.split_once('.').unwrap_or((rest, ""));
                    self.all.iter().find(|mapping| {
                        named(mapping, name) && mapping.version == version && mapping.group == group
                    })
                })
                .or_else(|| self.best(|own| named(own, name) && own.group.starts_with(rest))),
        };
        match found {
            Some(mapping) => Ok(mapping),
            None => bail!("the server doesn't have a resource type \"{word}\""),
        }
    }

    fn best(&self, wanted: impl Fn(&Mapping) -> bool) -> Option<&Mapping> {
        let mut found = self.all.iter().filter(|mapping| wanted(mapping));
        let first = found.next()?;
        if first.preferred {
            return Some(first);
        }
        found.find(|mapping| mapping.preferred && mapping.group == first.group).or(Some(first))
    }

    /// The resources of a category (`all`), each once, in the order of the listing.
    pub(crate) fn category(&self, word: &str) -> Vec<&Mapping> {
        let mut seen = BTreeMap::new();
        let members = self
            .all
            .iter()
            .filter(|own| own.preferred && own.categories.iter().any(|category| category == word));
        members
            .filter(|own| seen.insert((own.group.clone(), own.plural.clone()), ()).is_none())
            .collect()
    }

    /// The resource of an object that was read from a file.
    pub(crate) fn of_object(&self, object: &Value) -> Result<&Mapping> {
        let (version, kind) = (str_at(object, &["apiVersion"]), str_at(object, &["kind"]));
        let found = self.all.iter().find(|own| own.kind == kind && own.api_version() == version);
        match found {
            Some(mapping) => Ok(mapping),
            None => bail!(
                "resource mapping not found for name: \"{}\" namespace: \"{}\": no matches for \
                 kind \"{kind}\" in version \"{version}\"\nensure CRDs are installed first",
                str_at(object, &["metadata", "name"]),
                str_at(object, &["metadata", "namespace"]),
            ),
        }
    }
}

fn strings(value: &Value, key: &str) -> Vec<String> {
    list_at(value, &[key]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn mapper() -> Mapper {
        let resource = |plural: &str, singular: &str, kind: &str, short: &[&str]| {
            json!({"resource": plural, "singularResource": singular, "scope": "Namespaced",
                "responseKind": {"kind": kind}, "shortNames": short, "categories": ["all"],
                "verbs": ["get"]})
        };
        let mut mapper = Mapper::default();
        mapper.add_aggregated(&json!({"kind": "APIGroupDiscoveryList", "items": [
            {"metadata": {"name": ""}, "versions": [{"version": "v1", "resources": [
                resource("pods", "pod", "Pod", &["po"]), resource("events", "event", "Event", &["ev"])]}]},
            {"metadata": {"name": "apps"}, "versions": [
                {"version": "v1", "resources": [resource("deployments", "deployment", "Deployment", &["deploy"])]},
                {"version": "v1beta1", "resources": [resource("deployments", "deployment", "Deployment", &["deploy"])]}]},
            {"metadata": {"name": "events.k8s.io"}, "versions": [{"version": "v1", "resources": [
                resource("events", "event", "Event", &["ev"])]}]},
        ]}));
        mapper
    }

    #[test]
    fn words_find_their_resource() {
        let mapper = mapper();
        let check = |word: &str, expected: &str| {
            let got = mapper.resource(word).map(|own| own.collection("d"));
            assert_eq!(got.unwrap(), expected, "{word}");
        };
        check("po", "/api/v1/namespaces/d/pods");
        check("Pod", "/api/v1/namespaces/d/pods");
        check("deploy", "/apis/apps/v1/namespaces/d/deployments");
        check("deployments.apps", "/apis/apps/v1/namespaces/d/deployments");
        check("deployments.v1beta1.apps", "/apis/apps/v1beta1/namespaces/d/deployments");
        check("ev", "/api/v1/namespaces/d/events");
        check("events.events.k8s.io", "/apis/events.k8s.io/v1/namespaces/d/events");
        assert!(mapper.resource("x").is_err());
        assert_eq!(mapper.category("all").len(), 4);
    }
}
