//! The tables behind the documents, unpacked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::Read;

use flate2::read::DeflateDecoder;
use serde_json::Value;

use super::{OldKind, old};

/// `schema.json`, `paths.tsv` and `descriptions.tsv`, deflated, a zero byte between them.
static PACKED: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/openapi.bin"));

pub(super) struct Facts {
    pub(super) schema: BTreeMap<String, Value>,
    pub(super) paths: String,
    descriptions: HashMap<String, String>,
    /// The values that fields take, by definition and field.
    enums: HashMap<String, Vec<String>>,
    /// The plural of a kind's path → the kind, by group and version.
    kinds: HashMap<String, String>,
    /// The plurals that live in namespaces, by group and version.
    namespaced: HashSet<String>,
}

/// A path and method.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row<'a> {
    pub(super) path: &'a str,
    pub(super) method: &'a str,
    pub(super) action: &'a str,
    pub(super) group: &'a str,
    pub(super) version: &'a str,
    pub(super) kind: &'a str,
    pub(super) consumes: &'a str,
    pub(super) produces: &'a str,
    pub(super) parameters: &'a str,
    pub(super) body: &'a str,
    pub(super) responses: &'a str,
}

impl Facts {
    /// Unpacks the tables and adds the removed versions to them: some milliseconds.
    pub(super) fn load(old: &[OldKind]) -> Self {
        let mut text = String::new();
        // The bytes are made by `build.rs`; if they were broken the documents would be empty, and
        // the tests of this module fail.
        let _ = DeflateDecoder::new(PACKED).read_to_string(&mut text);
        let mut parts = text.split('\0');
        let mut next = || parts.next().unwrap_or_default();
        let schema = serde_json::from_str(next()).unwrap_or_default();
        let paths = next().to_owned();
        let mut descriptions = HashMap::new();
        for line in next().lines() {
            if let Some((key, text)) = line.rsplit_once('\t') {
                descriptions.insert(key.to_owned(), unescape(text));
            }
        }
        let mut enums = HashMap::new();
        for line in next().lines().skip(1) {
            if let Some((key, values)) = line.rsplit_once('\t') {
                enums.insert(key.to_owned(), values.split(',').map(str::to_owned).collect());
            }
        }
        let (kinds, namespaced) = (HashMap::new(), HashSet::new());
        let mut facts = Self { schema, paths, descriptions, enums, kinds, namespaced };
        old::add(&mut facts, old);
        let kinds = facts
            .rows()
            .filter(|row| {
                matches!(row.action, "list" | "post") && row.path.matches('/').count() < 8
            })
            .filter_map(|row| Some((row.key()?, row.kind.to_owned())))
            .collect();
        let namespaced =
            facts.rows().filter(Row::is_namespaced).filter_map(|row| row.key()).collect();
        (facts.kinds, facts.namespaced) = (kinds, namespaced);
        facts
    }

    pub(super) fn rows(&self) -> impl Iterator<Item = Row<'_>> {
        self.paths.lines().skip(1).filter_map(|line| {
            let mut columns = line.split('\t');
            let mut next = || columns.next();
            Some(Row {
                path: next()?,
                method: next()?,
                action: next()?,
                group: next()?,
                version: next()?,
                kind: next()?,
                consumes: next()?,
                produces: next()?,
                parameters: next()?,
                body: next()?,
                responses: next()?,
            })
        })
    }

    /// The values that a field takes; `part` is `[]` for a list's items and `{}` for a map's.
    pub(super) fn values(&self, definition: &str, field: &str, part: &str) -> Option<&[String]> {
        let own = self.enums.get(&format!("{definition}\t{field}{part}"));
        let of = || self.enums.get(&format!("{}\t{field}{part}", self.model(definition)?));
        own.or_else(of).map(Vec::as_slice)
    }

    /// The current definition that a removed version's was made of.
    fn model(&self, definition: &str) -> Option<&str> {
        self.schema.get(definition)?.get("of")?.as_str().filter(|name| !name.is_empty())
    }

    /// The description of a definition (`field` empty) or of a field.
    pub(super) fn description(&self, definition: &str, field: &str) -> Option<&str> {
        let key = |definition: &str| format!("{definition}\t{field}");
        let own = self.descriptions.get(&key(definition));
        let of = || self.descriptions.get(&key(self.model(definition)?));
        let known = own.or_else(of).map(String::as_str);
        // The type crate makes lists of one generic type, without their texts.
        known.or_else(|| {
            if !definition.ends_with("List") {
                return None;
            }
            let pod = "io.k8s.api.core.v1.Pod\t";
            match field {
                "apiVersion" | "kind" => {
                    self.descriptions.get(&format!("{pod}{field}")).map(String::as_str)
                }
                "metadata" => Some("Standard list metadata."),
                "items" => Some("The items of the list."),
                "" => Some("A list of objects of one kind."),
                _ => None,
            }
        })
    }

    /// Whether what a path is about lives in namespaces, also where the path names none.
    pub(super) fn lives_in_namespaces(&self, row: &Row<'_>) -> bool {
        row.key().is_some_and(|key| self.namespaced.contains(&key))
    }

    /// The kind that a path's collection is of, for subresources whose own kind is another.
    pub(super) fn parent_kind(&self, row: &Row<'_>) -> Option<&str> {
        self.kinds.get(&row.key()?).map(String::as_str)
    }
}

fn unescape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            out.push(c);
            continue;
        }
        match chars.next() {
            Some('n') => out.push('\n'),
            Some('t') => out.push('\t'),
            Some(other) => out.push(other),
            None => {}
        }
    }
    out
}

impl Row<'_> {
    /// The group and version that the path is of, as far as it says them.
    pub(super) fn group_version(&self) -> Option<(&str, Option<&str>)> {
        let mut parts = self.path.trim_matches('/').split('/');
        match (parts.next(), parts.next(), parts.next()) {
            (Some("api"), version, _) => Some(("", version)),
            (Some("apis"), Some(group), version) => Some((group, version)),
            _ => None,
        }
    }

    /// Whether the path names a namespace.
    pub(super) fn is_namespaced(&self) -> bool {
        self.path.contains("/namespaces/{namespace}/")
    }

    /// The v3 document that the path belongs to.
    pub(super) fn document(&self) -> String {
        let path = self.path.trim_matches('/');
        let parts = match path.split('/').next() {
            Some("api") => 2,
            Some("apis") => 3,
            Some("logs") => 1,
            _ => usize::MAX,
        };
        path.split('/').take(parts).collect::<Vec<_>>().join("/")
    }

    /// Group, version and plural.
    fn key(&self) -> Option<String> {
        let (group, version) = self.group_version()?;
        Some(format!("{group}/{}/{}", version?, self.plural()?))
    }

    /// The segments behind group and version, without `watch`, namespace and its placeholder.
    pub(super) fn segments(&self) -> Vec<&str> {
        let skip = if self.path.starts_with("/apis/") { 3 } else { 2 };
        let mut parts: Vec<_> = self.path.trim_matches('/').split('/').skip(skip).collect();
        if parts.first() == Some(&"watch") {
            parts.remove(0);
        }
        if parts.len() > 2 && parts[..2] == ["namespaces", "{namespace}"] {
            parts.drain(..2);
        }
        parts
    }

    fn plural(&self) -> Option<&str> {
        self.segments().first().copied()
    }
}
