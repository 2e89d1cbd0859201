//! Values against their schema.
//!
//! The order of checks, what ends early, and what counts as a match (by which the best branch of a
//! junctor is chosen) are kube-openapi's.

use api::Value;
use api::field::ErrorKind;
use serde_json::Map;

use crate::format::{Format, schema_type};
use crate::junctors;
use crate::lists::correlated;
use crate::node::{Bound, Node, Type};
use crate::report::Problem;

/// What came of a check.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) problems: Vec<Problem>,
    /// How much fitted.
    pub(crate) matches: usize,
}

impl Found {
    pub(crate) fn is_valid(&self) -> bool {
        self.problems.is_empty()
    }

    pub(crate) fn merge(&mut self, other: Self) {
        self.problems.extend(other.problems);
        self.matches += other.matches;
    }
}

/// Checks a value; `old` is what it was before, as far as that can be told.
pub(crate) fn check(node: &Node, value: &Value, old: Option<&Value>, name: &str) -> Found {
    let mut found = Found::default();
    let fits = kind(node, value, name, &mut found);
    if value.is_null() {
        enumeration(node, value, name, &mut found);
    } else {
        junctors::check(node, value, old, name, &mut found);
        match value {
            Value::String(text) => string(node, text, name, &mut found),
            Value::Number(number) => {
                self::number(node, value, number.as_f64().unwrap_or(f64::NAN), name, &mut found);
            }
            Value::Array(items) => array(node, items, old, name, &mut found),
            Value::Object(map) => object(node, map, old, name, &mut found),
            _ => {}
        }
        enumeration(node, value, name, &mut found);
    }
    found.matches += 1 + usize::from(fits);
    if !found.is_valid() && old == Some(value) {
        // What was so before may stay so.
        found.problems.clear();
    }
    found
}

fn kind(node: &Node, value: &Value, name: &str, found: &mut Found) -> bool {
    if value.is_null() && (node.nullable || node.kind == Type::Any) {
        return true;
    }
    let is_whole = value.as_f64().is_some_and(|number| number.fract() == 0.0);
    let fits = match node.kind {
        Type::Any => true,
        Type::Object => value.is_object(),
        Type::Array => value.is_array(),
        Type::String => value.is_string(),
        Type::Integer => is_whole,
        Type::Number => value.is_number(),
        Type::Boolean => value.is_boolean(),
        Type::IntOrString => value.is_string() || is_whole,
    };
    if !fits && node.format == Some(Format::Int32) && value.is_number() {
        found.problems.push(Problem::wrong_type(name, "int32", "float64"));
        found.problems.push(Problem::composite(no_int32(name)));
    } else if !fits {
        let wanted = schema_type(node.kind);
        found.problems.push(Problem::wrong_type(name, wanted, type_of(value)));
    }
    fits
}

fn no_int32(name: &str) -> String {
    format!("Checked value must be of type integer with format int32 in {name}")
}

