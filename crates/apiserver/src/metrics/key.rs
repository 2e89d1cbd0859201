//! The labels of a request, borrowed to look a series up and owned to keep it.

use std::borrow::Borrow;
use std::hash::{Hash, Hasher};

use http::HeaderMap;

use crate::handlers::header;
use crate::request::RequestInfo;

/// The labels, owned.
#[derive(Debug, Clone)]
pub(super) struct Key {
    verb: &'static str,
    group: String,
    version: String,
    resource: String,
    subresource: String,
    scope: &'static str,
    dry_run: bool,
}

/// The labels, borrowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct KeyRef<'a> {
    pub(super) verb: &'static str,
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) resource: &'a str,
    pub(super) subresource: &'a str,
    pub(super) scope: &'static str,
    pub(super) dry_run: bool,
}

impl<'a> KeyRef<'a> {
    /// The labels of a request, as upstream cleans them.
    pub(super) fn of(info: &'a RequestInfo, headers: &HeaderMap, dry_run: bool) -> Self {
        let scope = match (info.is_resource, info.name.is_empty(), info.namespace.is_empty()) {
            (false, ..) => "",
            // A create names its object in its body.
            (_, false, _) => "resource",
            _ if info.verb == "create" => "resource",
            (_, true, false) => "namespace",
            (_, true, true) => "cluster",
        };
        Self {
            verb: verb(info, headers),
            group: &info.group,
            version: &info.version,
            resource: &info.resource,
            subresource: if info.is_resource { &info.subresource } else { &info.path },
            scope,
            dry_run,
        }
    }

    pub(super) fn owned(self) -> Key {
        Key {
            verb: self.verb,
            group: self.group.to_owned(),
            version: self.version.to_owned(),
            resource: self.resource.to_owned(),
            subresource: self.subresource.to_owned(),
            scope: self.scope,
            dry_run: self.dry_run,
        }
    }
}

/// Upstream counts by HTTP's verbs, with some more.
fn verb(info: &RequestInfo, headers: &HeaderMap) -> &'static str {
    if info.is_resource && matches!(&*info.subresource, "exec" | "attach" | "portforward" | "proxy")
    {
        return "CONNECT";
    }
    match info.verb {
        "get" => "GET",
        "list" => "LIST",
        "watch" => "WATCH",
        "create" | "post" => "POST",
        "update" | "put" => "PUT",
        "patch" if header(headers, "content-type").starts_with("application/apply-patch") => {
            "APPLY"
        }
        "patch" => "PATCH",
        "delete" => "DELETE",
        "deletecollection" => "DELETECOLLECTION",
        "head" => "HEAD",
        "options" => "OPTIONS",
        _ => "other",
    }
}

/// Something that has labels.
pub(super) trait AsKey {
    fn key(&self) -> KeyRef<'_>;
}

impl AsKey for Key {
    fn key(&self) -> KeyRef<'_> {
        KeyRef {
            verb: self.verb,
            group: &self.group,
            version: &self.version,
            resource: &self.resource,
            subresource: &self.subresource,
            scope: self.scope,
            dry_run: self.dry_run,
        }
    }
}

impl AsKey for KeyRef<'_> {
    fn key(&self) -> KeyRef<'_> {
        *self
    }
}

impl<'a> Borrow<dyn AsKey + 'a> for Key {
    fn borrow(&self) -> &(dyn AsKey + 'a) {
        self
    }
}

impl Hash for dyn AsKey + '_ {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for dyn AsKey + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for dyn AsKey + '_ {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.key().hash(state);
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl Eq for Key {}
