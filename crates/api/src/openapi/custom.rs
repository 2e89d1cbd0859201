//! Definitions and paths of custom resources.

use serde_json::{Map, Value, json};

use super::facts::Row;
use super::{CustomKind, Document, Form, operations};

/// The keywords of a structural schema that OpenAPI v2 has no word for, or that kubectl cannot
/// cope with there.
const NOT_IN_V2: [&str; 6] = ["oneOf", "anyOf", "allOf", "not", "nullable", "default"];

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";
const EMBEDDED_VERSION: &str = "apiVersion defines the versioned schema of this representation of an object. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#resources";
const EMBEDDED_KIND: &str = "kind is a string value representing the type of this object. In CamelCase. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

const LIST_METADATA: &str = "Standard list metadata. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#types-kinds";

/// The name under which a custom kind is published: the group backwards, the version, the kind.
fn definition_name(kind: &CustomKind, name: &str) -> String {
    let mut parts: Vec<_> = kind.group.split('.').rev().collect();
    parts.extend([kind.version.as_str(), name]);
    parts.join(".")
}

pub(super) fn add(document: &mut Document<'_>, kind: &CustomKind) {
    let (name, list) = (definition_name(kind, &kind.kind), definition_name(kind, &kind.list_kind));
    let gvk = |name: &str| json!([{"group": kind.group, "version": kind.version, "kind": name}]);
    let mut schema = own_schema(kind, document);
    schema["x-kubernetes-group-version-kind"] = gvk(&kind.kind);
    let fields: Vec<_> =
        kind.selectable_fields.iter().map(|path| json!({"fieldPath": path})).collect();
    let select = |schema: &mut Value| {
        if !fields.is_empty() {
            schema["x-kubernetes-selectable-fields"] = Value::Array(fields.clone());
        }
    };
    select(&mut schema);
    document.definitions.insert(name.clone(), schema);
    let mut list_schema = json!({
        "description": format!("{} is a list of {}", kind.list_kind, kind.kind),
        "type": "object",
        "required": ["items"],
        "properties": {"items": {
            "description": format!("List of {}. More info: https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md", kind.plural),
            "type": "array",
            "items": {"$ref": document.form.reference(&name)},
        }},
        "x-kubernetes-group-version-kind": gvk(&kind.list_kind),
    });
    inject_metadata(&mut list_schema, "ListMeta", document);
    select(&mut list_schema);
    document.definitions.insert(list.clone(), list_schema);
    add_paths(document, kind, &name, &list);
}

/// What a kind's objects look like. One that takes any field says nothing in v2, not even of its
/// metadata: kubectl takes what is said for all that there is.
fn own_schema(kind: &CustomKind, document: &mut Document<'_>) -> Value {
    let opaque = |schema: &Value| document.form == Form::V2 && is_true(schema, PRESERVE);
    let Some(schema) = kind.schema.as_ref().filter(|schema| schema.is_object() && !opaque(schema))
    else {
        return json!({"type": "object"});
    };
    let mut schema = if document.form == Form::V2 { for_v2(schema) } else { schema.clone() };
    schema["type"] = "object".into();
    inject_metadata(&mut schema, "ObjectMeta", document);
    for_children(&mut schema, &mut |child| embedded(child, document));
    if document.form == Form::V3 {
        either(&mut schema);
    }
    schema
}

/// Says what an int-or-string is in words that every reader of schemas knows.
fn either(schema: &mut Value) {
    for_children(schema, &mut either);
    if is_true(schema, "x-kubernetes-int-or-string") && schema.get("anyOf").is_none() {
        schema["anyOf"] = json!([{"type": "integer"}, {"type": "string"}]);
    }
}

fn is_true(schema: &Value, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn for_children(schema: &mut Value, visit: &mut dyn FnMut(&mut Value)) {
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        properties.values_mut().for_each(&mut *visit);
    }
    for key in ["items", "additionalProperties"] {
        if let Some(child @ Value::Object(_)) = schema.get_mut(key) {
            visit(child);
        }
    }
}

/// Says of whole objects within an object what they have: which the schema itself need not.
fn embedded(schema: &mut Value, document: &mut Document<'_>) {
    for_children(schema, &mut |child| embedded(child, document));
    let opaque = document.form == Form::V2 && is_true(schema, PRESERVE);
    if opaque || !is_true(schema, "x-kubernetes-embedded-resource") {
        return;
    }
    inject_metadata(schema, "ObjectMeta", document);
    for (field, text) in [("apiVersion", EMBEDDED_VERSION), ("kind", EMBEDDED_KIND)] {
        schema["properties"][field]["description"] = text.into();
    }
    if !schema["required"].is_array() {
        schema["required"] = json!([]);
    }
    let required = schema["required"].as_array_mut().expect("made one above");
    for field in ["kind", "apiVersion"] {
        if !required.iter().any(|name| name == field) {
            required.push(field.into());
        }
    }
}

/// Adds `apiVersion`, `kind` and `metadata` with the words of the built-in kinds.
fn inject_metadata(schema: &mut Value, meta: &str, document: &mut Document<'_>) {
    let meta_name = format!("io.k8s.apimachinery.pkg.apis.meta.v1.{meta}");
    document.want(&meta_name);
    let text = |field: &str| {
        document.facts.description("io.k8s.api.core.v1.Pod", field).unwrap_or_default().to_owned()
    };
    let reference = document.form.reference(&meta_name);
    if !schema["properties"].is_object() {
        schema["properties"] = Value::Object(Map::new());
    }
    let properties = &mut schema["properties"];
    properties["apiVersion"] = json!({"description": text("apiVersion"), "type": "string"});
    properties["kind"] = json!({"description": text("kind"), "type": "string"});
    let text = match meta {
        "ListMeta" => LIST_METADATA.to_owned(),
        _ => text("metadata"),
    };
    properties["metadata"] = match document.form {
        Form::V2 => json!({"description": text, "$ref": reference}),
        Form::V3 => json!({"description": text, "allOf": [{"$ref": reference}]}),
    };
}

