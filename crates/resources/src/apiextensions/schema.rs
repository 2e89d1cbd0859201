//! What a definition's schema may say at all, apart from its structure: upstream's checks of every
//! node, in its words and its order.

use api::Value;
use api::field::{ErrorList, FieldError, Path};
use api::object::{at, list_at, str_at};

use super::structural::{self, DEPTH_MAX, is, is_set};

/// What is wrong with a version's schema. `has_status`: whether its status is a subresource.
pub(super) fn problems(schema: &Value, path: &Path, has_status: bool) -> ErrorList {
    let mut errors = ErrorList::new();
    if has_status {
        root_for_status(schema, path, &mut errors);
    }
    if is(schema, "nullable") {
        let text = "nullable cannot be true at the root";
        errors.push(FieldError::forbidden(path.child("nullable"), text));
    }
    let unreadable = structural::unreadable(schema, 0);
    let mut is_sound = unreadable.is_none();
    if is_sound {
        let mut found = structural::problems(schema, path);
        if found.is_empty() {
            ::structural::check_defaults(schema, path, &mut found);
        }
        if found.is_empty() {
            defaults_by_rules(schema, path, &mut found);
        }
        is_sound = found.is_empty();
        errors.extend(found);
    }
    let mut own = ErrorList::new();
    node(schema, path, &Place { is_root: true, ..Place::default() }, 0, &mut own);
    // Rules are judged by the types of a sound schema.
    if is_sound && own.is_empty() {
        own.extend(cel::rules::problems(schema, path));
    }
    errors.extend(own);
    if let Some(why) = unreadable.filter(|_| errors.is_empty()) {
        errors.push(FieldError::invalid(path.clone(), "", why));
    }
    errors
}

/// What the rules of a default's place say to it, as if it were just made.
fn defaults_by_rules(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let default = at(schema, &["default"]).filter(|value| !value.is_null());
    if let Some((default, rules)) = default.zip(cel::rules::Rules::compile_part(schema)) {
        let mut found = rules.check(default, Some(default)).errors;
        if found.is_empty() {
            found = rules.check(default, None).errors;
        }
        let path = path.child("default");
        errors.extend(
            found.into_iter().map(|error| FieldError { path: path.join(&error.path), ..error }),
        );
    }
    if let Some(items) = at(schema, &["items"]) {
        defaults_by_rules(items, &path.child("items"), errors);
    }
    for (name, child) in
        at(schema, &["properties"]).and_then(Value::as_object).into_iter().flatten()
    {
        defaults_by_rules(child, &path.child("properties").key(name), errors);
    }
}

/// What the root of a schema may say when `status` is checked by a part of it alone.
fn root_for_status(schema: &Value, path: &Path, errors: &mut ErrorList) {
    const ALLOWED: [(&str, &str); 22] = [
        ("description", "Description"),
        ("type", "Type"),
        ("format", "Format"),
        ("title", "Title"),
        ("maximum", "Maximum"),
        ("exclusiveMaximum", "ExclusiveMaximum"),
        ("minimum", "Minimum"),
        ("exclusiveMinimum", "ExclusiveMinimum"),
        ("maxLength", "MaxLength"),
        ("minLength", "MinLength"),
        ("pattern", "Pattern"),
        ("maxItems", "MaxItems"),
        ("minItems", "MinItems"),
        ("uniqueItems", "UniqueItems"),
        ("multipleOf", "MultipleOf"),
        ("required", "Required"),
        ("items", "Items"),
        ("properties", "Properties"),
        ("externalDocs", "ExternalDocs"),
        ("example", "Example"),
        ("x-kubernetes-preserve-unknown-fields", "XPreserveUnknownFields"),
        ("x-kubernetes-validations", "XValidations"),
    ];
    let kind = str_at(schema, &["type"]);
    if !matches!(kind, "" | "object") {
        let text = "only \"object\" is allowed as the type at the root of the schema if the status subresource is enabled";
        errors.push(FieldError::invalid(path.child("type"), kind, text));
        return;
    }
    let names = schema.as_object().into_iter().flat_map(serde_json::Map::keys);
    let mut others = names
        .filter(|name| is_set(schema, name) && at(schema, &[name]) != Some(&Value::Bool(false)))
        .filter(|name| ALLOWED.iter().all(|(allowed, _)| *name != allowed));
    if others.next().is_some() {
        let shown = ALLOWED.map(|(_, shown)| shown).join(" ");
        let text = format!(
            "only [{shown}] fields are allowed at the root of the schema if the status subresource is enabled"
        );
        errors.push(FieldError::invalid(path.clone(), schema.clone(), text));
    }
}

