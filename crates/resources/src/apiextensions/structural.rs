//! Whether a schema is structural: every node says its type, junctors only restrict, and the
//! extensions are used where they make sense. (KEP-1693 and the page on structural schemas.)

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, list_at, str_at};

/// How deep a schema may nest: more is refused rather than followed.
const DEPTH_MAX: usize = 64;

/// What is wrong with the root of a version's schema.
pub(super) fn root(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let kind = str_at(schema, &["type"]);
    if kind.is_empty() {
        errors.push(FieldError::required(path.child("type"), "must not be empty at the root"));
    } else if kind != "object" {
        let text = "must be object at the root";
        errors.push(FieldError::invalid(path.child("type"), kind, text));
    }
    if is(schema, "nullable") {
        let text = "nullable cannot be true at the root";
        errors.push(FieldError::forbidden(path.child("nullable"), text));
    }
    if at(schema, &["additionalProperties"]).is_some() {
        let text = "must not be used at the root";
        errors.push(FieldError::forbidden(path.child("additionalProperties"), text));
    }
    node(schema, path, Level::Root, 0, errors);
    metadata(schema, path, errors);
    complete(schema, schema, path, path, 0, errors);
    ::structural::check_defaults(schema, path, errors);
}

/// What a schema is the schema of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Root,
    Item,
    Field,
}

fn is(schema: &Value, field: &str) -> bool {
    at(schema, &[field]).and_then(Value::as_bool).unwrap_or_default()
}

const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
const FORBIDDEN: [(&str, &str); 7] = [
    ("$ref", "$ref is not supported"),
    ("definitions", "definitions is not supported"),
    ("dependencies", "dependencies is not supported"),
    ("additionalItems", "additionalItems is not supported"),
    ("patternProperties", "patternProperties is not supported"),
    ("$schema", "schema is not supported"),
    ("id", "id is not supported"),
];

fn node(schema: &Value, path: &Path, level: Level, depth: usize, errors: &mut ErrorList) {
    if depth > DEPTH_MAX {
        errors.push(FieldError::forbidden(path.clone(), "the schema is nested too deeply"));
        return;
    }
    unsupported(schema, path, errors);
    kind(schema, path, level, errors);
    lists(schema, path, errors);
    embedded(schema, path, errors);
    pattern(schema, path, errors);
    rules(schema, path, errors);
    let map = at(schema, &["properties"]).and_then(Value::as_object);
    let additional = at(schema, &["additionalProperties"]);
    let has_schema = additional.is_some_and(Value::is_object);
    if map.is_some_and(|map| !map.is_empty())
        && (has_schema || additional == Some(&Value::Bool(false)))
    {
        let text = "additionalProperties and properties are mutual exclusive";
        errors.push(FieldError::forbidden(path.child("additionalProperties"), text));
    }
    for (name, child) in map.into_iter().flatten() {
        node(child, &path.child("properties").key(name), Level::Field, depth + 1, errors);
    }
    if let Some(child) = additional.filter(|_| has_schema) {
        node(child, &path.child("additionalProperties"), Level::Field, depth + 1, errors);
    }
    match at(schema, &["items"]) {
        Some(Value::Array(_)) => {
            let text = "items must be a schema object and not an array";
            errors.push(FieldError::forbidden(path.child("items"), text));
        }
        Some(child) => node(child, &path.child("items"), Level::Item, depth + 1, errors),
        None => {}
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, child) in list_at(schema, &[junctor]).iter().enumerate() {
            value_only(child, &path.child(junctor).index(index), depth + 1, errors);
        }
    }
    if let Some(child) = at(schema, &["not"]) {
        value_only(child, &path.child("not"), depth + 1, errors);
    }
}

fn unsupported(schema: &Value, path: &Path, errors: &mut ErrorList) {
    for (field, text) in FORBIDDEN {
        let there = match at(schema, &[field]) {
            None => false,
            Some(Value::Object(map)) => !map.is_empty(),
            Some(Value::String(value)) => !value.is_empty(),
            Some(_) => true,
        };
        if there {
            errors.push(FieldError::forbidden(path.child(field), text));
        }
    }
    if is(schema, "uniqueItems") {
        let text =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(path.child("uniqueItems"), text));
    }
    if at(schema, &["additionalProperties"]) == Some(&Value::Bool(false)) {
        let text = "additionalProperties cannot be set to false";
        errors.push(FieldError::forbidden(path.child("additionalProperties"), text));
    }
}

