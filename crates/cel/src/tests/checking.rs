//! The checker: what does not fit, and how it is said.

use serde_json::json;

use super::check;
use crate::{DeclType, Env, Type};

#[test]
fn what_does_not_fit_is_said() {
    for (expression, expected) in [
        ("1 + 'a'", "found no matching overload for '_+_' applied to '(int, string)'"),
        ("'a'.contains(1)", "found no matching overload for 'contains' applied to 'string.(int)'"),
        ("size(1)", "found no matching overload for 'size' applied to '(int)'"),
        ("y", "undeclared reference to 'y' (in container '')"),
        ("f(1)", "undeclared reference to 'f' (in container '')"),
        ("x.foo(1)", "undeclared reference to 'foo' (in container '')"),
        (
            "cel.bind(a, 1, a)",
            "undeclared reference to 'cel' (in container ''); undeclared reference to 'bind' (in container ''); undeclared reference to 'a' (in container ''); undeclared reference to 'a' (in container '')",
        ),
        ("1 && true", "expected type 'bool' but found 'int'"),
        ("[1, 'a']", "expected type 'int' but found 'string'"),
        ("{'a': 1, 2: 3}", "expected type 'string' but found 'int'"),
        (
            "true ? 1 : 'a'",
            "found no matching overload for '_?_:_' applied to '(bool, int, string)'",
        ),
        (
            "'a'.all(c, true)",
            "expression of type 'string' cannot be range of a comprehension (must be list, map, or dynamic)",
        ),
        ("[1].all(c, c)", "expected type 'bool' but found 'int'"),
        ("'a'.b", "type 'string' does not support field selection"),
        ("Foo{a: 1}", "undeclared reference to 'Foo' (in container '')"),
        ("1 == 'a'", "found no matching overload for '_==_' applied to '(int, string)'"),
        ("1 in ['a']", "found no matching overload for '@in' applied to '(int, list(string))'"),
        ("quantity('1').b", "unexpected failed resolution of 'kubernetes.Quantity'"),
        (
            "names.matches('[')",
            "found no matching overload for 'matches' applied to 'list(string).(string)'",
        ),
        ("'a'.matches('[')", "invalid matches argument"),
        (
            "jsonpatch.escapeKey('a')",
            "undeclared reference to 'jsonpatch' (in container ''); undeclared reference to 'escapeKey' (in container '')",
        ),
    ] {
        check(expression, &format!("compile: {expected}"));
    }
}

fn typed(expression: &str) -> String {
    let schema = json!({"type": "object", "properties": {
        "spec": {"type": "object", "properties": {
            "replicas": {"type": "integer"},
            "ports": {"type": "array", "items": {"type": "object", "properties": {
                "port": {"type": "integer"}, "name": {"type": "string"}}}},
            "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            "intOrString": {"x-kubernetes-int-or-string": true},
            "any": {"type": "object", "x-kubernetes-preserve-unknown-fields": true},
        }},
    }});
    let decl = DeclType::from_schema(&schema, "test.Kind", true).unwrap();
    let env = Env::new()
        .with_decl("object", decl)
        .with("params", Type::Dyn)
        .with_composed("two", Type::Int)
        .with_patches();
    match env.compile(expression) {
        Ok(program) => program.result_type().to_string(),
        Err(error) => error.messages().join("; "),
    }
}

#[test]
fn schemas_give_types() {
    for (expression, expected) in [
        ("object.spec.replicas > 1", "bool"),
        ("object.spec.replicas", "int"),
        ("object.spec.ports.map(p, p.name)", "list(string)"),
        ("object.spec.ports[0]", "test.Kind.spec.ports.@idx"),
        ("object.spec.labels['a']", "string"),
        ("object.spec.labels.a", "string"),
        ("object.spec.intOrString", "dyn"),
        ("object.metadata.name", "string"),
        ("object.spec.?replicas", "optional_type(int)"),
        ("object.spec.maxRetries > 1", "undefined field 'maxRetries'"),
        ("object.spec.any.foo", "undefined field 'foo'"),
        (
            "object.spec.replicas > '1'",
            "found no matching overload for '_>_' applied to '(int, string)'",
        ),
        (
            "'x' + object.spec.replicas",
            "found no matching overload for '_+_' applied to '(string, int)'",
        ),
        ("params.anything.goes", "dyn"),
        ("variables.two + 1", "int"),
        ("variables.three", "undefined field 'three'"),
        ("Object{spec: Object.spec{replicas: 1}}", "Object"),
        ("JSONPatch{op: 'add', path: '/a', value: 1}", "JSONPatch"),
        ("JSONPatch{opp: 'add'}", "undefined field 'opp'"),
        ("JSONPatch{op: 1}", "expected type of field 'op' is 'string' but provided type is 'int'"),
        ("jsonpatch.escapeKey('a/b')", "string"),
        ("[]", "list(dyn)"),
        ("{}", "map(dyn, dyn)"),
        ("optional.none()", "optional_type(dyn)"),
        ("dyn(1) < 2", "bool"),
        ("[1].map(i, i + 1)", "list(int)"),
        ("[1].transformMap(i, v, 'a')", "map(int, string)"),
        ("type(1)", "type(int)"),
        ("ip('1.2.3.4')", "net.IP"),
    ] {
        assert_eq!(typed(expression), expected, "{expression}");
    }
}
