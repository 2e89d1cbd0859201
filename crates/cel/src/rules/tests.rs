//! Rules over objects, and what is refused when a definition is stored.

use api::field::Path;
use serde_json::{Value as Json, json};

use super::{Rules, problems};

fn schema(spec: Json) -> Json {
    json!({"type": "object", "properties": {"spec": spec}})
}

/// The errors, then the warnings behind `warning:`.
fn check(schema: &Json, object: &Json, old: Option<&Json>) -> Vec<String> {
    let found = Rules::compile(schema).unwrap().check(object, old);
    let warnings = found.warnings.iter().map(|warning| format!("warning: {warning}"));
    found.errors.iter().map(ToString::to_string).chain(warnings).collect()
}

#[test]
fn a_broken_rule_is_an_error_at_its_place() {
    let schema = schema(json!({"type": "object", "properties": {
        "min": {"type": "integer"}, "max": {"type": "integer",
            "x-kubernetes-validations": [{"rule": "self < 100"}]},
        "name": {"type": "string"}},
    "x-kubernetes-validations": [
        {"rule": "self.min <= self.max", "message": "min above max"},
        {"rule": "self.name != 'x'", "messageExpression": "'name is ' + self.name",
            "fieldPath": ".name", "reason": "FieldValueForbidden"},
        {"rule": "self.name != 'y'", "messageExpression": "''", "message": "not y"},
    ]}));
    assert_eq!(check(&schema, &json!({"spec": {"min": 1, "max": 2, "name": "a"}}), None), [""; 0]);
    assert_eq!(
        check(&schema, &json!({"spec": {"min": 300, "max": 200, "name": "x"}}), None),
        [
            "spec: Invalid value: min above max",
            "spec.name: Forbidden: name is x",
            "spec.max: Invalid value: 200: failed rule: self < 100",
        ]
    );
    assert_eq!(
        check(&schema, &json!({"spec": {"min": 1, "max": 2, "name": "y"}}), None),
        ["spec: Invalid value: not y"]
    );
    assert_eq!(
        check(&schema, &json!({"spec": {"min": 1, "max": 2}}), None),
        [
            "spec: Invalid value: \"object\": no such key: name evaluating rule: self.name != 'x'",
            "spec: Invalid value: \"object\": no such key: name evaluating rule: not y",
        ]
    );
}

#[test]
fn transitions_need_both_sides() {
    let schema = schema(json!({"type": "object", "properties": {
        "fixed": {"type": "string", "x-kubernetes-validations": [
            {"rule": "self == oldSelf", "message": "is immutable"}]},
        "once": {"type": "integer", "x-kubernetes-validations": [
            {"rule": "!oldSelf.hasValue() || self > oldSelf.value()", "optionalOldSelf": true}]},
        "ports": {"type": "array", "x-kubernetes-list-type": "map",
            "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object", "properties": {
                "name": {"type": "string"}, "port": {"type": "integer",
                    "x-kubernetes-validations": [{"rule": "self >= oldSelf"}]}}}},
    }}));
    let old = json!({"spec": {"fixed": "a", "once": 1, "ports": [
        {"name": "a", "port": 5}, {"name": "b", "port": 6}]}});
    let new = json!({"spec": {"fixed": "b", "once": 1, "ports": [
        {"name": "b", "port": 6}, {"name": "a", "port": 4}, {"name": "c", "port": 1}]}});
    assert_eq!(check(&schema, &new, None), [""; 0]);
    assert_eq!(
        check(&schema, &new, Some(&old)),
        [
            "spec.fixed: Invalid value: \"b\": is immutable",
            "spec.once: Invalid value: 1: failed rule: !oldSelf.hasValue() || self > oldSelf.value()",
            "spec.ports[1].port: Invalid value: 4: failed rule: self >= oldSelf",
        ]
    );
}

#[test]
fn what_was_wrong_before_and_is_unchanged_is_a_warning() {
    let schema = schema(json!({"type": "object", "properties": {
        "a": {"type": "integer", "x-kubernetes-validations": [{"rule": "self > 10"}]},
        "b": {"type": "integer"},
        "list": {"type": "array", "items": {"type": "integer",
            "x-kubernetes-validations": [{"rule": "self > 10"}]}},
    }}));
    let old = json!({"spec": {"a": 1, "b": 1, "list": [1]}});
    assert_eq!(
        check(&schema, &json!({"spec": {"a": 1, "b": 2, "list": [1, 2]}}), Some(&old)),
        [
            "spec.list[0]: Invalid value: 1: failed rule: self > 10",
            "spec.list[1]: Invalid value: 2: failed rule: self > 10",
            "warning: spec.a: Invalid value: 1: failed rule: self > 10",
        ]
    );
    assert_eq!(
        check(&schema, &json!({"spec": {"a": 2, "b": 2, "list": [1]}}), Some(&old)),
        [
            "spec.a: Invalid value: 2: failed rule: self > 10",
            "warning: spec.list[0]: Invalid value: 1: failed rule: self > 10",
        ]
    );
}

