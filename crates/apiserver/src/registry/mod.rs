//! The registry: every kind that is served, and the writes that all kinds share.
//!
//! Invariant: readers take a snapshot and never wait; a kind that is added, replaced or removed
//! while the server runs is seen by the next request, in routes and discovery alike.

mod create;
mod delete;
mod fields;
mod forms;
mod kinds;
mod meta;
mod object_api;
mod op;
mod update;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use api::names::GroupResource;
use arc_swap::ArcSwap;
use parking_lot::Mutex;

use crate::discovery::Documents;
use crate::resource::{Converter, OldVersion, Resource, Scope, Subresource};
use crate::storage::Cacher;

pub(crate) use delete::DeleteRequest;
pub(crate) use forms::Conversions;
pub(crate) use op::{Deed, Op, Transform};
pub(crate) use update::Updated;

/// One kind, as it is served.
pub(crate) struct Entry {
    pub(crate) resource: Arc<dyn Resource>,
    pub(crate) gr: GroupResource,
    pub(crate) subresources: Vec<Subresource>,
    /// What writes through the object itself (an empty name) and its subresources reset.
    resets: Vec<(String, Vec<&'static str>)>,
    /// Its watch cache; virtual kinds have an empty one that nobody feeds.
    pub(crate) cacher: Arc<Cacher>,
    /// Who turns what is kept into the version that `resource` works in, and back.
    pub(crate) converter: Option<Arc<dyn Converter>>,
    /// Held by the watch that converts for all.
    pub(crate) converting: tokio::sync::Mutex<()>,
    /// The kind as its versions have it, where they have rules of their own.
    versions: Vec<(String, Arc<Entry>)>,
}

impl Entry {
    fn new(resource: Arc<dyn Resource>) -> Self {
        let cacher = Arc::new(Cacher::new(resource.clone()));
        let versions = resource
            .info()
            .versions
            .iter()
            .filter_map(|version| {
                let own = Self::over(resource.in_version(&version.name)?, cacher.clone());
                Some((version.name.to_string(), Arc::new(own)))
            })
            .collect();
        Self { versions, ..Self::over(resource, cacher) }
    }

    /// A kind, or a version of one, whose objects are in this cache.
    fn over(resource: Arc<dyn Resource>, cacher: Arc<Cacher>) -> Self {
        let subresources = resource.subresources();
        let mut resets = vec![(String::new(), resource.reset_fields(None))];
        resets.extend(
            subresources
                .iter()
                .map(|one| (one.name.to_string(), resource.reset_fields(Some(&one.name)))),
        );
        Self {
            gr: resource.info().group_resource(),
            subresources,
            resets,
            cacher,
            converter: resource.converter(),
            converting: tokio::sync::Mutex::default(),
            versions: Vec::new(),
            resource,
        }
    }

    /// The kind as this version has it.
    pub(crate) fn in_version<'e>(self: &'e Arc<Self>, version: &str) -> &'e Arc<Self> {
        let own = self.versions.iter().find(|(name, _)| name == version);
        own.map_or(self, |(_, entry)| entry)
    }

    /// Whether its objects live in a namespace.
    pub(crate) fn is_namespaced(&self) -> bool {
        self.resource.info().scope == Scope::Namespaced
    }

    /// A subresource by its name.
    pub(crate) fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|known| known.name == name)
    }

    /// The fields that a write through the object itself or a subresource resets.
    pub(crate) fn reset_fields(&self, subresource: Option<&str>) -> &[&'static str] {
        let name = subresource.unwrap_or_default();
        let found = self.resets.iter().find(|(known, _)| known == name);
        found.map(|(_, fields)| fields.as_slice()).unwrap_or_default()
    }

    /// The key of an object.
    pub(crate) fn key(&self, namespace: &str, name: &str) -> Arc<str> {
        let prefix = &self.resource.info().key_prefix;
        if self.is_namespaced() {
            format!("{prefix}/{namespace}/{name}").into()
        } else {
            format!("{prefix}/{name}").into()
        }
    }

    /// `apps/v1`, for one of the kind's versions.
    pub(crate) fn api_version(&self, version: &str) -> String {
        self.resource.info().api_version(version)
    }

    /// What users of a version are warned with.
    pub(crate) fn deprecation_warning(&self, version: &str) -> Option<&str> {
        let old = self.resource.old_versions().iter().find(|one| one.api_version == version);
        let warning = old.map(|one| one.warning.as_str());
        warning.or_else(|| {
            let versions = &self.resource.info().versions;
            versions.iter().find(|one| one.name == version)?.deprecation_warning.as_deref()
        })
    }

    /// The name of a version by its `apiVersion`, if the kind has it.
    pub(crate) fn version_of(&self, api_version: &str) -> Option<&str> {
        let old = self.resource.old_versions().iter().map(|one| one.api_version.as_str());
        let info = self.resource.info();
        let own = info.versions.iter().map(|one| &*one.name);
        own.chain(old).find(|version| info.api_version(version) == api_version)
    }
}