/// The JSON schema type of a value.
fn type_of(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

fn string(node: &Node, text: &str, name: &str, found: &mut Found) {
    let length = text.chars().count() as u64;
    if let Some(max) = node.length.max.filter(|max| length > *max) {
        found.problems.push(Problem {
            name: Some(name.to_owned()),
            kind: ErrorKind::TooLong,
            value: None,
            detail: format!("may not be more than {max} byte{}", if max == 1 { "" } else { "s" }),
        });
    } else if let Some(min) = node.length.min.filter(|min| length < *min) {
        let why = format!("should be at least {min} chars long");
        found.problems.push(Problem::invalid(name, text.into(), &why));
    } else if let Some((pattern, regex)) = &node.pattern
        && !regex.as_ref().is_some_and(|regex| regex.is_match(text))
    {
        let why = format!("should match '{pattern}'");
        found.problems.push(Problem::invalid(name, text.into(), &why));
    } else {
        found.matches += 1;
    }
    if let Some(format) = &node.format
        && !format.accepts(text)
    {
        found.problems.push(Problem::wrong_type(name, format.name(), text));
    }
}

fn number(node: &Node, value: &Value, number: f64, name: &str, found: &mut Found) {
    let before = found.problems.len();
    let is_whole = number.fract() == 0.0;
    if node.format == Some(Format::Int32) && is_whole && i32::try_from(number as i64).is_err() {
        found.problems.push(Problem::composite(no_int32(name)));
    }
    let mut wrong = |why: String| found.problems.push(Problem::invalid(name, value.clone(), &why));
    if let Some(factor) = node.multiple_of
        && factor > 0.0
        && (number / factor).fract() != 0.0
    {
        wrong(format!("should be a multiple of {factor}"));
    }
    if let Some(Bound { value: min, exclusive }) = node.minimum
        && (number < min || (exclusive && number == min))
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        wrong(format!("should be greater than{or_equal} {min}"));
    }
    if let Some(Bound { value: max, exclusive }) = node.maximum
        && (number > max || (exclusive && number == max))
    {
        let or_equal = if exclusive { "" } else { " or equal to" };
        wrong(format!("should be less than{or_equal} {max}"));
    }
    found.matches += usize::from(found.problems.len() == before);
}

fn array(node: &Node, items: &[Value], old: Option<&Value>, name: &str, found: &mut Found) {
    let before = found.problems.len();
    if let Some(schema) = &node.items {
        for (index, item) in items.iter().enumerate() {
            let old = correlated(node, item, old);
            found.merge(check(schema, item, old, &format!("{name}[{index}]")));
        }
    }
    let count = items.len() as u64;
    if let Some(min) = node.item_count.min.filter(|min| count < *min) {
        let why = format!("should have at least {min} items");
        found.problems.push(Problem::invalid(name, count.into(), &why));
    }
    if let Some(max) = node.item_count.max.filter(|max| count > *max) {
        found.problems.push(too_many(name, count, max));
    }
    if node.unique_items && (1..items.len()).any(|at| items[..at].contains(&items[at])) {
        let why = "shouldn't contain duplicates";
        found.problems.push(Problem::invalid(name, "".into(), why));
    }
    found.matches += usize::from(found.problems.len() == before);
}

fn too_many(name: &str, count: u64, max: u64) -> Problem {
    Problem {
        name: Some(name.to_owned()),
        kind: ErrorKind::TooMany,
        value: Some(count.into()),
        detail: format!("must have at most {max} items"),
    }
}

fn object(
    node: &Node,
    map: &Map<String, Value>,
    old: Option<&Value>,
    name: &str,
    found: &mut Found,
) {
    let count = map.len() as u64;
    if let Some(min) = node.property_count.min.filter(|min| count < *min) {
        let why = format!("should have at least {min} properties");
        found.problems.push(Problem::invalid(name, count.into(), &why));
        return;
    }
    if let Some(max) = node.property_count.max.filter(|max| count > *max) {
        found.problems.push(too_many(name, count, max));
        return;
    }
    let before = found.problems.len();
    for (field, value) in map {
        let Some(schema) = node.field(field) else { continue };
        let is_listed = node.properties.contains_key(field);
        let name =
            if name.is_empty() && is_listed { field.clone() } else { format!("{name}.{field}") };
        let old = old.and_then(|old| old.get(field));
        found.merge(check(schema, value, old, &name));
    }
    for field in node.required.iter().filter(|field| !map.contains_key(*field)) {
        found.problems.push(Problem::required(name, field));
    }
    found.matches += usize::from(found.problems.len() == before);
}

