//! Discovery: what is served, generated from the registry.
//!
//! Invariant: documents belong to one snapshot of the registry, are made when somebody asks for
//! the first time, and are replaced together with it.

mod aggregated;
mod plain;
mod version;

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;
use serde_json::Value;
use sha2::{Digest, Sha512};

use crate::registry::Snapshot;

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
    made: Mutex<HashMap<String, Option<Document>>>,
    tags: Mutex<HashMap<String, String>>,
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
}

/// Which form of discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Form {
    /// `APIVersions`, `APIGroupList`, `APIGroup`, `APIResourceList`.
    Plain,
    /// `APIGroupDiscoveryList` of `apidiscovery.k8s.io/v2` or `v2beta1`.
    Aggregated(&'static str),
}

/// The document of a path (without a closing slash), if there is one.
pub(crate) fn document(
    snapshot: &Arc<Snapshot>,
    path: &str,
    form: Form,
    address: &str,
) -> Option<Document> {
    let key = format!("{form:?} {path}");
    if let Some(known) = snapshot.documents.made.lock().get(&key) {
        return known.clone();
    }
    let made = match form {
        Form::Plain => plain::document(snapshot, path, address),
        Form::Aggregated(version) => aggregated::document(snapshot, path, version),
    };
    let document = made.map(|value| tagged(&value));
    let mut documents = snapshot.documents.made.lock();
    // Paths that are none must not fill the memory.
    if document.is_some() || documents.len() < 1024 {
        documents.insert(key, document.clone());
    }
    document
}

fn tagged(value: &Value) -> Document {
    let mut json = Vec::new();
    crate::storage::stored::write_ordered(value, &mut json);
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

/// The groups in upstream's order of priority, those of custom resources after them by name; the
/// core group is not among them. Versions newest first.
fn groups(snapshot: &Snapshot) -> Vec<(&str, Vec<&str>)> {
    let mut found: Vec<(&str, Vec<&str>)> =
        snapshot.group_versions().into_iter().filter(|(group, _)| !group.is_empty()).collect();
    found.sort_by_key(|(group, _)| (version::group_rank(group), *group));
    for (_, versions) in &mut found {
        versions.sort_by_key(|name| version::rank(name));
    }
    found
}
