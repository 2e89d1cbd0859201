//! Which groups and versions there are, this server's and others', in the order of discovery.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use api::priority::{self, Priority};

use crate::aggregation::{RemoteVersion, ServedVersion, ServedVersions};
use crate::registry::{Entry, Snapshot};

/// The priority of a version that upstream has removed: after everything that there is.
const REMOVED: Priority = Priority { group: 0, version: 0 };

/// What discovery is made from.
pub(super) struct Catalogue<'a> {
    snapshot: &'a Snapshot,
    versions: &'a ServedVersions,
}

/// A group with its versions, the preferred one first.
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) versions: Vec<Version<'a>>,
}

/// A version of a group.
pub(super) struct Version<'a> {
    pub(super) name: &'a str,
    pub(super) priority: Priority,
    /// What another server says of it, when that answers for it.
    pub(super) remote: Option<&'a RemoteVersion>,
}

impl<'a> Catalogue<'a> {
    pub(super) fn new(snapshot: &'a Snapshot, versions: &'a ServedVersions) -> Self {
        Self { snapshot, versions }
    }

    /// All groups, the core group among them, in upstream's order: that of APIServices first, the
    /// others by their highest priority and then by name.
    pub(super) fn groups(&self) -> Vec<Group<'a>> {
        let mut found: BTreeMap<&'a str, BTreeMap<&'a str, Version<'a>>> = BTreeMap::new();
        for (group, versions) in self.snapshot.group_versions() {
            for name in versions {
                let priority = self.own_priority(group, name);
                let version = Version { name, priority, remote: None };
                found.entry(group).or_default().insert(name, version);
            }
        }
        for served in &self.versions.all {
            // An APIService of a version that this server no longer serves says nothing.
            let Some(remote) = &served.remote else { continue };
            let version =
                Version { name: &served.version, priority: served.priority, remote: Some(remote) };
            found.entry(&served.group).or_default().insert(&served.version, version);
        }
        let mut groups: Vec<Group<'a>> = found
            .into_iter()
            .map(|(name, versions)| {
                let mut versions: Vec<_> = versions.into_values().collect();
                versions.sort_by_cached_key(|one| {
                    (Reverse(one.priority.version), priority::version_order(one.name))
                });
                Group { name, versions }
            })
            .collect();
        groups.sort_by_key(|group| {
            let highest = group.versions.iter().map(|version| version.priority.group).max();
            (group.name != priority::FIRST_GROUP, Reverse(highest), group.name)
        });
        groups
    }

    /// A group by its name.
    pub(super) fn group(&self, name: &str) -> Option<Group<'a>> {
        self.groups().into_iter().find(|group| group.name == name)
    }

    /// The priority of a version of this server's: its APIService's, upstream's for built-in
    /// groups, that of all custom ones.
    fn own_priority(&self, group: &str, version: &str) -> Priority {
        let is_it = |one: &&ServedVersion| one.group == group && one.version == version;
        let registered = self.versions.all.iter().find(is_it).filter(|one| one.remote.is_none());
        if let Some(registered) = registered {
            return registered.priority;
        }
        if self.snapshot.is_old(group, version) {
            return REMOVED;
        }
        priority::built_in(group, version).unwrap_or_else(|| {
            let is_custom = |entry: &&std::sync::Arc<Entry>| {
                entry.resource.is_custom() && entry.resource.info().group == group
            };
            match self.snapshot.entries().iter().find(is_custom) {
                Some(_) => priority::CUSTOM,
                None => priority::LAST,
            }
        })
    }

    /// This server's own kinds of a version, by name, and whether each has it as an old one only.
    pub(super) fn kinds(&self, group: &str, version: &str) -> Vec<(&'a Entry, bool)> {
        self.snapshot.listed(group, version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn served(group: &str, version: &str, priority: (i32, i32), remote: bool) -> ServedVersion {
        ServedVersion {
            group: group.into(),
            version: version.into(),
            priority: Priority { group: priority.0, version: priority.1 },
            remote: remote.then(RemoteVersion::default),
        }
    }

    #[test]
    fn the_highest_priority_of_a_group_decides_and_names_break_ties() {
        let versions = ServedVersions {
            generation: 1,
            all: vec![
                served("b.example.com", "v1", (2000, 15), true),
                served("a.example.com", "v1", (2000, 15), true),
                served("z.example.com", "v1", (100, 1), true),
                served("z.example.com", "v2", (3000, 1), true),
                served("z.example.com", "v1beta1", (100, 9), true),
                served("gone.example.com", "v1", (9000, 1), false),
            ],
        };
        let snapshot = Snapshot::default();
        let groups = Catalogue::new(&snapshot, &versions).groups();
        let said: Vec<String> = groups
            .iter()
            .map(|group| {
                let versions: Vec<_> = group.versions.iter().map(|one| one.name).collect();
                format!("{} {}", group.name, versions.join(","))
            })
            .collect();
        assert_eq!(said, ["z.example.com v1beta1,v2,v1", "a.example.com v1", "b.example.com v1"]);
    }
}
