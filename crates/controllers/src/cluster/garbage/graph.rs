//! Who owns whom: all objects of the cluster, as far as anyone refers to anyone. Pure.
//!
//! An owner that is referred to but has not been seen is virtual: it may not exist, or its watch
//! may be late; the collector asks the server before it believes either.
//! (Kubernetes `pkg/controller/garbagecollector/graph_builder.go`)

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use api::typed::ResourceType;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use reconcile::Key;

/// Holds an owner until its blocking dependents are gone.
pub(crate) const FOREGROUND: &str = "foregroundDeletion";
/// Holds an owner until its dependents are let go.
pub(crate) const ORPHAN: &str = "orphan";

/// An object's UID.
pub(crate) type Uid = Arc<str>;

/// One object.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    /// Where it is; for a virtual one, as a dependent says.
    pub(crate) resource: ResourceType,
    pub(crate) key: Key,
    pub(crate) owners: Vec<OwnerReference>,
    pub(crate) dependents: HashSet<Uid>,
    pub(crate) deleting: bool,
    /// Waits for its dependents.
    pub(crate) foreground: bool,
    /// Lets its dependents go.
    pub(crate) orphaning: bool,
    /// Referred to, not seen.
    pub(crate) is_virtual: bool,
}

impl Node {
    /// Whether this object holds the deletion of an owner up.
    pub(crate) fn blocks(&self, owner: &str) -> bool {
        self.owners
            .iter()
            .any(|reference| reference.uid == owner && reference.block_owner_deletion == Some(true))
    }
}

/// All objects by UID.
#[derive(Debug, Default)]
pub(crate) struct Graph {
    nodes: HashMap<Uid, Node>,
}

impl Graph {
    pub(crate) fn get(&self, uid: &str) -> Option<&Node> {
        self.nodes.get(uid)
    }

    /// An object is as the metadata says; returns whom to look at.
    pub(crate) fn upsert(
        &mut self,
        resource: &ResourceType,
        meta: &ObjectMeta,
        locate: &dyn Fn(&OwnerReference) -> Option<ResourceType>,
    ) -> Vec<Uid> {
        let uid: Uid = meta.uid.as_deref().unwrap_or_default().into();
        let owners = meta.owner_references.clone().unwrap_or_default();
        let has = |finalizer: &str| meta.finalizers.iter().flatten().any(|one| one == finalizer);
        let deleting = meta.deletion_timestamp.is_some();
        let old = self.nodes.remove(&uid);
        let mut look = Vec::new();
        let node = Node {
            resource: resource.clone(),
            key: Key::of(meta),
            owners,
            dependents: old.as_ref().map(|old| old.dependents.clone()).unwrap_or_default(),
            deleting,
            foreground: deleting && has(FOREGROUND),
            orphaning: deleting && has(ORPHAN),
            is_virtual: false,
        };
        self.connect(&uid, old.as_ref(), &node, locate, &mut look);
        let started =
            |now: bool, before: fn(&Node) -> bool| now && !old.as_ref().is_some_and(before);
        if started(node.foreground, |old| old.foreground) {
            look.extend(node.dependents.iter().cloned());
            look.push(uid.clone());
        }
        if started(node.orphaning, |old| old.orphaning) {
            look.push(uid.clone());
        }
        if !node.owners.is_empty() && old.as_ref().is_none_or(|old| old.owners != node.owners) {
            look.push(uid.clone());
        }
        // Dependents that took this one for virtual may be misled about where it is.
        if old.as_ref().is_some_and(|old| old.is_virtual && old.key != node.key) {
            look.extend(node.dependents.iter().cloned());
        }
        self.nodes.insert(uid, node);
        look
    }

    fn connect(
        &mut self,
        uid: &Uid,
        old: Option<&Node>,
        node: &Node,
        locate: &dyn Fn(&OwnerReference) -> Option<ResourceType>,
        look: &mut Vec<Uid>,
    ) {
        let before: &[OwnerReference] = old.map(|old| old.owners.as_slice()).unwrap_or_default();
        for gone in before.iter().filter(|was| !node.owners.iter().any(|is| is.uid == was.uid)) {
            look.extend(self.disconnect(uid, &gone.uid));
        }
        for reference in &node.owners {
            let unblocked = before
                .iter()
                .any(|was| was.uid == reference.uid && was.block_owner_deletion == Some(true))
                && reference.block_owner_deletion != Some(true);
            let owner_uid: Uid = reference.uid.as_str().into();
            if &owner_uid == uid {
                continue;
            }
            if let Some(owner) = self.nodes.get_mut(&owner_uid) {
                owner.dependents.insert(uid.clone());
                if unblocked && owner.foreground {
                    look.push(owner_uid);
                }
            } else if let Some(resource) = locate(reference) {
                let namespace = if resource.namespaced { &*node.key.namespace } else { "" };
                let key = Key::new(namespace, &reference.name);
                let owner = Node {
                    resource,
                    key,
                    owners: Vec::new(),
                    dependents: [uid.clone()].into(),
                    deleting: false,
                    foreground: false,
                    orphaning: false,
                    is_virtual: true,
                };
                self.nodes.insert(owner_uid.clone(), owner);
                look.push(owner_uid);
            }
        }
    }

