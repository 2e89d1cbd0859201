//! The two tables that every kind is made from: what discovery says of a resource, and the columns
//! of its server-side table.
//!
//! The tables are the published API description's own; a kind's file adds only what is particular
//! to it.

use std::borrow::Cow;

use apiserver::resource::{Column, ResourceInfo, Scope, VersionInfo};

const RESOURCES: &str = include_str!("../facts/resources.tsv");
const COLUMNS: &str = include_str!("../facts/columns.tsv");

/// A subresource as the table has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SubresourceRow {
    /// `status`.
    pub(crate) name: &'static str,
    /// `Pod`, `autoscaling/v1/Scale`.
    pub(crate) kind: &'static str,
    /// Its verbs.
    pub(crate) verbs: Vec<&'static str>,
}

/// A row of the table of resources.
#[derive(Debug, Clone)]
pub(crate) struct ResourceRow {
    pub(crate) group: &'static str,
    pub(crate) version: &'static str,
    pub(crate) plural: &'static str,
    pub(crate) singular: &'static str,
    pub(crate) kind: &'static str,
    pub(crate) short_names: Vec<&'static str>,
    pub(crate) categories: Vec<&'static str>,
    pub(crate) namespaced: bool,
    pub(crate) verbs: Vec<&'static str>,
    pub(crate) subresources: Vec<SubresourceRow>,
    pub(crate) hash: &'static str,
}