/// Where a schema stands.
#[derive(Debug, Clone, Default)]
struct Place {
    is_root: bool,
    is_in_metadata: bool,
    /// Why there may be no default here.
    no_default: Option<String>,
}

fn node(schema: &Value, path: &Path, place: &Place, depth: usize, errors: &mut ErrorList) {
    // What is deeper was refused with the structure.
    if depth > DEPTH_MAX || !schema.is_object() {
        return;
    }
    standard(schema, path, place, errors);
    if is(schema, "uniqueItems") {
        let text =
            "uniqueItems cannot be set to true since the runtime complexity becomes quadratic";
        errors.push(FieldError::forbidden(path.child("uniqueItems"), text));
    }
    children(schema, path, place, depth, errors);
    let preserve = "x-kubernetes-preserve-unknown-fields";
    if at(schema, &[preserve]) == Some(&Value::Bool(false)) {
        let text = "must be true or undefined";
        errors.push(FieldError::invalid(path.child(preserve), false, text));
    }
    maps(schema, path, errors);
    lists(schema, path, errors);
    keyed(schema, path, errors);
    rules(schema, path, errors);
}

/// What the standard of schemas knows and Kubernetes does not take.
fn standard(schema: &Value, path: &Path, place: &Place, errors: &mut ErrorList) {
    const TYPES: [&str; 6] = ["array", "boolean", "integer", "number", "object", "string"];
    let kind = str_at(schema, &["type"]);
    if !kind.is_empty() && !TYPES.contains(&kind) {
        errors.push(FieldError::not_supported(path.child("type"), kind, &TYPES));
    }
    if let Some(why) = place.no_default.as_ref().filter(|_| at(schema, &["default"]).is_some()) {
        let text = format!("must not be set {why}");
        errors.push(FieldError::forbidden(path.child("default"), text));
    }
    for field in
        ["id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"]
    {
        if is_set(schema, field) {
            let text = format!("{field} is not supported");
            errors.push(FieldError::forbidden(path.child(field), text));
        }
    }
    if kind == "null" {
        let text = "type cannot be set to null, use nullable as an alternative";
        errors.push(FieldError::forbidden(path.child("type"), text));
    }
    if at(schema, &["items"]).is_some_and(Value::is_array) {
        let text = "items must be a schema object and not an array";
        errors.push(FieldError::forbidden(path.child("items"), text));
    }
    let embedded = "x-kubernetes-embedded-resource";
    if place.is_in_metadata && is(schema, embedded) {
        let text = "must not be used inside of resource meta";
        errors.push(FieldError::forbidden(path.child(embedded), text));
    }
}