fn kind(schema: &Value, path: &Path, level: Level, errors: &mut ErrorList) {
    let kind = str_at(schema, &["type"]);
    let (either, preserve) = (
        is(schema, "x-kubernetes-int-or-string"),
        is(schema, "x-kubernetes-preserve-unknown-fields"),
    );
    if kind.is_empty() {
        let is_embedded = is(schema, "x-kubernetes-embedded-resource");
        if !either && !preserve && !is_embedded && level != Level::Root {
            let text = match level {
                Level::Item => "must not be empty for specified array items",
                _ => "must not be empty for specified object fields",
            };
            errors.push(FieldError::required(path.child("type"), text));
        }
    } else if kind == "null" {
        let text = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(path.child("type"), text));
    } else if !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("type"), kind, &TYPES));
    }
    if either && !kind.is_empty() {
        let text = "must be empty if x-kubernetes-int-or-string is true";
        errors.push(FieldError::invalid(path.child("type"), kind, text));
    }
    if preserve && !matches!(kind, "" | "object") {
        let text = "must be object if x-kubernetes-preserve-unknown-fields is true";
        errors.push(FieldError::invalid(path.child("type"), kind, text));
    }
    if kind == "array" && at(schema, &["items"]).is_none() {
        errors.push(FieldError::required(path.child("items"), "must be specified"));
    }
}

fn embedded(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let (kind, preserve) =
        (str_at(schema, &["type"]), is(schema, "x-kubernetes-preserve-unknown-fields"));
    if is(schema, "x-kubernetes-int-or-string") {
        for field in ["x-kubernetes-preserve-unknown-fields", "x-kubernetes-embedded-resource"] {
            if is(schema, field) {
                let text = "must be false if x-kubernetes-int-or-string is true";
                errors.push(FieldError::invalid(path.child(field), true, text));
            }
        }
    }
    if !is(schema, "x-kubernetes-embedded-resource") {
        return;
    }
    let text = "must be object if x-kubernetes-embedded-resource is true";
    match kind {
        "object" => {}
        "" => errors.push(FieldError::required(path.child("type"), text)),
        other => errors.push(FieldError::invalid(path.child("type"), other, text)),
    }
    if at(schema, &["additionalProperties"]).is_some() {
        let text = "must not be used if x-kubernetes-embedded-resource is set";
        errors.push(FieldError::forbidden(path.child("additionalProperties"), text));
    }
    let properties = at(schema, &["properties"]).and_then(Value::as_object);
    if !preserve && properties.is_none_or(serde_json::Map::is_empty) {
        let text = "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields";
        errors.push(FieldError::required(path.child("properties"), text));
    }
}

fn pattern(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let text = str_at(schema, &["pattern"]);
    if let Err(error) = regex::Regex::new(text) {
        let why = error.to_string();
        let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
        let why = format!("must be a valid regular expression, but isn't: {why}");
        errors.push(FieldError::invalid(path.child("pattern"), text, why));
    }
}

/// What junctors speak of is a field outside of them too.
fn complete(
    schema: &Value,
    junctors: &Value,
    here: &Path,
    there: &Path,
    depth: usize,
    errors: &mut ErrorList,
) {
    if depth > DEPTH_MAX {
        return;
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, nested) in list_at(junctors, &[junctor]).iter().enumerate() {
            let there = there.child(junctor).index(index);
            nested_complete(schema, nested, here, &there, depth + 1, errors);
        }
    }
    if let Some(nested) = at(junctors, &["not"]) {
        nested_complete(schema, nested, here, &there.child("not"), depth + 1, errors);
    }
    // The same below, where the schema is its own main.
    if std::ptr::eq(schema, junctors) {
        for (name, child) in
            at(schema, &["properties"]).and_then(Value::as_object).into_iter().flatten()
        {
            let path = here.child("properties").key(name);
            complete(child, child, &path, &path, depth + 1, errors);
        }
        for field in ["items", "additionalProperties"] {
            if let Some(child) = at(schema, &[field]).filter(|child| child.is_object()) {
                let path = here.child(field);
                complete(child, child, &path, &path, depth + 1, errors);
            }
        }
    }
}

