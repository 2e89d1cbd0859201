//! Whether a schema is structural: every node says its type, junctors only restrict, and the
//! extensions are used where they make sense. (KEP-1693 and the page on structural schemas.)
//!
//! What is found is sorted by its text, as upstream sorts it.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, list_at, str_at};

use super::pattern;

/// How deep a schema may nest: more is refused rather than followed.
pub(super) const DEPTH_MAX: usize = 64;

/// What is wrong with the structure of a version's schema.
pub(super) fn problems(schema: &Value, path: &Path) -> ErrorList {
    let mut errors = ErrorList::new();
    node(schema, path, Level::Root, 0, &mut errors);
    complete(schema, schema, path, path, 0, &mut errors);
    errors.sort_by_cached_key(ToString::to_string);
    errors
}

/// Why a schema cannot be read as a structural one at all.
pub(super) fn unreadable(schema: &Value, depth: usize) -> Option<String> {
    const UNREAD: [(&str, &str); 7] = [
        ("id", "id"),
        ("$schema", "schema"),
        ("$ref", "$ref"),
        ("patternProperties", "patternProperties"),
        ("dependencies", "dependencies"),
        ("additionalItems", "additionalItems"),
        ("definitions", "definitions"),
    ];
    if depth > DEPTH_MAX {
        return Some("the schema is nested too deeply".to_owned());
    }
    if at(schema, &["items"]).is_some_and(Value::is_array) {
        return Some("OpenAPIV3Schema 'items' must be a schema, but is an array".to_owned());
    }
    for (field, shown) in UNREAD {
        if is_set(schema, field) {
            return Some(format!("OpenAPIV3Schema '{shown}' is not supported"));
        }
    }
    if at(schema, &["x-kubernetes-preserve-unknown-fields"]) == Some(&Value::Bool(false)) {
        let text =
            "internal error: 'x-kubernetes-preserve-unknown-fields' must be true or undefined";
        return Some(text.to_owned());
    }
    inner(schema).find_map(|child| unreadable(child, depth + 1))
}

/// The schemas directly in a schema.
fn inner(schema: &Value) -> impl Iterator<Item = &Value> {
    let single = ["items", "additionalProperties", "not"]
        .into_iter()
        .filter_map(|field| at(schema, &[field]).filter(|child| child.is_object()));
    let named = at(schema, &["properties"]).and_then(Value::as_object);
    let listed =
        ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|field| list_at(schema, &[field]));
    single.chain(named.into_iter().flat_map(serde_json::Map::values)).chain(listed)
}

/// Whether a field says something: an empty map or text says nothing.
pub(super) fn is_set(schema: &Value, field: &str) -> bool {
    match at(schema, &[field]) {
        None | Some(Value::Null) => false,
        Some(Value::Object(map)) => !map.is_empty(),
        Some(Value::String(value)) => !value.is_empty(),
        Some(_) => true,
    }
}

/// What a schema is the schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

pub(super) fn is(schema: &Value, field: &str) -> bool {
    at(schema, &[field]).and_then(Value::as_bool).unwrap_or_default()
}

fn node(schema: &Value, path: &Path, level: Level, depth: usize, errors: &mut ErrorList) {
    if depth > DEPTH_MAX {
        errors.push(FieldError::forbidden(path.clone(), "the schema is nested too deeply"));
        return;
    }
    let kind = str_at(schema, &["type"]);
    if kind == "array" && at(schema, &["items"]).is_none() {
        errors.push(FieldError::required(path.child("items"), "must be specified"));
    }
    if let Some(child) = at(schema, &["items"]) {
        node(child, &path.child("items"), Level::Item, depth + 1, errors);
    }
    let map = at(schema, &["properties"]).and_then(Value::as_object);
    for (name, child) in map.into_iter().flatten() {
        node(child, &path.child("properties").key(name), Level::Field, depth + 1, errors);
    }
    if let Some(child) = at(schema, &["additionalProperties"]) {
        let path = path.child("additionalProperties");
        if level == Level::Root {
            errors.push(FieldError::forbidden(path.clone(), "must not be used at the root"));
        }
        if child.is_object() {
            node(child, &path, Level::Field, depth + 1, errors);
        }
    }
    if is(schema, "x-kubernetes-int-or-string") {
        for field in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if is(schema, field) {
                let text = "must be false if x-kubernetes-int-or-string is true";
                errors.push(FieldError::invalid(path.child(field), true, text));
            }
        }
    }
    let skip = Skip { any_of: is_either(schema), all_of: first_is_either(schema) };
    values(schema, path, skip, depth, errors);
    self::kind(schema, path, level, errors);
    resource(schema, path, level, errors);
}