fn children(schema: &Value, path: &Path, place: &Place, depth: usize, errors: &mut ErrorList) {
    let below = Place { is_root: false, ..place.clone() };
    let properties = at(schema, &["properties"]).and_then(Value::as_object);
    if let Some(additional) = at(schema, &["additionalProperties"]) {
        let path = path.child("additionalProperties");
        if properties.is_some_and(|map| !map.is_empty()) && *additional != Value::Bool(true) {
            let text = "additionalProperties and properties are mutual exclusive";
            errors.push(FieldError::forbidden(path.clone(), text));
        }
        let mut place = below.clone();
        if place.is_in_metadata {
            let why = "inside additionalProperties applying to object metadata";
            place.no_default = Some(why.to_owned());
        }
        node(additional, &path, &place, depth + 1, errors);
    }
    let is_embedded = is(schema, "x-kubernetes-embedded-resource");
    for (name, child) in properties.into_iter().flatten() {
        let mut inner = below.clone();
        let is_meta = matches!(name.as_str(), "metadata" | "kind" | "apiVersion");
        if is_meta && (place.is_root || is_embedded) {
            inner.is_in_metadata = true;
            if place.is_root {
                inner.no_default = Some(format!("in top-level {name}"));
            }
        }
        node(child, &path.child("properties").key(name), &inner, depth + 1, errors);
    }
    if let Some(child) = at(schema, &["not"]) {
        node(child, &path.child("not"), &below, depth + 1, errors);
    }
    for junctor in ["allOf", "oneOf", "anyOf"] {
        for (index, child) in list_at(schema, &[junctor]).iter().enumerate() {
            node(child, &path.child(junctor).index(index), &below, depth + 1, errors);
        }
    }
    if let Some(child) = at(schema, &["items"]) {
        node(child, &path.child("items"), &below, depth + 1, errors);
    }
}

/// A type that an extension asks for.
fn must_be(schema: &Value, path: &Path, wanted: &str, extension: &str, errors: &mut ErrorList) {
    let kind = str_at(schema, &["type"]);
    let text = format!("must be {wanted} if {extension} is specified");
    if kind.is_empty() {
        errors.push(FieldError::required(path.child("type"), text));
    } else if kind != wanted {
        errors.push(FieldError::invalid(path.child("type"), kind, text));
    }
}

fn maps(schema: &Value, path: &Path, errors: &mut ErrorList) {
    const EXTENSION: &str = "x-kubernetes-map-type";
    let Some(map) = at(schema, &[EXTENSION]).and_then(Value::as_str) else { return };
    must_be(schema, path, "object", EXTENSION, errors);
    let known = ["atomic", "granular"];
    if !known.contains(&map) {
        errors.push(FieldError::not_supported(path.child(EXTENSION), map, &known));
    }
}

fn lists(schema: &Value, path: &Path, errors: &mut ErrorList) {
    const EXTENSION: &str = "x-kubernetes-list-type";
    let list = at(schema, &[EXTENSION]).and_then(Value::as_str);
    let keys = list_at(schema, &["x-kubernetes-list-map-keys"]);
    if let Some(list) = list {
        must_be(schema, path, "array", EXTENSION, errors);
        if list == "set" && str_at(schema, &["type"]) == "array" {
            items_of_set(schema, path, errors);
        }
        let known = ["atomic", "set", "map"];
        if !known.contains(&list) {
            errors.push(FieldError::not_supported_in(path.child(EXTENSION), list, &known));
        }
    }
    if !keys.is_empty() && list != Some("map") {
        let text = "must be map if x-kubernetes-list-map-keys is non-empty";
        errors.push(match list {
            None => FieldError::required(path.child(EXTENSION), text),
            Some(list) => FieldError::invalid(path.child(EXTENSION), list, text),
        });
    }
    if list == Some("map") {
        map_keys(schema, keys, path, errors);
    }
}

/// The items of a set are compared as a whole.
fn items_of_set(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let items = path.child("items");
    let text = "must be atomic as item of a list with x-kubernetes-list-type=set";
    let list_type = at(schema, &["items", "x-kubernetes-list-type"]);
    // Upstream shows the list type of both.
    let shown = list_type.cloned().unwrap_or(Value::Null);
    match str_at(schema, &["items", "type"]) {
        "array" if list_type.is_some_and(|one| *one != "atomic") => {
            let path = items.child("x-kubernetes-list-type");
            errors.push(FieldError::invalid(path, shown, text));
        }
        "object" if str_at(schema, &["items", "x-kubernetes-map-type"]) != "atomic" => {
            let path = items.child("x-kubernetes-map-type");
            errors.push(FieldError::invalid(path, shown, text));
        }
        _ => {}
    }
}