fn nested_complete(
    schema: &Value,
    nested: &Value,
    here: &Path,
    there: &Path,
    depth: usize,
    errors: &mut ErrorList,
) {
    if depth > DEPTH_MAX {
        return;
    }
    let missing = |here: Path, there: &Path| {
        FieldError::required(here, format!("because it is defined in {there}"))
    };
    complete(schema, nested, here, there, depth + 1, errors);
    if let Some(items) = at(nested, &["items"]) {
        let (here, there) = (here.child("items"), there.child("items"));
        match at(schema, &["items"]) {
            Some(own) => nested_complete(own, items, &here, &there, depth + 1, errors),
            None => errors.push(missing(here, &there)),
        }
    }
    for (name, child) in
        at(nested, &["properties"]).and_then(Value::as_object).into_iter().flatten()
    {
        let (here, there) =
            (here.child("properties").key(name), there.child("properties").key(name));
        match at(schema, &["properties", name]) {
            Some(own) => nested_complete(own, child, &here, &there, depth + 1, errors),
            None => errors.push(missing(here, &there)),
        }
    }
}

fn lists(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let (kind, list) = (str_at(schema, &["type"]), str_at(schema, &["x-kubernetes-list-type"]));
    let keys = list_at(schema, &["x-kubernetes-list-map-keys"]);
    if !list.is_empty() {
        if kind != "array" {
            let text = "must be array if x-kubernetes-list-type is specified";
            errors.push(FieldError::invalid(path.child("type"), kind, text));
        }
        if !matches!(list, "atomic" | "map" | "set") {
            let names = ["atomic", "map", "set"];
            let path = path.child("x-kubernetes-list-type");
            errors.push(FieldError::not_supported(path, list, &names));
        }
    }
    if list == "map" {
        if keys.is_empty() {
            let text = "must not be empty if x-kubernetes-list-type is map";
            errors.push(FieldError::required(path.child("x-kubernetes-list-map-keys"), text));
        }
        map_keys(schema, keys, path, errors);
    } else if !keys.is_empty() {
        let text = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(FieldError::invalid(path.child("x-kubernetes-list-type"), list, text));
    }
    let map = str_at(schema, &["x-kubernetes-map-type"]);
    if !map.is_empty() {
        if kind != "object" {
            let text = "must be object if x-kubernetes-map-type is specified";
            errors.push(FieldError::invalid(path.child("type"), kind, text));
        }
        if !matches!(map, "atomic" | "granular") {
            let path = path.child("x-kubernetes-map-type");
            errors.push(FieldError::not_supported(path, map, &["atomic", "granular"]));
        }
    }
}

/// Keys are scalars that are always there.
fn map_keys(schema: &Value, keys: &[Value], path: &Path, errors: &mut ErrorList) {
    let items = path.child("items");
    let required = list_at(schema, &["items", "required"]);
    let mut seen: Vec<&Value> = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        let here = path.child("x-kubernetes-list-map-keys").index(index);
        if seen.contains(&key) {
            errors.push(FieldError::duplicate(here.clone(), name));
        }
        seen.push(key);
        let Some(field) = at(schema, &["items", "properties", name]) else {
            let text = "keys must be specified in the items' properties";
            errors.push(FieldError::invalid(here, name, text));
            continue;
        };
        let there = items.child("properties").key(name);
        if matches!(str_at(field, &["type"]), "array" | "object") {
            let value = str_at(field, &["type"]);
            let text = "must be a scalar type if parent array's x-kubernetes-list-type is map";
            errors.push(FieldError::invalid(there.child("type"), value, text));
        }
        if is(field, "nullable") {
            let text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(there.child("nullable"), text));
        }
        if !required.contains(key) && at(field, &["default"]).is_none() {
            let text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(there.child("default"), text));
        }
    }
}

fn rules(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let list = path.child("x-kubernetes-validations");
    for (index, rule) in list_at(schema, &["x-kubernetes-validations"]).iter().enumerate() {
        let path = list.index(index);
        if str_at(rule, &["rule"]).trim().is_empty() {
            errors.push(FieldError::required(path.child("rule"), "rule is not specified"));
        }
        let message = str_at(rule, &["message"]);
        if !message.is_empty() && message.trim().is_empty() {
            let text = "must be non-empty if specified";
            errors.push(FieldError::invalid(path.child("message"), message, text));
        } else if message.trim().contains(['\n', '\r']) {
            let text = "must not contain line breaks";
            errors.push(FieldError::invalid(path.child("message"), message, text));
        } else if message.is_empty() && str_at(rule, &["rule"]).trim().contains(['\n', '\r']) {
            let text = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(path.child("message"), text));
        }
        let expression = str_at(rule, &["messageExpression"]);
        if !expression.is_empty() && expression.trim().is_empty() {
            let text = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(path.child("messageExpression"), text));
        }
        let reason = str_at(rule, &["reason"]);
        let known = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        if !reason.is_empty() && !known.contains(&reason) {
            errors.push(FieldError::not_supported(path.child("reason"), reason, &known));
        }
    }
}