fn kind(schema: &Value, path: &Path, level: Level, errors: &mut ErrorList) {
    let kind = str_at(schema, &["type"]);
    let path = path.child("type");
    if is(schema, "x-kubernetes-embedded-resource") && kind != "object" {
        let text = "must be object if x-kubernetes-embedded-resource is true";
        errors.push(match kind {
            "" => FieldError::required(path, text),
            other => FieldError::invalid(path, other, text),
        });
    } else if kind.is_empty()
        && !is(schema, "x-kubernetes-int-or-string")
        && !is(schema, "x-kubernetes-preserve-unknown-fields")
    {
        let text = match level {
            Level::Root => "must not be empty at the root",
            Level::Item => "must not be empty for specified array items",
            Level::Field => "must not be empty for specified object fields",
        };
        errors.push(FieldError::required(path, text));
    } else if level == Level::Root && !matches!(kind, "" | "object") {
        errors.push(FieldError::invalid(path, kind, "must be object at the root"));
    }
}

/// What a schema of a whole resource may say of its metadata.
fn resource(schema: &Value, path: &Path, level: Level, errors: &mut ErrorList) {
    let is_embedded = is(schema, "x-kubernetes-embedded-resource");
    let is_resource = level == Level::Root || is_embedded;
    if is_embedded && at(schema, &["additionalProperties"]).is_some() {
        let text = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(path.child("additionalProperties"), text));
    }
    let properties = at(schema, &["properties"]).and_then(Value::as_object);
    let property = |name: &str| properties.and_then(|map| map.get(name));
    for name in ["kind", "apiVersion"] {
        let kind = property(name).map(|child| str_at(child, &["type"]));
        if let Some(kind) = kind.filter(|kind| is_resource && *kind != "string") {
            let path = path.child("properties").key(name).child("type");
            errors.push(FieldError::invalid(path, kind, "must be string"));
        }
    }
    if let Some(metadata) = property("metadata") {
        let path = path.child("properties").key("metadata");
        let kind = str_at(metadata, &["type"]);
        if is_resource && kind != "object" {
            errors.push(FieldError::invalid(path.child("type"), kind, "must be object"));
        }
        if level == Level::Root && !only_names(metadata) {
            let text = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(path, text));
        }
    }
    let is_empty = properties.is_none_or(serde_json::Map::is_empty);
    if is_embedded && !is(schema, "x-kubernetes-preserve-unknown-fields") && is_empty {
        let text = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(path.child("properties"), text));
    }
}

/// `metadata` is the server's: only `name` and `generateName` may be restricted.
fn only_names(metadata: &Value) -> bool {
    metadata.as_object().is_some_and(|map| {
        map.iter().all(|(field, value)| match field.as_str() {
            "type" | "default" => true,
            "properties" => value.as_object().is_none_or(|fields| {
                fields.keys().all(|name| matches!(name.as_str(), "name" | "generateName"))
            }),
            _ => !is_set(metadata, field) || *value == Value::Bool(false),
        })
    })
}

/// The junctors that say no more than that a value is a number or a text.
#[derive(Debug, Clone, Copy, Default)]
struct Skip {
    any_of: bool,
    all_of: bool,
}

fn is_either(schema: &Value) -> bool {
    let is_type = |value: &Value, kind: &str| {
        value.as_object().is_some_and(|map| map.len() == 1) && str_at(value, &["type"]) == kind
    };
    match list_at(schema, &["anyOf"]) {
        [first, second] => is_type(first, "integer") && is_type(second, "string"),
        _ => false,
    }
}

fn first_is_either(schema: &Value) -> bool {
    list_at(schema, &["allOf"]).first().is_some_and(is_either)
}

fn values(schema: &Value, path: &Path, skip: Skip, depth: usize, errors: &mut ErrorList) {
    for junctor in ["anyOf", "allOf", "oneOf"] {
        if junctor == "anyOf" && skip.any_of {
            continue;
        }
        for (index, child) in list_at(schema, &[junctor]).iter().enumerate() {
            let any_of = junctor == "allOf" && index == 0 && skip.all_of;
            let skip = Skip { any_of, all_of: false };
            nested(child, &path.child(junctor).index(index), skip, depth + 1, errors);
        }
    }
    if let Some(child) = at(schema, &["not"]) {
        nested(child, &path.child("not"), Skip::default(), depth + 1, errors);
    }
    let text = str_at(schema, &["pattern"]);
    if let Some(why) = pattern::problem(text) {
        let why = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(FieldError::invalid(path.child("pattern"), text, why));
    }
}

/// What has no place below a junctor.
const NOT_NESTED: [(&str, &str); 13] = [
    ("type", "empty"),
    ("additionalProperties", "undefined"),
    ("default", "undefined"),
    ("title", "empty"),
    ("description", "empty"),
    ("nullable", "false"),
    ("x-kubernetes-preserve-unknown-fields", "false"),
    ("x-kubernetes-embedded-resource", "false"),
    ("x-kubernetes-int-or-string", "false"),
    ("x-kubernetes-list-map-keys", "empty"),
    ("x-kubernetes-list-type", "undefined"),
    ("x-kubernetes-map-type", "undefined"),
    ("x-kubernetes-validations", "empty"),
];