/// The keys of a list's items are scalars of theirs.
fn map_keys(schema: &Value, keys: &[Value], path: &Path, errors: &mut ErrorList) {
    let there = path.child("x-kubernetes-list-map-keys");
    let items = path.child("items");
    if keys.is_empty() {
        let text = "must not be empty if x-kubernetes-list-type is map";
        errors.push(FieldError::required(there.clone(), text));
    }
    let Some(schema) = at(schema, &["items"]) else {
        let text = "must have a schema if x-kubernetes-list-type is map";
        errors.push(FieldError::required(items, text));
        return;
    };
    let kind = str_at(schema, &["type"]);
    if kind != "object" {
        let text = "must be object if parent array's x-kubernetes-list-type is map";
        errors.push(FieldError::invalid(items.child("type"), kind, text));
        return;
    }
    for (index, key) in keys.iter().enumerate() {
        let name = key.as_str().unwrap_or_default();
        match at(schema, &["properties", name]) {
            Some(field) if matches!(str_at(field, &["type"]), "array" | "object") => {
                let text = "must be a scalar type if parent array's x-kubernetes-list-type is map";
                let path = items.child("properties").key(name).child("type");
                errors.push(FieldError::invalid(path, kind, text));
            }
            Some(_) => {}
            None => {
                let text = "entries must all be names of item properties";
                errors.push(FieldError::invalid(there.clone(), keys.to_vec(), text));
            }
        }
        if keys[..index].contains(key) {
            let text = "must not contain duplicate entries";
            errors.push(FieldError::invalid(there.clone(), keys.to_vec(), text));
        }
    }
}

/// What tells items apart is always there.
fn keyed(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let list = str_at(schema, &["x-kubernetes-list-type"]);
    let Some(items) = at(schema, &["items"]).filter(|_| matches!(list, "set" | "map")) else {
        return;
    };
    let path = path.child("items");
    if is(items, "nullable") {
        let text = format!("cannot be nullable when x-kubernetes-list-type is {list}");
        errors.push(FieldError::forbidden(path.child("nullable"), text));
    }
    if list != "map" {
        return;
    }
    let required = list_at(items, &["required"]);
    for key in list_at(schema, &["x-kubernetes-list-map-keys"]) {
        let name = key.as_str().unwrap_or_default();
        let Some(field) = at(items, &["properties", name]) else { continue };
        let path = path.child("properties").key(name);
        if !required.contains(key) && at(field, &["default"]).is_none() {
            let text = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property";
            errors.push(FieldError::required(path.child("default"), text));
        }
        if is(field, "nullable") {
            let text = "this property is in x-kubernetes-list-map-keys, so it cannot be nullable";
            errors.push(FieldError::forbidden(path.child("nullable"), text));
        }
    }
}

/// What rules say beside their expressions.
fn rules(schema: &Value, path: &Path, errors: &mut ErrorList) {
    let list = path.child("x-kubernetes-validations");
    for (index, rule) in list_at(schema, &["x-kubernetes-validations"]).iter().enumerate() {
        let path = list.index(index);
        let (text, message) = (str_at(rule, &["rule"]).trim(), str_at(rule, &["message"]));
        if text.is_empty() {
            errors.push(FieldError::required(path.child("rule"), "rule is not specified"));
        } else if !message.is_empty() && message.trim().is_empty() {
            let text = "must be non-empty if specified";
            errors.push(FieldError::invalid(path.child("message"), message, text));
        } else if message.trim().contains(['\n', '\r']) {
            let text = "must not contain line breaks";
            errors.push(FieldError::invalid(path.child("message"), message, text));
        } else if message.is_empty() && text.contains(['\n', '\r']) {
            let text = "message must be specified if rule contains line breaks";
            errors.push(FieldError::required(path.child("message"), text));
        }
        let expression = str_at(rule, &["messageExpression"]);
        if !expression.is_empty() && expression.trim().is_empty() {
            let text = "messageExpression must be non-empty if specified";
            errors.push(FieldError::required(path.child("messageExpression"), text));
        }
        let reason = at(rule, &["reason"]).and_then(Value::as_str);
        let known = [
            "FieldValueDuplicate",
            "FieldValueForbidden",
            "FieldValueInvalid",
            "FieldValueRequired",
        ];
        if let Some(reason) = reason.filter(|reason| !known.contains(reason)) {
            errors.push(FieldError::not_supported(path.child("reason"), reason, &known));
        }
        field_path(schema, str_at(rule, &["fieldPath"]), &path.child("fieldPath"), errors);
    }
}