    /// A dependent no longer refers to an owner; returns the owner when it waits for that.
    fn disconnect(&mut self, uid: &Uid, owner_uid: &str) -> Option<Uid> {
        let (owner_uid, _) = self.nodes.get_key_value(owner_uid)?;
        let owner_uid = owner_uid.clone();
        let owner = self.nodes.get_mut(&owner_uid)?;
        owner.dependents.remove(uid);
        let (waits, forgotten) =
            (owner.foreground, owner.is_virtual && owner.dependents.is_empty());
        if forgotten {
            self.nodes.remove(&owner_uid);
        }
        waits.then_some(owner_uid)
    }

    /// An object is gone; returns whom to look at.
    pub(crate) fn remove(&mut self, uid: &str) -> Vec<Uid> {
        let Some((uid, node)) = self.nodes.remove_entry(uid) else { return Vec::new() };
        let mut look: Vec<Uid> = node.dependents.iter().cloned().collect();
        for owner in &node.owners {
            look.extend(self.disconnect(&uid, &owner.uid));
        }
        look
    }

    /// The dependents that hold an owner's deletion up.
    pub(crate) fn blocking(&self, uid: &str) -> Vec<Uid> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        node.dependents
            .iter()
            .filter(|dependent| self.get(dependent).is_some_and(|found| found.blocks(uid)))
            .cloned()
            .collect()
    }

    /// The dependents of an object that are there.
    pub(crate) fn dependents(&self, uid: &str) -> Vec<(Uid, Node)> {
        let Some(node) = self.nodes.get(uid) else { return Vec::new() };
        node.dependents
            .iter()
            .filter_map(|dependent| Some((dependent.clone(), self.get(dependent)?.clone())))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn pods() -> ResourceType {
        ResourceType::new("", "v1", "pods", "Pod", true)
    }

    fn meta(uid: &str, owners: &[(&str, bool)]) -> ObjectMeta {
        ObjectMeta {
            name: Some(uid.into()),
            namespace: Some("n".into()),
            uid: Some(uid.into()),
            owner_references: Some(
                owners
                    .iter()
                    .map(|(uid, block)| OwnerReference {
                        uid: (*uid).into(),
                        name: (*uid).into(),
                        kind: "Pod".into(),
                        api_version: "v1".into(),
                        block_owner_deletion: Some(*block),
                        ..OwnerReference::default()
                    })
                    .collect(),
            ),
            ..ObjectMeta::default()
        }
    }

    fn deleting(mut meta: ObjectMeta, finalizer: &str) -> ObjectMeta {
        meta.deletion_timestamp = Some(Time(jiff::Timestamp::UNIX_EPOCH));
        meta.finalizers = Some(vec![finalizer.into()]);
        meta
    }

    fn graph(metas: &[ObjectMeta]) -> (Graph, Vec<String>) {
        let mut graph = Graph::default();
        let mut look = Vec::new();
        for meta in metas {
            look = names(graph.upsert(&pods(), meta, &|_| Some(pods())));
        }
        (graph, look)
    }

    fn names(uids: Vec<Uid>) -> Vec<String> {
        let mut names: Vec<String> = uids.iter().map(ToString::to_string).collect();
        names.sort();
        names.dedup();
        names
    }

    #[test]
    fn an_owner_not_seen_is_virtual_until_it_is() {
        let (mut graph, look) = graph(&[meta("child", &[("owner", true)])]);
        assert_eq!(look, ["child", "owner"]);
        assert!(graph.get("owner").unwrap().is_virtual);
        let look = graph.upsert(&pods(), &meta("owner", &[]), &|_| None);
        assert!(look.is_empty() && !graph.get("owner").unwrap().is_virtual);
        assert_eq!(graph.get("owner").unwrap().dependents.len(), 1);
    }

    #[test]
    fn the_dependents_of_what_is_gone_are_looked_at() {
        let (mut graph, _) = graph(&[meta("owner", &[]), meta("a", &[("owner", true)])]);
        assert_eq!(names(graph.remove("owner")), ["a"]);
    }

    #[test]
    fn a_foreground_deletion_waits_for_those_that_block() {
        let owner = deleting(meta("owner", &[]), FOREGROUND);
        let dependents = [meta("a", &[("owner", true)]), meta("b", &[("owner", false)])];
        let (mut graph, look) =
            graph(&[meta("owner", &[]), dependents[0].clone(), dependents[1].clone(), owner]);
        assert_eq!(look, ["a", "b", "owner"]);
        assert_eq!(names(graph.blocking("owner")), ["a"]);
        assert_eq!(names(graph.remove("a")), ["owner"], "the owner may go now");
        assert!(graph.blocking("owner").is_empty());
    }

    #[test]
    fn a_reference_that_no_longer_blocks_wakes_the_owner() {
        let owner = deleting(meta("owner", &[]), FOREGROUND);
        let (_, look) =
            graph(&[owner, meta("a", &[("owner", true)]), meta("a", &[("owner", false)])]);
        assert_eq!(look, ["a", "owner"]);
    }

    #[test]
    fn an_orphaning_owner_is_looked_at_itself() {
        let owner = deleting(meta("owner", &[]), ORPHAN);
        let (graph, look) = graph(&[meta("owner", &[]), meta("a", &[("owner", true)]), owner]);
        assert_eq!(look, ["owner"]);
        assert_eq!(graph.dependents("owner").len(), 1);
    }
}
