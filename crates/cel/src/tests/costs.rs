//! Costs against upstream's own tables: what evaluations cost (`celcoststability_test.go`) and what
//! rules are estimated at (`compilation_test.go` of apiextensions-apiserver).

use serde_json::{Value as Json, json};

use crate::{Bindings, DeclType, Env, Value};

fn self_env(decl: &std::sync::Arc<DeclType>) -> Env {
    Env::new().with_decl("self", decl.clone()).with_decl("oldSelf", decl.clone())
}

fn cost(schema: &Json, object: &Json, expression: &str) -> u64 {
    let decl = DeclType::from_schema(schema, "@self", false).unwrap();
    let program = self_env(&decl).compile(expression).unwrap_or_else(|error| panic!("{error}"));
    let value = Value::typed(object, Some(&decl)).unwrap();
    let outcome = program.evaluate(&Bindings::new().with("self", value));
    assert_eq!(outcome.result.unwrap().as_bool(), Some(true), "{expression}");
    outcome.cost
}

fn check(schema: &Json, object: &Json, table: &[(&str, u64)]) {
    for (expression, expected) in table {
        assert_eq!(cost(schema, object, expression), *expected, "{expression}");
    }
}

fn object(properties: Json) -> Json {
    json!({"type": "object", "properties": properties})
}

#[test]
fn scalars_cost_what_upstream_says() {
    check(
        &object(json!({"val1": {"type": "integer"}, "val4": {"type": "number"},
            "s": {"type": "string"}, "e": {"type": "string", "enum": ["Pending", "Available"]},
            "b": {"type": "string", "format": "byte"}, "d": {"type": "string", "format": "duration"},
            "t": {"type": "string", "format": "date-time"}})),
        &json!({"val1": 5, "val4": 10.0, "s": "Rook takes 👑", "e": "Pending", "b": "QUI=",
            "d": "1h2m3s4ms", "t": "2011-08-18T19:03:37.010000000+01:00"}),
        &[
            ("type(self.val1) == int", 4),
            ("double(self.val1) < self.val4", 6),
            ("double(5) < 10.0", 1),
            ("double(self.val1) < 10.0", 4),
            ("self.s.startsWith('Rook')", 3),
            ("!self.s.startsWith('knight')", 4),
            ("self.s.matches('^[^0-9]*$')", 8),
            ("!self.s.matches('^[0-9]*$')", 7),
            ("size(self.s) == 12", 4),
            ("self.s.charAt(3) == 'k'", 4),
            ("self.s.indexOf('o') == 1", 4),
            ("self.s.replace(' ', 'x') == 'Rookxtakesx👑'", 7),
            ("self.s.split(' ') == ['Rook', 'takes', '👑']", 6),
            ("self.s.substring(5) == 'takes 👑'", 5),
            ("self.s.substring(4, 10).trim() == 'takes'", 6),
            ("self.s.upperAscii() == 'ROOK TAKES 👑'", 6),
            ("self.s.lowerAscii() == self.s.lowerAscii()", 10),
            (
                "'%d %s %f %s %s'.format([1, 'abc', 1.0, duration('1m'), timestamp('2000-01-01T00:00:00.000Z')]) == '1 abc 1.000000 60s 2000-01-01T00:00:00Z'",
                6,
            ),
            ("'%e'.format([3.14]) == '3.140000×10⁰⁰'", 3),
            ("'%o %o %o'.format([7, 8, 9]) == '7 10 11'", 2),
            ("'%b %b %b'.format([7, 8, 9]) == '111 1000 1001'", 3),
            ("self.b == b'AB'", 3),
            ("size(self.b) == 2", 4),
            ("self.d == duration('1h2m') + duration('3s4ms')", 4),
            ("self.d.getHours() == 1", 4),
            ("type(self.d) == google.protobuf.Duration", 4),
            ("self.t.getDate('01:00') == 18", 4),
            ("self.e == 'Pending'", 3),
            ("self.e in ['Pending', 'Available']", 2),
        ],
    );
}