/// The field that a rule's error names.
fn field_path(schema: &Value, text: &str, path: &Path, errors: &mut ErrorList) {
    if text.is_empty() {
        return;
    }
    let mut push = |why: &str| errors.push(FieldError::invalid(path.clone(), text, why));
    if text.trim().is_empty() {
        push("must be non-empty if specified");
    }
    if text.contains(['\n', '\r']) {
        push("must not contain line breaks");
    }
    if cel::rules::field_of_path(text, schema).is_err() {
        push("must be a valid path");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(a: Value, expected: &[&str]) {
        check_root(&json!({"type": "object", "properties": {"a": a}}), false, expected);
    }

    fn check_root(schema: &Value, has_status: bool, expected: &[&str]) {
        let found = problems(schema, &Path::new("s"), has_status);
        let found: Vec<_> = found.iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{schema}");
    }

    #[test]
    fn lists_and_their_keys() {
        let items = json!({"type": "object", "properties": {"k": {"type": "string"}}});
        check(
            json!({"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k", "z"], "items": items}),
            &[
                "s.properties[a].x-kubernetes-list-map-keys: Invalid value: [\"k\",\"z\"]: entries must all be names of item properties",
                "s.properties[a].items.properties[k].default: Required value: this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property",
            ],
        );
        check(
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": items}),
            &[
                "s.properties[a].items.x-kubernetes-map-type: Invalid value: null: must be atomic as item of a list with x-kubernetes-list-type=set",
            ],
        );
        check(
            json!({"type": "array", "x-kubernetes-list-map-keys": ["k"], "items": items}),
            &[
                "s.properties[a].x-kubernetes-list-type: Required value: must be map if x-kubernetes-list-map-keys is non-empty",
            ],
        );
        check(
            json!({"type": "array", "x-kubernetes-list-type": "foo", "items": items}),
            &[
                "s.properties[a].x-kubernetes-list-type: Unsupported value: \"foo\": supported values: \"atomic\", \"set\", \"map\"",
            ],
        );
    }

    #[test]
    fn what_schemas_may_not_say() {
        check(json!({"$ref": "#/x"}), &["s.properties[a].$ref: Forbidden: $ref is not supported"]);
        check(
            json!({"type": "object", "x-kubernetes-preserve-unknown-fields": false}),
            &[
                "s.properties[a].x-kubernetes-preserve-unknown-fields: Invalid value: false: must be true or undefined",
            ],
        );
        check(
            json!({"type": "object", "x-kubernetes-validations": [{"rule": "true", "fieldPath": ".b"}]}),
            &[
                "s.properties[a].x-kubernetes-validations[0].fieldPath: Invalid value: \".b\": must be a valid path",
            ],
        );
        check_root(
            &json!({"type": "object", "properties": {"metadata": {"type": "object", "default": {}}}}),
            false,
            &["s.properties[metadata].default: Forbidden: must not be set in top-level metadata"],
        );
        check_root(
            &json!({"type": "object", "uniqueItems": true}),
            false,
            &[
                "s.uniqueItems: Forbidden: uniqueItems cannot be set to true since the runtime complexity becomes quadratic",
            ],
        );
        check(
            json!({"type": "string", "default": "x",
                "x-kubernetes-validations": [{"rule": "self == 'y'", "message": "nope"}]}),
            &["s.properties[a].default: Invalid value: \"x\": nope"],
        );
        let found = problems(
            &json!({"type": "object", "anyOf": [{"required": ["a"]}]}),
            &Path::new("s"),
            true,
        );
        assert!(found[0].detail.starts_with("only [Description Type Format "), "{found:?}");
    }
}