/// Below a junctor a schema may restrict values and say nothing of structure.
fn nested(schema: &Value, path: &Path, skip: Skip, depth: usize, errors: &mut ErrorList) {
    if depth > DEPTH_MAX {
        errors.push(FieldError::forbidden(path.clone(), "the schema is nested too deeply"));
        return;
    }
    values(schema, path, skip, depth, errors);
    if let Some(child) = at(schema, &["items"]) {
        nested(child, &path.child("items"), Skip::default(), depth + 1, errors);
    }
    for (name, child) in
        at(schema, &["properties"]).and_then(Value::as_object).into_iter().flatten()
    {
        let path = path.child("properties").key(name);
        nested(child, &path, Skip::default(), depth + 1, errors);
    }
    for (field, must_be) in NOT_NESTED {
        if is_set(schema, field) && at(schema, &[field]) != Some(&Value::Bool(false)) {
            let text = format!("must be {must_be} to be structural");
            errors.push(FieldError::forbidden(path.child(field), text));
        }
    }
    if at(schema, &["properties", "metadata"]).is_some() {
        let text = "must not be specified in a nested context";
        errors.push(FieldError::forbidden(path.child("properties").key("metadata"), text));
    }
}

/// What the root's junctors speak of is a field outside of them too.
fn complete(
    schema: &Value,
    junctors: &Value,
    here: &Path,
    there: &Path,
    depth: usize,
    errors: &mut ErrorList,
) {
    if let Some(child) = at(junctors, &["not"]) {
        complete_nested(Some(schema), child, here, &there.child("not"), depth + 1, errors);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, child) in list_at(junctors, &[junctor]).iter().enumerate() {
            let there = there.child(junctor).index(index);
            complete_nested(Some(schema), child, here, &there, depth + 1, errors);
        }
    }
}

fn complete_nested(
    schema: Option<&Value>,
    nested: &Value,
    here: &Path,
    there: &Path,
    depth: usize,
    errors: &mut ErrorList,
) {
    if depth > DEPTH_MAX {
        return;
    }
    let Some(schema) = schema else {
        let text = format!("because it is defined in {there}");
        errors.push(FieldError::required(here.clone(), text));
        return;
    };
    complete(schema, nested, here, there, depth + 1, errors);
    if let Some(items) = at(nested, &["items"]) {
        let (here, there) = (here.child("items"), there.child("items"));
        complete_nested(at(schema, &["items"]), items, &here, &there, depth + 1, errors);
    }
    for (name, child) in
        at(nested, &["properties"]).and_then(Value::as_object).into_iter().flatten()
    {
        let (here, there) =
            (here.child("properties").key(name), there.child("properties").key(name));
        let own = at(schema, &["properties", name]);
        complete_nested(own, child, &here, &there, depth + 1, errors);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, expected: &[&str]) {
        let found = problems(schema, &Path::new("s"));
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{schema}");
    }

    /// A schema with one field.
    fn field(a: Value) -> Value {
        json!({"type": "object", "properties": {"a": a}})
    }

    #[test]
    fn structural_and_not() {
        check(
            &json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"a": {"type": "string"}, "b": {"x-kubernetes-int-or-string": true,
                "anyOf": [{"type": "integer"}, {"type": "string"}]}}}}}),
            &[],
        );
        check(&json!({}), &["s.type: Required value: must not be empty at the root"]);
        check(
            &field(json!({})),
            &[
                "s.properties[a].type: Required value: must not be empty for specified object fields",
            ],
        );
        check(
            &field(json!({"type": "array"})),
            &["s.properties[a].items: Required value: must be specified"],
        );
        check(
            &json!({"type": "object", "anyOf": [{"type": "object"}]}),
            &["s.anyOf[0].type: Forbidden: must be empty to be structural"],
        );
        // A type is nothing that a junctor may say, not even that of a number or a text.
        check(
            &field(json!({"type": "object", "not": {"properties": {"z": {"type": "string"}}}})),
            &["s.properties[a].not.properties[z].type: Forbidden: must be empty to be structural"],
        );
        check(&field(json!({"type": "object", "additionalProperties": false})), &[]);
        check(&field(json!({"type": "string", "x-kubernetes-int-or-string": true})), &[]);
    }

    #[test]
    fn what_a_resource_says_of_its_metadata() {
        check(
            &json!({"type": "object", "properties": {"kind": {"type": "integer"},
                "metadata": {"type": "object", "properties": {"name": {"type": "string"}}}}}),
            &["s.properties[kind].type: Invalid value: \"integer\": must be string"],
        );
        check(
            &json!({"type": "object", "properties": {
                "metadata": {"type": "object", "properties": {"labels": {"type": "object"}}}}}),
            &[
                "s.properties[metadata]: Forbidden: must not specify anything other than name and generateName, but metadata is implicitly specified",
            ],
        );
    }

    #[test]
    fn what_cannot_be_read_is_not_judged_by_its_structure() {
        let reason = |schema: &Value| unreadable(schema, 0);
        assert_eq!(reason(&field(json!({"type": "string"}))), None);
        assert_eq!(
            reason(&field(json!({"$ref": "#/x"}))).as_deref(),
            Some("OpenAPIV3Schema '$ref' is not supported")
        );
    }
}