/// What has no place below a junctor.
const NOT_NESTED: [(&str, &str); 13] = [
    ("additionalProperties", "undefined"),
    ("default", "undefined"),
    ("title", "empty"),
    ("description", "empty"),
    ("nullable", "false"),
    ("externalDocs", "undefined"),
    ("x-kubernetes-preserve-unknown-fields", "false"),
    ("x-kubernetes-embedded-resource", "false"),
    ("x-kubernetes-int-or-string", "false"),
    ("x-kubernetes-list-map-keys", "empty"),
    ("x-kubernetes-list-type", "undefined"),
    ("x-kubernetes-map-type", "undefined"),
    ("x-kubernetes-validations", "empty"),
];

/// Below a junctor a schema may restrict values and say nothing of structure.
fn value_only(schema: &Value, path: &Path, depth: usize, errors: &mut ErrorList) {
    if depth > DEPTH_MAX {
        errors.push(FieldError::forbidden(path.clone(), "the schema is nested too deeply"));
        return;
    }
    for (field, must_be) in NOT_NESTED {
        if at(schema, &[field]).is_some_and(|value| *value != false && value != "") {
            let text = format!("must be {must_be} to be structural");
            errors.push(FieldError::forbidden(path.child(field), text));
        }
    }
    if at(schema, &["properties", "metadata"]).is_some() {
        let text = "must not be specified in a nested context";
        errors.push(FieldError::forbidden(path.child("properties").key("metadata"), text));
    }
    pattern(schema, path, errors);
    // The one type that is allowed: the two halves of int-or-string.
    let kind = str_at(schema, &["type"]);
    if !matches!(kind, "" | "integer" | "string") {
        errors.push(FieldError::forbidden(path.child("type"), "must be empty to be structural"));
    }
    for (name, child) in
        at(schema, &["properties"]).and_then(Value::as_object).into_iter().flatten()
    {
        value_only(child, &path.child("properties").key(name), depth + 1, errors);
    }
    if let Some(child) = at(schema, &["items"]) {
        value_only(child, &path.child("items"), depth + 1, errors);
    }
    for junctor in ["allOf", "anyOf", "oneOf"] {
        for (index, child) in list_at(schema, &[junctor]).iter().enumerate() {
            value_only(child, &path.child(junctor).index(index), depth + 1, errors);
        }
    }
    if let Some(child) = at(schema, &["not"]) {
        value_only(child, &path.child("not"), depth + 1, errors);
    }
}

/// `metadata` is the server's: only `name` and `generateName` may be restricted.
fn metadata(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let here = path.child("properties").key("metadata");
    let fields = at(schema, &["properties", "metadata", "properties"]).and_then(Value::as_object);
    for name in fields.into_iter().flat_map(serde_json::Map::keys) {
        if !matches!(name.as_str(), "name" | "generateName") {
            let text = "must not specify anything other than name and generateName, but metadata is implicitly specified";
            errors.push(FieldError::forbidden(here.clone(), text));
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, expected: &[&str]) {
        let mut errors = ErrorList::new();
        root(&schema, &Path::new("s"), &mut errors);
        let found: Vec<_> = errors.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{schema}");
    }

    #[test]
    fn structural_and_not() {
        check(
            json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"a": {"type": "string"}, "b": {"x-kubernetes-int-or-string": true,
                "anyOf": [{"type": "integer"}, {"type": "string"}]}}}}}),
            &[],
        );
        check(json!({}), &["s.type: Required value: must not be empty at the root"]);
        check(
            json!({"type": "object", "properties": {"a": {}}}),
            &[
                "s.properties[a].type: Required value: must not be empty for specified object fields",
            ],
        );
        check(
            json!({"type": "object", "properties": {"a": {"type": "array"}}}),
            &["s.properties[a].items: Required value: must be specified"],
        );
        check(
            json!({"type": "object", "uniqueItems": true}),
            &[
                "s.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        );
        check(
            json!({"type": "object", "properties": {"a": {"type": "array",
                "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
                "items": {"type": "object", "properties": {"k": {"type": "string"}}}}}}),
            &[
                "s.properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        );
        check(
            json!({"type": "object", "anyOf": [{"type": "object"}]}),
            &["s.anyOf[0].type: Forbidden: must be empty to be structural"],
        );
    }
}