#[test]
fn containers_cost_what_upstream_says() {
    let list = |of: &str| json!({"type": "array", "items": {"type": of}});
    let keyed = json!({"type": "array", "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["k"], "items": object(json!({"k": {"type": "string"},
        "v": {"type": "string"}, "v2": {"type": "string"}}))});
    let set =
        |of: &str| json!({"type": "array", "x-kubernetes-list-type": "set", "items": {"type": of}});
    let large: Vec<u32> = (0..1000).collect();
    check(
        &object(json!({"val1": list("integer"), "val2": list("integer"), "array": list("integer"),
            "set1": set("string"), "set3": set("integer"), "listMap": keyed,
            "objs": {"type": "array", "items": keyed},
            "val": {"type": "object", "additionalProperties": {"type": "integer"}}})),
        &json!({"val1": [1, 2, 3], "val2": [1, 2, 3], "array": [1, 1, 2, 2, 3, 3, 4, 5],
            "set1": ["a", "b", "c"], "set3": large, "val": {"b": 1, "d": 2},
            "listMap": [{"k": "a1", "v": "b1", "v2": "z"}, {"k": "a2", "v": "b2"},
                {"k": "a3", "v": "b3"}],
            "objs": [[{"k": "a", "v": "1"}, {"k": "b", "v": "2"}],
                [{"k": "b", "v": "2"}, {"k": "a", "v": "1"}],
                [{"k": "b", "v": "3"}, {"k": "a", "v": "1"}], [{"k": "c", "v": "4"}]]}),
        &[
            ("1 in self.val1", 5),
            ("self.val2[0] in self.val1", 8),
            ("!(0 in self.val1)", 6),
            ("self.val1 + self.val2 == [1, 2, 3, 1, 2, 3]", 6),
            ("self.val1 + [4, 5] == [1, 2, 3, 4, 5]", 4),
            ("has(self.val1) && has(self.val2)", 2),
            ("self.set1 == ['c', 'b', 'a']", 3),
            ("self.set1 + ['c', 'd'] == ['a', 'b', 'c', 'd']", 4),
            ("sets.contains(self.set1, ['a'])", 6),
            ("sets.equivalent(self.set1, ['a', 'b', 'c'])", 21),
            ("sets.contains(self.set3, [1])", 1003),
            ("!sets.equivalent(self.set3, [1, 2, 3])", 6004),
            ("self.objs[0] == self.objs[1]", 7),
            ("self.objs[0] + self.objs[2] == self.objs[2]", 11),
            ("self.objs[0] == [self.objs[0][1], self.objs[0][0]]", 22),
            ("size(self.objs[0] + [self.objs[3][0]]) == 3", 20),
            ("'b' in self.val", 3),
            ("!has(self.val.a)", 3),
            ("self.val.all(k, self.val[k] > 0)", 17),
            ("!self.val.exists(k, self.val[k] == 3)", 20),
            ("self.val.exists_one(k, self.val[k] == 2)", 14),
            ("size(self.val.filter(k, self.val[k] > 1)) == 1", 26),
            ("self.val.all(k, v, v > 0)", 13),
            ("self.val.existsOne(k, v, v == 2)", 10),
            ("self.val.transformMap(k, v, v > 1, v + 1).size() == 1", 14),
            ("self.val.transformMap(k, v, v + 1).size() == 2", 15),
            ("self.val.transformMapEntry(k, v, {k + '2': v + 1}).size() == 2", 77),
            ("has(self.listMap[0].v)", 3),
            ("self.listMap.all(m, m.k.startsWith('a'))", 21),
            ("self.listMap.all(m, !has(m.v2) || m.v2 == 'z')", 21),
            ("self.listMap.exists(m, m.k.endsWith('1'))", 13),
            ("size(self.listMap.filter(m, m.k == 'a1')) == 1", 27),
            ("self.listMap.map(m, m.v).exists(v, v == 'b1')", 55),
            ("self.listMap.map(m, has(m.v2) && m.v2 == 'z', m.v2).size() == 1", 25),
            ("self.listMap.transformList(i, m, m.v).size() == 3", 47),
            ("2 in self.array", 10),
            ("self.array.all(e, e > 0)", 43),
            ("self.array.exists(e, e > 2)", 36),
            ("!self.array.exists(e, e < 0)", 52),
            ("size(self.array.filter(e, e%2 == 0)) == 3", 68),
            ("self.array.map(e, e * 20).filter(e, e > 50).exists(e, e == 60)", 194),
            ("self.array.transformList(i, e, e * 2).size() > 0", 117),
        ],
    );
}

#[test]
fn what_is_int_or_string_costs_what_upstream_says() {
    let any = json!({"x-kubernetes-int-or-string": true});
    check(
        &object(json!({"something": any, "min": any, "current": {"type": "integer"},
            "available": {"type": "integer"}})),
        &json!({"something": "25%", "min": "50%", "current": 5, "available": 10}),
        &[
            ("type(self.something) == int ? self.something == 1 : self.something == '25%'", 7),
            ("self.something != 1", 3),
            ("self.something == 1 || self.something == '25%'", 6),
            ("self.something == '25%' || self.something == 1", 3),
            ("self.something != ['anything']", 3),
            (r"type(self.min) == string && self.min.matches(r'(\d+(\.\d+)?%)')", 10),
            (
                "type(self.min) == int ? self.current <= self.min : double(self.current) / double(self.available) >= double(self.min.replace('%', '')) / 100.0",
                17,
            ),
        ],
    );
}

fn estimate(schema: &Json, expression: &str) -> u64 {
    let decl = DeclType::from_schema(schema, "@self", false).unwrap();
    let program = self_env(&decl).compile(expression).unwrap_or_else(|error| panic!("{error}"));
    program.estimate(&decl).max
}

/// A scalar's schema, by the name upstream's table uses.
fn scalar(name: &str) -> Json {
    match name {
        "int-or-string" => json!({"x-kubernetes-int-or-string": true}),
        "duration" | "date" | "date-time" => json!({"type": "string", "format": name}),
        other => json!({"type": other}),
    }
}

