//! A CustomResourceDefinition, read: names, versions, schemas, columns.
//!
//! Invariant: made from an object that its kind's validation has accepted; what is missing all the
//! same gets upstream's default rather than a failure.

use std::borrow::Cow;

use api::Value;
use api::jsonpath::Template;
use api::object::{at, list_at, str_at};
use api::schema::Schema;
use apiserver::resource::{Column, ScalePaths, Scope};
use cel::rules::Rules;
use structural::Node;

/// The names under which a kind is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) plural: String,
    pub(crate) singular: String,
    pub(crate) kind: String,
    pub(crate) list_kind: String,
    pub(crate) short_names: Vec<String>,
    pub(crate) categories: Vec<String>,
}

/// A version of the kind, served or not.
pub(crate) struct Version {
    pub(crate) name: String,
    pub(crate) served: bool,
    pub(crate) warning: Option<String>,
    /// The schema as it was written.
    pub(crate) schema: Option<Value>,
    pub(crate) node: Node,
    /// The schema as decoding and merging use it.
    pub(crate) body: Schema,
    pub(crate) columns: Vec<Column>,
    /// How each column after the name is found.
    pub(crate) paths: Vec<Option<Template>>,
    pub(crate) has_status: bool,
    pub(crate) scale: Option<ScalePaths>,
    pub(crate) selectable: Vec<String>,
    pub(crate) rules: Option<Rules>,
}

/// A definition.
pub(crate) struct Definition {
    pub(crate) group: String,
    pub(crate) names: Names,
    pub(crate) scope: Scope,
    pub(crate) versions: Vec<Version>,
    /// The place of the version that objects are stored in.
    pub(crate) storage: usize,
    /// `spec.conversion`.
    pub(crate) conversion: Value,
    pub(crate) terminating: bool,
}

impl Names {
    /// Reads `spec.names` or `status.acceptedNames`.
    pub(crate) fn of(names: &Value) -> Self {
        let text = |field: &str| str_at(names, &[field]).to_owned();
        let list = |field: &str| {
            list_at(names, &[field]).iter().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        Self {
            plural: text("plural"),
            singular: text("singular"),
            kind: text("kind"),
            list_kind: text("listKind"),
            short_names: list("shortNames"),
            categories: list("categories"),
        }
    }

    /// As `status.acceptedNames` has them.
    pub(crate) fn to_value(&self) -> Value {
        let mut names = serde_json::json!({"plural": self.plural, "kind": self.kind});
        for (field, text) in [("singular", &self.singular), ("listKind", &self.list_kind)] {
            if !text.is_empty() {
                names[field] = text.as_str().into();
            }
        }
        for (field, list) in [("shortNames", &self.short_names), ("categories", &self.categories)] {
            if !list.is_empty() {
                names[field] = list.clone().into();
            }
        }
        names
    }
}

impl Definition {
    /// Reads a definition. The names are those that were accepted.
    pub(crate) fn of(object: &Value, names: Names) -> Self {
        let versions = list_at(object, &["spec", "versions"]);
        let is_deleting = at(object, &["metadata", "deletionTimestamp"]).is_some();
        Self {
            group: str_at(object, &["spec", "group"]).to_owned(),
            names,
            scope: match str_at(object, &["spec", "scope"]) {
                "Namespaced" => Scope::Namespaced,
                _ => Scope::Cluster,
            },
            storage: versions.iter().position(|one| one["storage"] == true).unwrap_or_default(),
            versions: versions.iter().map(version).collect(),
            conversion: at(object, &["spec", "conversion"]).cloned().unwrap_or_default(),
            terminating: is_deleting,
        }
    }

    /// A version by its name.
    pub(crate) fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|version| version.name == name)
    }

    /// The version that an object of the kind says it is in.
    pub(crate) fn version_of(&self, object: &Value) -> Option<&Version> {
        let (_, name) = api::names::split_api_version(api::object::api_version(object));
        self.version(name)
    }
}

fn version(version: &Value) -> Version {
    let schema = at(version, &["schema", "openAPIV3Schema"]).filter(|schema| schema.is_object());
    let name = str_at(version, &["name"]).to_owned();
    let is_deprecated = version["deprecated"] == true;
    let (columns, paths) = columns(list_at(version, &["additionalPrinterColumns"]));
    Version {
        served: version["served"] == true,
        warning: is_deprecated.then(|| str_at(version, &["deprecationWarning"]).to_owned()),
        node: Node::root(schema),
        body: api::schema::from_structural(schema.unwrap_or(&Value::Null)).unwrap_or(Schema::Any),
        rules: schema.and_then(Rules::compile),
        schema: schema.cloned(),
        columns,
        paths,
        has_status: at(version, &["subresources", "status"]).is_some(),
        scale: at(version, &["subresources", "scale"]).map(scale),
        selectable: list_at(version, &["selectableFields"])
            .iter()
            .map(|field| str_at(field, &["jsonPath"]).trim_start_matches('.').to_owned())
            .collect(),
        name,
    }
}

fn scale(scale: &Value) -> ScalePaths {
    let path = |field: &str| {
        let text = str_at(scale, &[field]);
        text.split('.').filter(|part| !part.is_empty()).map(|part| part.to_owned().into()).collect()
    };
    ScalePaths {
        spec_replicas: path("specReplicasPath"),
        status_replicas: path("statusReplicasPath"),
        selector: path("labelSelectorPath"),
    }
}

fn columns(given: &[Value]) -> (Vec<Column>, Vec<Option<Template>>) {
    let mut columns = vec![Column {
        name: "Name".into(),
        kind: "string".into(),
        format: "name".into(),
        description: "The name of the object, unique among its kind in its namespace.".into(),
        priority: 0,
    }];
    let age = serde_json::json!({"name": "Age", "type": "date",
        "description": "The time since the object was created.",
        "jsonPath": ".metadata.creationTimestamp"});
    let given = if given.is_empty() { std::slice::from_ref(&age) } else { given };
    let mut paths = Vec::new();
    for column in given {
        let text =
            |field: &str| -> Cow<'static, str> { str_at(column, &[field]).to_owned().into() };
        let path = text("jsonPath");
        let description = match text("description") {
            own if own.is_empty() => {
                format!("Custom resource definition column (in JSONPath format): {path}").into()
            }
            own => own,
        };
        let priority = column["priority"].as_i64().and_then(|own| i32::try_from(own).ok());
        columns.push(Column {
            name: text("name"),
            kind: text("type"),
            format: text("format"),
            description,
            priority: priority.unwrap_or_default(),
        });
        paths.push(Template::parse(&format!("{{{path}}}")).ok());
    }
    (columns, paths)
}
