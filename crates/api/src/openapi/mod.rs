//! OpenAPI documents, v2 and v3: made from the fact tables and from the schemas of custom
//! resources when they are asked for, then forgotten. Whoever serves them remembers them.
//!
//! The tables lie compressed in the binary; making a document unpacks them for as long as it
//! takes.

mod custom;
mod definitions;
mod facts;
mod gnostic;
mod merge;
mod old;
mod operations;

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

use facts::{Facts, Row};

pub use gnostic::v2_protobuf;
pub use merge::{merge_v2, only_below};

/// Which of the two forms a document has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    V2,
    V3,
}

impl Form {
    fn reference(self, definition: &str) -> String {
        match self {
            Self::V2 => format!("#/definitions/{definition}"),
            Self::V3 => format!("#/components/schemas/{definition}"),
        }
    }
}

/// A kind that a CustomResourceDefinition made, in one version.
#[derive(Debug, Clone)]
pub struct CustomKind {
    /// The API group.
    pub group: String,
    /// The version.
    pub version: String,
    /// `CronTab`.
    pub kind: String,
    /// `CronTabList`.
    pub list_kind: String,
    /// `crontabs`.
    pub plural: String,
    /// Whether objects live in a namespace.
    pub namespaced: bool,
    /// `openAPIV3Schema`, if the version has one.
    pub schema: Option<Value>,
    /// The JSON paths of `selectableFields`.
    pub selectable_fields: Vec<String>,
    /// Whether there is a `status` subresource.
    pub status: bool,
    /// Whether there is a `scale` subresource.
    pub scale: bool,
}

/// A built-in kind in a version that upstream has removed: the paths and the words of a current
/// version, with another version's name.
#[derive(Debug, Clone)]
pub struct OldKind {
    /// `extensions`.
    pub group: String,
    /// `v1beta1`.
    pub version: String,
    /// `deployments`.
    pub plural: String,
    /// `Deployment`.
    pub kind: String,
    /// The group and the version whose paths it has.
    pub current: (String, String),
    /// The definition of the current version's objects.
    pub current_definition: String,
    /// The definition of its own, which may be the current one.
    pub definition: String,
}

/// What the documents are about.
pub struct Catalogue<'a> {
    /// `v1.36.0`.
    pub git_version: &'a str,
    /// Whether a built-in group and version are served.
    pub is_served: &'a dyn Fn(&str, &str) -> bool,
    /// The custom kinds, each served version one.
    pub custom: &'a [CustomKind],
    /// The removed versions of built-in kinds that are served.
    pub old: &'a [OldKind],
}

impl Catalogue<'_> {
    /// The paths that have a v3 document: `api`, `api/v1`, `apis/apps/v1`, `version` …, sorted.
    #[must_use]
    pub fn v3_paths(&self) -> Vec<String> {
        let facts = Facts::load(self.old);
        let rows = facts.rows().filter(|row| self.has(row)).map(|row| row.document());
        let custom = self.custom.iter().flat_map(|kind| {
            [format!("apis/{}", kind.group), format!("apis/{}/{}", kind.group, kind.version)]
        });
        let paths: BTreeSet<String> = rows.chain(custom).collect();
        paths.into_iter().collect()
    }

    /// The v3 document of a path.
    #[must_use]
    pub fn v3(&self, path: &str) -> Option<Value> {
        let facts = Facts::load(self.old);
        let mut document = Document::new(&facts, Form::V3);
        for row in facts.rows().filter(|row| row.document() == path && self.has(row)) {
            document.add_row(&row);
        }
        for kind in self.custom {
            if path.strip_prefix("apis/").and_then(|rest| rest.split_once('/'))
                == Some((&kind.group, &kind.version))
            {
                custom::add(&mut document, kind);
            } else if path.strip_prefix("apis/") == Some(&kind.group) {
                document.add_group(&kind.group);
            }
        }
        document.close_references();
        if document.paths.is_empty() {
            return None;
        }
        Some(json!({
            "openapi": "3.0.0",
            "info": {"title": "Kubernetes", "version": self.git_version},
            "paths": document.paths,
            "components": {
                "schemas": document.definitions,
                "securitySchemes": {"BearerToken": bearer_token()},
            },
        }))
    }

    /// The v2 document.
    #[must_use]
    pub fn v2(&self) -> Value {
        let facts = Facts::load(self.old);
        let mut document = Document::new(&facts, Form::V2);
        for row in facts.rows().filter(|row| self.has(row)) {
            document.add_row(&row);
        }
        for kind in self.custom {
            document.add_group(&kind.group);
            custom::add(&mut document, kind);
        }
        document.close_references();
        json!({
            "swagger": "2.0",
            "info": {"title": "Kubernetes", "version": self.git_version},
            "paths": document.paths,
            "definitions": document.definitions,
            "securityDefinitions": {"BearerToken": bearer_token()},
            "security": [{"BearerToken": []}],
        })
    }

    fn has(&self, row: &Row<'_>) -> bool {
        let is_old = |group: &str, version: Option<&str>| {
            let mut all = self.old.iter().filter(|old| old.group == group);
            all.any(|old| version.is_none_or(|version| old.version == version))
        };
        match row.group_version() {
            Some((group, version)) if is_old(group, version) => true,
            Some((group, Some(version))) => (self.is_served)(group, version),
            Some((group, None)) => {
                group.is_empty()
                    || crate::schema::all_kinds().any(|(known, version, ..)| {
                        known == group && (self.is_served)(known, version)
                    })
            }
            None => true,
        }
    }
}

fn bearer_token() -> Value {
    json!({
        "description": "Bearer Token authentication",
        "type": "apiKey",
        "name": "authorization",
        "in": "header",
    })
}

/// A document while it is made.
pub(crate) struct Document<'a> {
    facts: &'a Facts,
    form: Form,
    paths: Map<String, Value>,
    definitions: Map<String, Value>,
    /// Definitions that something refers to.
    wanted: Vec<String>,
}

impl<'a> Document<'a> {
    fn new(facts: &'a Facts, form: Form) -> Self {
        Self { facts, form, paths: Map::new(), definitions: Map::new(), wanted: Vec::new() }
    }

    fn add_row(&mut self, row: &Row<'_>) {
        let operation = operations::of_row(self.facts, row, self.form, &mut self.wanted);
        self.add_operation(row.path, row.method, operation);
        // What a client may send or get without a path that says so.
        if row.action == "list" {
            self.want("io.k8s.apimachinery.pkg.apis.meta.v1.WatchEvent");
        }
    }

    fn add_operation(&mut self, path: &str, method: &str, operation: Value) {
        let item = self.paths.entry(path).or_insert_with(|| operations::path_item(path, self.form));
        item[method] = operation;
    }

    fn add_group(&mut self, group: &str) {
        let path = format!("/apis/{group}/");
        let definition = "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroup";
        let operation = operations::get_of(&path, definition, self.form);
        self.want(definition);
        self.add_operation(&path, "get", operation);
    }

    fn want(&mut self, definition: &str) {
        if !self.definitions.contains_key(definition) {
            self.wanted.push(definition.to_owned());
        }
    }

    /// Adds all definitions that are referred to, by whatever detour.
    fn close_references(&mut self) {
        while let Some(name) = self.wanted.pop() {
            if self.definitions.contains_key(&name) {
                continue;
            }
            if let Some(made) = definitions::of(self.facts, &name, self.form, &mut self.wanted) {
                self.definitions.insert(name, made);
            }
        }
    }
}

#[cfg(test)]
mod tests;