/// What is served at one moment.
#[derive(Default)]
pub(crate) struct Snapshot {
    /// Group → plural → kind.
    groups: HashMap<String, HashMap<String, Arc<Entry>>>,
    /// In the order in which they were registered.
    entries: Vec<Arc<Entry>>,
    /// Whether versions that upstream has removed are served.
    old_versions: bool,
    pub(crate) documents: Documents,
}

impl Snapshot {
    fn new(entries: Vec<Arc<Entry>>, old_versions: bool) -> Self {
        let mut groups: HashMap<String, HashMap<String, Arc<Entry>>> = HashMap::new();
        for entry in &entries {
            let info = entry.resource.info();
            groups
                .entry(info.group.to_string())
                .or_default()
                .insert(info.plural.to_string(), entry.clone());
        }
        Self { groups, entries, old_versions, documents: Documents::default() }
    }

    /// A kind by group, version and plural, if it serves that version; as that version has it, and
    /// with the name by which it knows the version.
    pub(crate) fn find(
        &self,
        group: &str,
        version: &str,
        plural: &str,
    ) -> Option<(&Arc<Entry>, String)> {
        let own = self.groups.get(group).and_then(|plurals| plurals.get(plural));
        if let Some(entry) = own
            && entry.resource.info().versions.iter().any(|served| served.name == version)
        {
            return Some((entry.in_version(version), version.to_owned()));
        }
        let api_version = api::names::join_api_version(group, version);
        let has = |entry: &&Arc<Entry>| {
            let named = entry.resource.info().plural == plural;
            named && self.old_versions_of(entry).any(|old| old.api_version == api_version)
        };
        self.entries.iter().find(has).map(|entry| (entry, api_version.clone()))
    }