#[test]
fn rules_see_maps_embedded_objects_and_all_of() {
    let schema = schema(json!({"type": "object",
    "allOf": [{"properties": {"n": {"x-kubernetes-validations": [{"rule": "self != 3"}]}}}],
    "properties": {
        "n": {"type": "integer"},
        "labels": {"type": "object", "additionalProperties": {"type": "string",
            "x-kubernetes-validations": [{"rule": "self != 'bad'", "reason": "FieldValueDuplicate"}]}},
        "pod": {"type": "object", "x-kubernetes-embedded-resource": true,
            "x-kubernetes-preserve-unknown-fields": true,
            "x-kubernetes-validations": [{"rule": "self.kind == 'Pod' && self.metadata.name != ''"}]},
        "a.b": {"type": "object", "properties": {"namespace": {"type": "string"}},
            "x-kubernetes-validations": [{"rule": "self.__namespace__ == 'x'"}]},
        "free": {"x-kubernetes-preserve-unknown-fields": true},
    }}));
    assert_eq!(
        check(
            &schema,
            &json!({"spec": {"n": 3, "labels": {"k": "bad"}, "free": {"x": 1}, "a.b": {"namespace": "y"},
                "pod": {"kind": "Service", "metadata": {"name": "x"}}}}),
            None
        ),
        [
            "spec.n: Invalid value: 3: failed rule: self != 3",
            "spec.a.b: Invalid value: failed rule: self.__namespace__ == 'x'",
            "spec.labels[k]: Duplicate value: \"bad\"",
            "spec.pod: Invalid value: failed rule: self.kind == 'Pod' && self.metadata.name != ''",
        ]
    );
}

#[test]
fn the_budget_ends_checking() {
    let all = "self.all(a, self.all(b, a + b >= 0))";
    let schema = schema(json!({"type": "object", "properties": {
        "a": {"type": "array", "items": {"type": "integer"}, "x-kubernetes-validations": [
            {"rule": "self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"}, {"rule": "false"}]},
        "lists": {"type": "array", "items": {"type": "array", "items": {"type": "integer"},
            "x-kubernetes-validations": [{"rule": all}]}}}}));
    let many: Vec<u32> = (0..250).collect();
    assert_eq!(
        check(&schema, &json!({"spec": {"a": many}}), None),
        [
            "spec.a: Invalid value: \"array\": 'operation cancelled: actual cost limit exceeded': no further validation rules will be run due to call cost exceeds limit for rule: self.all(a, self.all(b, self.all(c, a + b + c >= 0)))"
        ]
    );
    let lists: Vec<Vec<u32>> = vec![many; 60];
    assert_eq!(
        check(&schema, &json!({"spec": {"lists": lists}}), None),
        [
            "spec.lists[22]: Invalid value: \"array\": validation failed due to running out of cost budget, no further validation rules will be run"
        ]
    );
}

fn refused(spec: Json) -> Vec<String> {
    let path = Path::new("schema");
    problems(&schema(spec), &path).iter().map(ToString::to_string).collect()
}

#[test]
fn what_does_not_compile_is_refused() {
    let of = |rule: Json| {
        refused(json!({"type": "object", "properties": {"x": {"type": "integer"}},
            "x-kubernetes-validations": [rule]}))
    };
    let at = "schema.properties[spec].x-kubernetes-validations[0]";
    assert_eq!(of(json!({"rule": "self.x > 0", "message": "positive"})), [""; 0]);
    assert_eq!(
        of(json!({"rule": "self.x > 'a'"})),
        [format!(
            "{at}.rule: Invalid value: {{\"Rule\":\"self.x \\u003e 'a'\",\"Message\":\"\",\"MessageExpression\":\"\",\"Reason\":null,\"FieldPath\":\"\",\"OptionalOldSelf\":null}}: compilation failed: ERROR: <input>:1:8: found no matching overload for '_>_' applied to '(int, string)'\n | self.x > 'a'\n | .......^"
        )]
    );
    assert!(of(json!({"rule": "self.x"}))[0].ends_with("cel expression must evaluate to a bool"));
    assert!(
        of(json!({"rule": "true", "messageExpression": "1"}))[0]
            .ends_with("messageExpression must evaluate to a string")
    );
    assert_eq!(
        of(json!({"rule": "self.x > 0", "optionalOldSelf": true})),
        [format!(
            "{at}.optionalOldSelf: Invalid value: true: may not be set if oldSelf is not used in rule"
        )]
    );
}

#[test]
fn what_costs_too_much_is_refused() {
    let loops = "self.all(a, self.all(b, a != b))";
    let list = |max: Option<u64>, rule: &str| {
        let mut list = json!({"type": "array", "items": {"type": "string", "maxLength": 5}});
        if let Some(max) = max {
            list["maxItems"] = max.into();
        }
        list["x-kubernetes-validations"] = json!([{"rule": rule}]);
        refused(json!({"type": "object", "properties": {"l": list}}))
    };
    let hint = "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are declared)";
    let at = "schema.properties[spec].properties[l].x-kubernetes-validations[0].rule";
    assert_eq!(list(Some(10), loops), [""; 0]);
    assert_eq!(
        list(None, loops),
        [
            format!(
                "{at}: Forbidden: estimated rule cost exceeds budget by factor of more than 100x {hint}"
            ),
            format!(
                "{at}: Forbidden: contributed to estimated rule cost total exceeding cost limit for entire OpenAPIv3 schema"
            ),
            format!(
                "schema: Forbidden: x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema exceeds budget by factor of more than 100x {hint}"
            ),
        ]
    );
    // What nothing bounds can be there as often as it fits into a request.
    let nested = refused(json!({"type": "array", "items": {"type": "object", "properties": {
        "s": {"type": "string", "x-kubernetes-validations": [{"rule": "self.contains('xxxxxxxxxxx')"}]}}}}));
    assert!(nested[0].contains("estimated rule cost exceeds budget by factor of more than 100x"));
}

#[test]
fn old_values_are_refused_where_there_are_none() {
    let found = refused(json!({"type": "array", "maxItems": 5, "items": {"type": "integer",
        "x-kubernetes-validations": [{"rule": "self == oldSelf"}]}}));
    assert_eq!(
        found,
        [
            "schema.properties[spec].items.x-kubernetes-validations[0].rule: Invalid value: \"self == oldSelf\": oldSelf cannot be used on the uncorrelatable portion of the schema within schema.properties[spec]"
        ]
    );
}
