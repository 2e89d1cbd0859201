//! Which resources the server has, each in the version that it prefers.

use api::names::split_api_version;
use api::typed::ResourceType;
use reconcile::{Failure, Writer};
use serde::Deserialize;

/// A resource and what can be done with it.
#[derive(Debug, Clone)]
pub(crate) struct Discovered {
    pub(crate) resource: ResourceType,
    verbs: Vec<String>,
}

impl Discovered {
    pub(crate) fn can(&self, verbs: &[&str]) -> bool {
        verbs.iter().all(|verb| self.verbs.iter().any(|found| found == verb))
    }
}

/// All resources, and the groups that did not answer.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    pub(crate) resources: Vec<Discovered>,
    pub(crate) failed: Vec<(String, Failure)>,
}

/// Old names under which resources of other groups are served again: what is done to the
/// resource under its own name is done to them too.
pub(crate) const ALIASES: [&str; 1] = ["extensions"];

#[derive(Deserialize)]
struct Groups {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Group {
    name: String,
    preferred_version: Version,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Version {
    group_version: String,
}

#[derive(Deserialize)]
struct Resources {
    resources: Vec<Resource>,
}

#[derive(Deserialize)]
struct Resource {
    name: String,
    kind: String,
    namespaced: bool,
    #[serde(default)]
    verbs: Vec<String>,
}

/// Asks the server.
///
/// # Errors
/// When the list of groups cannot be had; a single group that fails is only noted, so that one
/// extension that is down does not stop all the others.
pub(crate) async fn discover(writer: &Writer) -> Result<Discovery, Failure> {
    let groups = writer.raw("GET", "/apis", Vec::new()).await?;
    let groups: Groups = serde_json::from_slice(&groups)
        .map_err(|error| Failure::decode("read the groups".to_owned(), &error))?;
    let mut found = Discovery::default();
    let versions = groups
        .groups
        .into_iter()
        .filter(|group| !ALIASES.contains(&group.name.as_str()))
        .map(|group| group.preferred_version.group_version);
    for version in std::iter::once("v1".to_owned()).chain(versions) {
        match resources(writer, &version).await {
            Ok(resources) => found.resources.extend(resources),
            Err(failure) => found.failed.push((version, failure)),
        }
    }
    Ok(found)
}

async fn resources(writer: &Writer, group_version: &str) -> Result<Vec<Discovered>, Failure> {
    let (group, version) = split_api_version(group_version);
    let root = if group.is_empty() { "/api" } else { "/apis" };
    let body = writer.raw("GET", &format!("{root}/{group_version}"), Vec::new()).await?;
    let list: Resources = serde_json::from_slice(&body).map_err(|error| {
        Failure::decode(format!("read the resources of {group_version}"), &error)
    })?;
    Ok(list
        .resources
        .into_iter()
        .filter(|resource| !resource.name.contains('/'))
        .map(|found| Discovered {
            resource: ResourceType::new(group, version, &found.name, &found.kind, found.namespaced),
            verbs: found.verbs,
        })
        .collect())
}
