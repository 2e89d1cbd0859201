//! Removed versions: their paths and definitions are made of a current version's.

use std::collections::BTreeSet;

use serde_json::json;

use super::OldKind;
use super::facts::{Facts, Row};

/// Adds the versions' rows and definitions to the tables.
pub(super) fn add(facts: &mut Facts, old: &[OldKind]) {
    let mut lines: BTreeSet<String> = BTreeSet::new();
    for kind in old {
        let name = published(kind);
        let list = format!("{}List", kind.current_definition);
        for row in facts.rows().filter(|row| is_of(row, kind)) {
            lines.insert(line(&row, kind, &name, &list));
        }
        let gvk = |kind_name: &str| json!([[kind.group, kind.version, kind_name]]);
        if let Some(mut definition) = facts.schema.get(&kind.definition).cloned() {
            let of = definition["of"].as_str().unwrap_or(&kind.definition).to_owned();
            definition["of"] = of.into();
            definition["gvk"] = gvk(&kind.kind);
            facts.schema.insert(name.clone(), definition);
        }
        if let Some(mut definition) = facts.schema.get(&list).cloned() {
            definition["f"]["items"] = json!({"t": format!("[#{name}]"), "r": 1});
            definition["gvk"] = gvk(&format!("{}List", kind.kind));
            definition["of"] = list.into();
            facts.schema.insert(format!("{name}List"), definition);
        }
    }
    let known: BTreeSet<&str> = facts.paths.lines().collect();
    let new: Vec<String> =
        lines.into_iter().filter(|line| !known.contains(line.as_str())).collect();
    for line in new {
        facts.paths.push('\n');
        facts.paths.push_str(&line);
    }
}

/// Whether a path is the kind's, or the one that lists its version's kinds or its group's versions.
fn is_of(row: &Row<'_>, kind: &OldKind) -> bool {
    let (group, version) = (kind.current.0.as_str(), kind.current.1.as_str());
    match row.group_version() {
        Some((own, Some(of))) if (own, of) == (group, version) => {
            row.action.is_empty() || row.segments().first() == Some(&kind.plural.as_str())
        }
        Some((own, None)) => own == group,
        _ => false,
    }
}

fn line(row: &Row<'_>, kind: &OldKind, name: &str, list: &str) -> String {
    let (group, version) = (kind.current.0.as_str(), kind.current.1.as_str());
    let path = row.path.replacen(
        &format!("/apis/{group}/{version}/"),
        &format!("/apis/{}/{}/", kind.group, kind.version),
        1,
    );
    let path = match row.group_version() {
        Some((_, None)) => format!("/apis/{}/", kind.group),
        _ => path,
    };
    let is_own = (row.group, row.version) == (group, version);
    let (group, version) = match is_own {
        true => (kind.group.as_str(), kind.version.as_str()),
        false => (row.group, row.version),
    };
    // Names end with the text or before a comma; a list's begins as its items' does.
    let renamed = |text: &str| {
        let each = text.split(',').map(|part| match part.split_once('#') {
            Some((before, after)) if after == list => format!("{before}#{name}List"),
            Some((before, after)) if after == kind.current_definition => format!("{before}#{name}"),
            _ => part.to_owned(),
        });
        each.collect::<Vec<_>>().join(",")
    };
    [
        path.as_str(),
        row.method,
        row.action,
        group,
        version,
        row.kind,
        row.consumes,
        row.produces,
        row.parameters,
        &renamed(row.body),
        &renamed(row.responses),
    ]
    .join("\t")
}

/// The name under which the kind is published: the current one's, with its own group and version.
fn published(kind: &OldKind) -> String {
    let parts: Vec<&str> = kind.current_definition.split('.').collect();
    let prefix = parts[..parts.len().saturating_sub(3)].join(".");
    let group = kind.group.split('.').next().unwrap_or_default();
    format!("{prefix}.{group}.{}.{}", kind.version, kind.kind)
}