fn enumeration(node: &Node, value: &Value, name: &str, found: &mut Found) {
    if node.enumeration.is_empty() {
        return;
    }
    let same = |known: &Value| {
        known == value || known.as_f64().is_some_and(|number| value.as_f64() == Some(number))
    };
    if node.enumeration.iter().any(same) {
        found.matches += 1;
        return;
    }
    let names: Vec<String> = node
        .enumeration
        .iter()
        .map(|one| match one {
            Value::String(text) => format!("{text:?}"),
            other => format!("{:?}", other.to_string()),
        })
        .collect();
    found.problems.push(Problem {
        name: Some(name.to_owned()),
        kind: ErrorKind::NotSupported,
        value: Some(value.clone()),
        detail: format!("supported values: {}", names.join(", ")),
    });
}

#[cfg(test)]
mod tests {
    use crate::{Node, validate, validate_change};
    use serde_json::{Value, json};

    fn check(schema: Value, object: Value, expected: &[&str]) {
        let schema = json!({"type": "object", "properties": {"spec": schema}});
        let node = Node::root(Some(&schema));
        let found: Vec<_> =
            validate(&node, &json!({"spec": object})).iter().map(ToString::to_string).collect();
        assert_eq!(found, expected, "{schema} {object}");
    }

    #[test]
    fn types_and_enums() {
        check(
            json!({"type": "object", "properties": {"a": {"type": "string"}}}),
            json!({"a": 1}),
            &[
                r#"spec.a: Invalid value: "integer": spec.a in body must be of type string: "integer""#,
            ],
        );
        check(
            json!({"type": "object", "properties": {"a": {"type": "string"}}}),
            json!({"a": null}),
            &[r#"spec.a: Invalid value: "null": spec.a in body must be of type string: "null""#],
        );
        check(json!({"type": "string", "nullable": true}), Value::Null, &[]);
        check(json!({"type": "integer"}), json!(2.0), &[]);
        check(
            json!({"type": "integer"}),
            json!(2.5),
            &[r#"spec: Invalid value: "number": spec in body must be of type integer: "number""#],
        );
        check(
            json!({"x-kubernetes-int-or-string": true}),
            json!(true),
            &[
                r#"spec: Invalid value: "boolean": spec in body must be of type integer,string: "boolean""#,
            ],
        );
        check(
            json!({"type": "string", "enum": ["b", "a"]}),
            json!("c"),
            &[r#"spec: Unsupported value: "c": supported values: "b", "a""#],
        );
    }

    #[test]
    fn required_and_limits() {
        check(
            json!({"type": "object", "properties": {"bars": {"type": "array", "items": {
                "type": "object", "required": ["name"]}}}}),
            json!({"bars": [{}]}),
            &["spec.bars[0].name: Required value"],
        );
        check(
            json!({"type": "integer", "minimum": 1, "maximum": 3}),
            json!(5),
            &["spec: Invalid value: 5: spec in body should be less than or equal to 3"],
        );
        check(
            json!({"type": "integer", "minimum": 1, "exclusiveMinimum": true}),
            json!(1),
            &["spec: Invalid value: 1: spec in body should be greater than 1"],
        );
        check(
            json!({"type": "string", "pattern": "^a+$"}),
            json!("b"),
            &[r#"spec: Invalid value: "b": spec in body should match '^a+$'"#],
        );
        check(
            json!({"type": "string", "maxLength": 2}),
            json!("abc"),
            &["spec: Too long: may not be more than 2 bytes"],
        );
        check(
            json!({"type": "array", "maxItems": 1, "items": {"type": "string"}}),
            json!(["a", "b"]),
            &["spec: Too many: 2: must have at most 1 items"],
        );
        check(
            json!({"type": "object", "additionalProperties": {"type": "integer"}}),
            json!({"a": "x"}),
            &[
                r#"spec.a: Invalid value: "string": spec.a in body must be of type integer: "string""#,
            ],
        );
        check(
            json!({"type": "string", "format": "date-time"}),
            json!("yesterday"),
            &[
                r#"spec: Invalid value: "yesterday": spec in body must be of type date-time: "yesterday""#,
            ],
        );
    }

    #[test]
    fn junctors() {
        let either = json!({"type": "object", "oneOf": [{"required": ["a"]}, {"required": ["b"]}],
            "properties": {"a": {"type": "string"}, "b": {"type": "string"}}});
        check(either.clone(), json!({"a": ""}), &[]);
        check(
            either.clone(),
            json!({"a": "", "b": ""}),
            &[
                r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found 2 valid alternatives"#,
            ],
        );
        check(
            either,
            json!({}),
            &[
                r#"<nil>: Invalid value: "": "spec" must validate one and only one schema (oneOf). Found none valid"#,
                "spec.a: Required value",
            ],
        );
        check(
            json!({"type": "string", "not": {"enum": ["a"]}}),
            json!("a"),
            &[r#"<nil>: Invalid value: "": "spec" must not validate the schema (not)"#],
        );
        check(
            json!({"type": "string", "allOf": [{"minLength": 2}, {"pattern": "^b"}]}),
            json!("a"),
            &[
                r#"spec: Invalid value: "a": spec in body should be at least 2 chars long"#,
                r#"spec: Invalid value: "a": spec in body should match '^b'"#,
                r#"<nil>: Invalid value: "": "spec" must validate all the schemas (allOf). None validated"#,
            ],
        );
    }

    #[test]
    fn lists_and_embedded_objects() {
        check(
            json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}}),
            json!(["a", "b", "a"]),
            &[r#"spec[2]: Duplicate value: "a""#],
        );
        check(
            json!({"type": "array", "x-kubernetes-list-type": "map",
                "x-kubernetes-list-map-keys": ["k"], "items": {"type": "object",
                "properties": {"k": {"type": "string"}, "v": {"type": "integer"}}}}),
            json!([{"k": "a", "v": 1}, {"k": "a", "v": 2}]),
            &[r#"spec[1]: Duplicate value: {"k":"a"}"#],
        );
        check(
            json!({"type": "object", "x-kubernetes-embedded-resource": true,
                "x-kubernetes-preserve-unknown-fields": true}),
            json!({"kind": "Pod"}),
            &["spec.apiVersion: Required value"],
        );
    }

    #[test]
    fn what_was_wrong_before_may_stay() {
        let schema = json!({"type": "object", "properties": {"spec": {"type": "object",
            "properties": {"a": {"type": "integer", "maximum": 3}, "b": {"type": "integer"}}}}});
        let node = Node::root(Some(&schema));
        let old = json!({"spec": {"a": 5, "b": 1}});
        let errors = |new: Value| validate_change(&node, &new, &old).len();
        assert_eq!(errors(json!({"spec": {"a": 5, "b": 2}})), 0);
        assert_eq!(errors(json!({"spec": {"a": 6, "b": 1}})), 1);
        assert_eq!(errors(json!({"spec": {"a": 5, "b": "x"}})), 1);
    }

    #[test]
    fn items_are_told_apart_by_their_keys_alone() {
        let list = |kind: Value, item: Value| {
            let mut list = json!({"type": "array", "items": item});
            list.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
            Node::root(Some(&json!({"type": "object", "properties": {"l": list}})))
        };
        let text = json!({"type": "string", "enum": ["good"]});
        let (old, new) = (json!({"l": ["bad"]}), json!({"l": ["bad", "good"]}));
        for kind in [json!({}), json!({"x-kubernetes-list-type": "set"})] {
            let node = list(kind, text.clone());
            assert_eq!(validate_change(&node, &old, &old).len(), 0);
            assert_eq!(validate_change(&node, &new, &old).len(), 1);
        }
        let keys = json!({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"]});
        let node = list(
            keys,
            json!({"type": "object", "properties": {"k": {"type": "string"},
            "v": text}}),
        );
        let old = json!({"l": [{"k": "a", "v": "bad"}]});
        let new = json!({"l": [{"k": "b", "v": "good"}, {"k": "a", "v": "bad"}]});
        assert_eq!(validate_change(&node, &new, &old).len(), 0);
    }
}