    fn old_versions_of<'a>(&self, entry: &'a Entry) -> impl Iterator<Item = &'a OldVersion> {
        let served = self.old_versions.then(|| entry.resource.old_versions());
        served.unwrap_or_default().iter()
    }

    /// The kinds that discovery lists in a group and version, by their plural names, and whether
    /// each has it as an old version only.
    pub(crate) fn listed(&self, group: &str, version: &str) -> Vec<(&Entry, bool)> {
        let api_version = api::names::join_api_version(group, version);
        let mut found: Vec<(&Entry, bool)> = Vec::new();
        for entry in &self.entries {
            let info = entry.resource.info();
            let own = info.group == group
                && info.versions.iter().any(|one| one.name == version && one.listed);
            let is_it = |old: &OldVersion| old.listed && old.api_version == api_version;
            if own || self.old_versions_of(entry).any(is_it) {
                found.push((entry.in_version(version), !own));
            }
        }
        found.sort_by(|(left, _), (right, _)| left.gr.resource.cmp(&right.gr.resource));
        found
    }

    /// A kind by group and plural.
    pub(crate) fn by_resource(&self, resource: &GroupResource) -> Option<&Arc<Entry>> {
        self.groups.get(&*resource.group)?.get(&*resource.resource)
    }

    /// Every kind.
    pub(crate) fn entries(&self) -> &[Arc<Entry>] {
        &self.entries
    }

    /// The groups and the versions that somebody serves in them.
    pub(crate) fn group_versions(&self) -> BTreeMap<&str, Vec<&str>> {
        let mut found: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for entry in &self.entries {
            let info = entry.resource.info();
            let versions = found.entry(&info.group).or_default();
            for version in info.versions.iter().filter(|version| version.listed) {
                if !versions.contains(&&*version.name) {
                    versions.push(&version.name);
                }
            }
        }
        // What is old comes last, whatever its name says of its rank.
        let listed = |entry| self.old_versions_of(entry).filter(|old| old.listed);
        for old in self.entries.iter().flat_map(|entry| listed(entry)) {
            let (group, version) = api::names::split_api_version(&old.api_version);
            let versions = found.entry(group).or_default();
            if !versions.contains(&version) {
                versions.push(version);
            }
        }
        found.retain(|_, versions| !versions.is_empty());
        found
    }

    /// Whether nothing but old versions is served in a group and version.
    pub(crate) fn is_old(&self, group: &str, version: &str) -> bool {
        !self.entries.iter().any(|entry| {
            let info = entry.resource.info();
            info.group == group && info.versions.iter().any(|one| one.name == version)
        })
    }
}

/// Every kind that is served, now.
pub(crate) struct Registry {
    old_versions: bool,
    snapshot: ArcSwap<Snapshot>,
    writing: Mutex<()>,
}

impl Registry {
    /// The kinds, with or without the versions that upstream has removed.
    pub(crate) fn new(resources: Vec<Arc<dyn Resource>>, old_versions: bool) -> Self {
        let entries = resources.into_iter().map(|one| Arc::new(Entry::new(one))).collect();
        let snapshot = ArcSwap::from_pointee(Snapshot::new(entries, old_versions));
        Self { old_versions, snapshot, writing: Mutex::default() }
    }

    /// What is served now.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.snapshot.load_full()
    }

    /// Adds a kind or replaces the one of its group and plural, which is returned with the new
    /// entry.
    pub(crate) fn put(&self, resource: Arc<dyn Resource>) -> (Arc<Entry>, Option<Arc<Entry>>) {
        let _writing = self.writing.lock();
        let entry = Arc::new(Entry::new(resource));
        let before = self.snapshot.load();
        let mut entries = before.entries.clone();
        let place = entries.iter().position(|known| known.gr == entry.gr);
        let replaced = match place {
            Some(at) => Some(std::mem::replace(&mut entries[at], entry.clone())),
            None => {
                entries.push(entry.clone());
                None
            }
        };
        let documents = before.documents.without_group(&entry.gr.group);
        self.snapshot
            .store(Arc::new(Snapshot { documents, ..Snapshot::new(entries, self.old_versions) }));
        (entry, replaced)
    }

    /// Takes a kind away.
    pub(crate) fn remove(&self, resource: &GroupResource) -> Option<Arc<Entry>> {
        let _writing = self.writing.lock();
        let before = self.snapshot.load();
        let mut entries = before.entries.clone();
        let at = entries.iter().position(|known| known.gr == *resource)?;
        let removed = entries.remove(at);
        let documents = before.documents.without_group(&resource.group);
        self.snapshot
            .store(Arc::new(Snapshot { documents, ..Snapshot::new(entries, self.old_versions) }));
        Some(removed)
    }

    /// Makes discovery anew, because something outside the registry that it shows has changed.
    pub(crate) fn refresh(&self) {
        let _writing = self.writing.lock();
        let entries = self.snapshot.load().entries.clone();
        self.snapshot.store(Arc::new(Snapshot::new(entries, self.old_versions)));
    }
}