/// A structural schema cut to what OpenAPI v2 can say and kubectl understands.
fn for_v2(schema: &Value) -> Value {
    let Value::Object(schema) = schema else { return schema.clone() };
    let is = |key: &str| schema.get(key) == Some(&Value::Bool(true));
    let drops_type = is("nullable") || is("x-kubernetes-int-or-string") || is(PRESERVE);
    let drops_fields = is("nullable") || is(PRESERVE);
    let nullable = |name: &str| {
        schema
            .get("properties")
            .and_then(|all| all.get(name))
            .is_some_and(|property| property["nullable"] == true)
    };
    let mut made = Map::new();
    for (key, value) in schema {
        let value = match key.as_str() {
            key if NOT_IN_V2.contains(&key) => continue,
            "type" if drops_type => continue,
            "properties" | "items" if drops_fields => continue,
            "properties" => match value {
                Value::Object(all) => {
                    all.iter().map(|(name, property)| (name.clone(), for_v2(property))).collect()
                }
                other => other.clone(),
            },
            "items" | "additionalProperties" => for_v2(value),
            "required" => value
                .as_array()
                .into_iter()
                .flatten()
                .filter(|name| !name.as_str().is_some_and(nullable))
                .cloned()
                .collect(),
            _ => value.clone(),
        };
        made.insert(key.clone(), value);
    }
    Value::Object(made)
}

const MEDIA: &str = "application/json,application/yaml";
const PATCHES: &str =
    "application/json-patch+json,application/merge-patch+json,application/apply-patch+yaml";
const LIST: &str = "allowWatchBookmarks,continue,fieldSelector,labelSelector,limit,pretty,resourceVersion,resourceVersionMatch,sendInitialEvents,timeoutSeconds,watch";
const WRITE: &str = "dryRun,fieldManager,fieldValidation,pretty";
const PATCH: &str = "dryRun,fieldManager,fieldValidation,force,pretty";
const DELETE: &str = "dryRun,gracePeriodSeconds,ignoreStoreReadErrorWithClusterBreakingPotential,orphanDependents,pretty,propagationPolicy";
const STATUS: &str = "#io.k8s.apimachinery.pkg.apis.meta.v1.Status";
const OPTIONS: &str = "#io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions";
const PATCH_BODY: &str = "#io.k8s.apimachinery.pkg.apis.meta.v1.Patch";
const SCALE: &str = "io.k8s.api.autoscaling.v1.Scale";

fn add_paths(document: &mut Document<'_>, kind: &CustomKind, name: &str, list: &str) {
    let root = format!("/apis/{}/{}", kind.group, kind.version);
    let all = format!("{root}/{}", kind.plural);
    let collection = if kind.namespaced {
        format!("{root}/namespaces/{{namespace}}/{}", kind.plural)
    } else {
        all.clone()
    };
    let object = format!("{collection}/{{name}}");
    let body = format!("#{name}");
    let (ok, ok_list) = (format!("200=#{name},401"), format!("200=#{list},401"));
    let written = format!("200=#{name},201=#{name},401");
    let created = format!("200=#{name},201=#{name},202=#{name},401");
    let deleted = format!("200={STATUS},202={STATUS},401");
    let deleted_all = format!("200={STATUS},401");
    let mut rows = vec![
        (&collection, "get", "list", "", LIST, "", ok_list.as_str()),
        (&collection, "post", "post", MEDIA, WRITE, &body, &created),
        (&collection, "delete", "deletecollection", "", LIST, OPTIONS, &deleted_all),
        (&object, "get", "get", "", "pretty,resourceVersion", "", &ok),
        (&object, "put", "put", MEDIA, WRITE, &body, &written),
        (&object, "patch", "patch", PATCHES, PATCH, PATCH_BODY, &ok),
        (&object, "delete", "delete", MEDIA, DELETE, OPTIONS, &deleted),
    ];
    if kind.namespaced {
        rows.push((&all, "get", "list", "", LIST, "", &ok_list));
    }
    let status = format!("{object}/status");
    if kind.status {
        rows.push((&status, "get", "get", "", "pretty,resourceVersion", "", &ok));
        rows.push((&status, "put", "put", MEDIA, WRITE, &body, &written));
        rows.push((&status, "patch", "patch", PATCHES, PATCH, PATCH_BODY, &ok));
    }
    let scale = format!("{object}/scale");
    let (scale_body, scale_ok) = (format!("#{SCALE}"), format!("200=#{SCALE},401"));
    if kind.scale {
        rows.push((&scale, "get", "get", "", "pretty,resourceVersion", "", &scale_ok));
        rows.push((&scale, "put", "put", MEDIA, WRITE, &scale_body, &scale_ok));
        rows.push((&scale, "patch", "patch", PATCHES, PATCH, PATCH_BODY, &scale_ok));
    }
    for (path, method, action, consumes, parameters, body, responses) in rows {
        let row = Row {
            path,
            method,
            action,
            group: &kind.group,
            version: &kind.version,
            kind: &kind.kind,
            consumes,
            produces: MEDIA,
            parameters,
            body,
            responses,
        };
        let mut operation =
            operations::of_row(document.facts, &row, document.form, &mut document.wanted);
        // Names of operations come from the path; the table does not know this one's kind.
        if path == &all && kind.namespaced {
            let id = operation["operationId"].as_str().unwrap_or_default();
            operation["operationId"] = format!("{id}ForAllNamespaces").into();
        }
        document.add_operation(path, method, operation);
    }
}