fn limited(mut schema: Json, limit: &str, max: Option<u64>) -> Json {
    if let Some(max) = max {
        schema[limit] = max.into();
    }
    schema
}

/// Both estimates of a row: without limits, and with `max` on lists, maps and texts.
fn check_estimates(
    schema: &dyn Fn(Option<u64>) -> Json,
    rule: &str,
    max: u64,
    expected: (u64, u64),
) {
    let found = (estimate(&schema(None), rule), estimate(&schema(Some(max)), rule));
    assert_eq!(found, expected, "{rule} over {}", schema(None));
}

#[test]
fn estimates_of_lists_and_maps_are_upstreams() {
    let all = "self.all(x, true)";
    for (item, rule, max, without, with) in [
        ("number", all, 10, 4_718_591, 32),
        ("string", all, 20, 3_145_727, 62),
        ("boolean", all, 5, 1_887_437, 17),
        ("int-or-string", all, 10, 4_718_591, 32),
        ("duration", all, 5, 2_359_295, 17),
        ("date", all, 15, 725_936, 47),
        ("date-time", all, 25, 428_963, 77),
        ("number", "self[1] == 0.0", 5000, 2, 2),
        ("string", "self[1] == self[1]", 8, 314_577, 314_577),
        ("int-or-string", "self[0] == 5", 10, 3, 3),
        ("duration", "self[0].getHours() == 2", 525, 4, 4),
        ("number", "self.all(x, x == 0.0)", 3 * 1024 * 2048, 6_291_454, 25_165_826),
    ] {
        let list = |max| limited(json!({"type": "array", "items": scalar(item)}), "maxItems", max);
        check_estimates(&list, rule, max, (without, with));
    }
    for (value, rule, max, without, with) in [
        ("number", all, 10, 1_348_169, 32),
        ("string", all, 3, 1_179_647, 11),
        ("boolean", all, 100, 943_718, 302),
        ("int-or-string", all, 15, 1_348_169, 47),
        ("duration", all, 5, 1_048_577, 17),
        ("date", all, 10, 524_288, 32),
        ("date-time", all, 25, 349_526, 77),
        ("number", "self['x'] == 0.0", 0, 2, 2),
        ("integer", "oldSelf.size() == self.size()", 10, 5, 5),
        ("date-time", "self['a'] == self['b']", 7, 8, 8),
        ("duration", "self['c'] == self['d']", 42, 8, 8),
    ] {
        let map = |max| {
            let schema = json!({"type": "object", "additionalProperties": scalar(value)});
            limited(schema, "maxProperties", max)
        };
        check_estimates(&map, rule, max, (without, with));
    }
}

#[test]
fn estimates_of_texts_are_upstreams() {
    let text = |max| limited(json!({"type": "string"}), "maxLength", max);
    for (rule, max, without, with) in [
        ("self.contains('test')", 10, 314_574, 5),
        ("self.startsWith('test')", 15, 2, 2),
        (r#"size(self + "hello") > size("hello")"#, 4, 314_578, 7),
        (r#"self.matches("x")"#, 50, 314_574, 22),
        (r#""".matches("(((((((((())))))))))[0-9]")"#, 10, 7, 7),
        (r#"self.matches("")"#, 100, 1, 1),
        (r#"self == "x""#, 0, 2, 1),
        ("self.find('[0-9]+') == ''", 10, 629_147, 11),
        ("self.lowerAscii() == 'lower!'", 10, 314_575, 6),
    ] {
        check_estimates(&text, rule, max, (without, with));
    }
    let list = |max| {
        let items = limited(json!({"type": "string"}), "maxLength", max);
        limited(json!({"type": "array", "items": items}), "maxItems", max)
    };
    check_estimates(&list, "self.join(' ') == 'aa bb'", 10, (329_853_068_905, 43));
    check_estimates(&list, "self.isSorted() == true", 10, (329_854_432_052, 52));
    let replaced = |max| {
        object(json!({"str": limited(json!({"type": "string"}), "maxLength", max),
            "before": {"type": "string", "maxLength": 2},
            "after": {"type": "string", "maxLength": 4}}))
    };
    let rule = "self.str.replace(self.before, self.after) == 'does not matter'";
    check_estimates(&replaced, rule, 4, (629_154, 12));
    let split = |max| {
        let text = limited(json!({"type": "string"}), "maxLength", max);
        object(json!({"str": text, "separator": text}))
    };
    check_estimates(&split, "self.str.split(self.separator) == []", 10, (629_160, 22));
    let values = json!({"type": "string", "enum": ["A", "B", "C", "LongValue"]});
    assert_eq!(estimate(&values, "self.contains('A')"), 2);
}

#[test]
fn loops_in_loops_multiply() {
    let list =
        |max| limited(json!({"type": "array", "items": {"type": "number"}}), "maxItems", max);
    assert_eq!(estimate(&list(Some(10)), "self.all(x, self.all(y, true))"), 352);
    assert_eq!(estimate(&list(Some(10)), "self.all(x, self.all(y, self.all(z, true)))"), 3_552);
    assert!(estimate(&list(None), "self.all(x, self.all(y, true))") > 10_000_000);
}