fn list(text: &'static str, by: char) -> Vec<&'static str> {
    text.split(by).filter(|part| !part.is_empty()).collect()
}

fn subresource(text: &'static str) -> SubresourceRow {
    let (name, rest) = text.split_once('(').unwrap_or((text, ""));
    let (kind, verbs) = rest.trim_end_matches(')').split_once(':').unwrap_or_default();
    SubresourceRow { name, kind, verbs: list(verbs, '+') }
}

/// Every row of the table of resources.
pub(crate) fn resources() -> impl Iterator<Item = ResourceRow> {
    RESOURCES.lines().skip(1).map(|line| {
        let cells: Vec<_> = line.split('\t').collect();
        let cell = |index: usize| cells.get(index).copied().unwrap_or_default();
        ResourceRow {
            group: cell(0),
            version: cell(1),
            plural: cell(2),
            singular: cell(3),
            kind: cell(4),
            short_names: list(cell(5), ','),
            categories: list(cell(6), ','),
            namespaced: cell(7) == "true",
            verbs: list(cell(8), ','),
            subresources: list(cell(9), ' ').into_iter().map(subresource).collect(),
            hash: cell(10),
        }
    })
}

/// The order of versions: stable before beta before alpha, higher before lower.
fn rank(version: &str) -> (u8, u32, u32) {
    let rest = version.trim_start_matches('v');
    let (major, stage, minor) = match (rest.split_once("alpha"), rest.split_once("beta")) {
        (Some((major, minor)), _) => (major, 0, minor),
        (None, Some((major, minor))) => (major, 1, minor),
        (None, None) => (rest, 2, ""),
    };
    (stage, major.parse().unwrap_or(0), minor.parse().unwrap_or(0))
}

fn cows(list: &[&'static str]) -> Vec<Cow<'static, str>> {
    list.iter().map(|text| Cow::Borrowed(*text)).collect()
}

/// What the table says of one resource: its identity and its subresources. `None` when the table
/// does not have it.
pub(crate) fn identity(group: &str, plural: &str) -> Option<(ResourceInfo, Vec<SubresourceRow>)> {
    let mut rows: Vec<_> =
        resources().filter(|row| row.group == group && row.plural == plural).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(rank(row.version)));
    let first = rows.first()?.clone();
    let versions = rows
        .iter()
        .map(|row| VersionInfo {
            name: row.version.into(),
            deprecation_warning: deprecated(row).map(Into::into),
            listed: true,
        })
        .collect();
    let info = ResourceInfo {
        group: first.group.into(),
        versions,
        storage_version: first.version.into(),
        plural: first.plural.into(),
        singular: first.singular.into(),
        kind: first.kind.into(),
        list_kind: format!("{}List", first.kind).into(),
        short_names: cows(&first.short_names),
        categories: cows(&first.categories),
        scope: if first.namespaced { Scope::Namespaced } else { Scope::Cluster },
        verbs: cows(&first.verbs),
        key_prefix: key_prefix(first.group, first.plural).into(),
        storage_version_hash: first.hash.into(),
    };
    Some((info, first.subresources))
}

/// What is said of a version that 1.36 calls deprecated: since when, until when, and what to use.
fn deprecated(row: &ResourceRow) -> Option<String> {
    let (since, until, instead) = match (row.group, row.version, row.plural) {
        ("", "v1", "componentstatuses") => ("1.19", "", ""),
        ("", "v1", "endpoints") => ("1.33", "", "discovery.k8s.io/v1 EndpointSlice"),
        ("admissionregistration.k8s.io", "v1alpha1", _) => ("1.35", "1.38", ""),
        ("coordination.k8s.io", "v1alpha2", _) => ("1.35", "1.38", ""),
        ("coordination.k8s.io", "v1beta1", _) => ("1.36", "1.39", ""),
        ("networking.k8s.io", "v1beta1", _) => ("1.34", "1.37", ""),
        ("resource.k8s.io", "v1alpha3", "devicetaintrules") => ("1.36", "1.39", ""),
        ("resource.k8s.io", "v1beta1", _) => ("1.35", "1.38", ""),
        ("resource.k8s.io", "v1beta2", plural) if plural != "devicetaintrules" => {
            ("1.36", "1.39", "")
        }
        ("storage.k8s.io", "v1beta1", _) => {
            ("1.34", "1.37", "storage.k8s.io/v1 VolumeAttributesClass")
        }
        _ => return None,
    };
    let api_version = api::names::join_api_version(row.group, row.version);
    let mut text = format!("{api_version} {} is deprecated in v{since}+", row.kind);
    if !until.is_empty() {
        text += &format!(", unavailable in v{until}+");
    }
    if !instead.is_empty() {
        text += &format!("; use {instead}");
    }
    Some(text)
}

/// Where upstream keeps a resource: by its plural without the group, with some old names.
fn key_prefix(group: &str, plural: &str) -> String {
    match (group, plural) {
        ("", "nodes") => "/registry/minions".to_owned(),
        ("", "replicationcontrollers") => "/registry/controllers".to_owned(),
        ("", "endpoints") => "/registry/services/endpoints".to_owned(),
        ("", "services") => "/registry/services/specs".to_owned(),
        ("networking.k8s.io", "ingresses") => "/registry/ingress".to_owned(),
        ("apiextensions.k8s.io" | "apiregistration.k8s.io", _) => {
            format!("/registry/{group}/{plural}")
        }
        _ => format!("/registry/{plural}"),
    }
}

/// The definition's name in the schema.
pub(crate) fn schema_name(group: &str, version: &str, kind: &str) -> String {
    match group {
        "" => format!("io.k8s.api.core.{version}.{kind}"),
        "apiextensions.k8s.io" => {
            format!("io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.{version}.{kind}")
        }
        "apiregistration.k8s.io" => {
            format!("io.k8s.kube-aggregator.pkg.apis.apiregistration.{version}.{kind}")
        }
        "internal.apiserver.k8s.io" => format!("io.k8s.api.apiserverinternal.{version}.{kind}"),
        group => {
            let short = group.split('.').next().unwrap_or(group);
            format!("io.k8s.api.{short}.{version}.{kind}")
        }
    }
}

/// The columns of a kind's table; those of the generic table when it has none of its own.
pub(crate) fn columns(kind: &str) -> Vec<Column> {
    let rows = |kind: &str| -> Vec<Column> {
        COLUMNS
            .lines()
            .skip(1)
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .filter(|cells| cells.first() == Some(&kind) && cells.len() == 5)
            .map(|cells| Column {
                name: cells[1].to_owned().into(),
                kind: cells[2].to_owned().into(),
                format: cells[3].to_owned().into(),
                description: describe(cells[1]).into(),
                priority: cells[4].parse().unwrap_or_default(),
            })
            .collect()
    };
    let own = rows(kind);
    if own.is_empty() { rows("Role") } else { own }
}

fn describe(column: &str) -> &'static str {
    match column {
        "Name" => "The name of the object, unique among its kind in its namespace.",
        "Age" => "The time since the object was created.",
        "Created At" => "When the object was created.",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_version_is_first() {
        let (hpa, subresources) = identity("autoscaling", "horizontalpodautoscalers").unwrap();
        assert_eq!(hpa.versions[0].name, "v2");
        assert_eq!(hpa.short_names, ["hpa"]);
        assert_eq!(subresources[0].verbs, ["get", "patch", "update"]);
        let (claims, _) = identity("resource.k8s.io", "resourceclaims").unwrap();
        let names: Vec<_> = claims.versions.iter().map(|version| version.name.as_ref()).collect();
        assert_eq!(names, ["v1", "v1beta2", "v1beta1"]);
    }
}
