//! Discovery: what is served, generated from the registry and from what other servers say.
//!
//! Invariant: documents belong to one snapshot of the registry and one generation of the other
//! servers' versions, are made when somebody asks for the first time, and are replaced together.

mod aggregated;
mod catalogue;
mod order;
mod plain;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::aggregation::ServedVersions;
use crate::registry::Snapshot;
use catalogue::Catalogue;

/// How many documents are kept: paths that are none must not fill the memory.
const KEPT_MAX: usize = 1024;

/// A document with its tag.
#[derive(Clone)]
pub(crate) struct Document {
    pub(crate) json: Bytes,
    /// Quoted, as `ETag` has it.
    pub(crate) tag: String,
}

/// The documents that were made of one snapshot.
#[derive(Default)]
pub(crate) struct Documents {
    made: Mutex<Made>,
    tags: Mutex<HashMap<String, String>>,
}

/// Documents of one generation of the other servers' versions.
#[derive(Default)]
struct Made {
    generation: u64,
    documents: HashMap<String, Option<Document>>,
}

impl Documents {
    /// The tag of a document that is too long to be kept; `make` makes the document.
    pub(crate) fn tag(&self, name: &str, make: impl FnOnce() -> Option<Bytes>) -> Option<String> {
        if let Some(tag) = self.tags.lock().get(name) {
            return Some(tag.clone());
        }
        let tag = tag_of(&make()?);
        self.tags.lock().insert(name.to_owned(), tag.clone());
        Some(tag)
    }

    /// The tags that stay right when a group's kinds change: those of the other groups' own
    /// documents.
    pub(crate) fn without_group(&self, group: &str) -> Self {
        let own = format!("v3 apis/{group}");
        let is_own = |name: &str| {
            name.strip_prefix(&own).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut tags = self.tags.lock().clone();
        tags.retain(|name, _| name.starts_with("v3 api") && !is_own(name));
        Self { made: Mutex::default(), tags: Mutex::new(tags) }
    }

    /// Notes the tag of a document that was just made.
    pub(crate) fn note_tag(&self, name: &str, bytes: &[u8]) -> String {
        let tag = tag_of(bytes);
        self.tags.lock().insert(name.to_owned(), tag.clone());
        tag
    }

    /// A document of a generation: `None` when it was not made, `Some(None)` when there is none.
    fn made(&self, generation: u64, key: &str) -> Option<Option<Document>> {
        let mut made = self.made.lock();
        if made.generation != generation {
            *made = Made { generation, documents: HashMap::new() };
        }
        made.documents.get(key).cloned()
    }

    fn keep(&self, generation: u64, key: String, document: Option<Document>) {
        let mut made = self.made.lock();
        let has_room = document.is_some() || made.documents.len() < KEPT_MAX;
        if made.generation == generation && has_room {
            made.documents.insert(key, document);
        }
    }
}

/// Which form of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// `APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`.
    Plain,
    /// `APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2` or `v2beta1`.
    Aggregated(&'static str, crate::negotiate::Format),
}

/// The document of a path (without a closing slash), if there is one.
pub(crate) fn document(
    snapshot: &Arc<Snapshot>,
    versions: &ServedVersions,
    path: &str,
    form: Form,
    address: &str,
) -> Option<Document> {
    // One document for all formats: they are made of it.
    let key = match form {
        Form::Plain => format!("Plain {path}"),
        Form::Aggregated(version, _) => format!("{version} {path}"),
    };
    if let Some(known) = snapshot.documents.made(versions.generation, &key) {
        return known;
    }
    let catalogue = Catalogue::new(snapshot, versions);
    let made = match form {
        Form::Plain => plain::document(&catalogue, path, address),
        Form::Aggregated(version, _) => aggregated::document(&catalogue, path, version),
    };
    let document = made.map(|value| tagged(&value));
    snapshot.documents.keep(versions.generation, key, document.clone());
    document
}

/// The paths of all groups and versions.
pub(crate) fn paths(snapshot: &Snapshot, versions: &ServedVersions) -> Vec<String> {
    let mut paths = Vec::new();
    for group in Catalogue::new(snapshot, versions).groups() {
        if !group.name.is_empty() {
            paths.push(format!("/apis/{}", group.name));
        }
        paths.extend(group.versions.iter().map(|version| match group.name {
            "" => format!("/api/{}", version.name),
            name => format!("/apis/{name}/{}", version.name),
        }));
    }
    paths
}

fn tagged(value: &Value) -> Document {
    let mut json = Vec::new();
    order::write(value, &mut json);
    json.push(b'\n');
    let tag = tag_of(&json);
    Document { json: json.into(), tag }
}

/// The tag of a document: its SHA-512, as upstream makes it.
fn tag_of(bytes: &[u8]) -> String {
    let mut tag = String::from("\"");
    for byte in Sha512::digest(bytes) {
        let _ = write!(tag, "{byte:02X}");
    }
    tag.push('"');
    tag
}
