//! Inputs meant to break things: none may panic, and none may cost more than the limit.

use serde_json::json;

use crate::{Bindings, COST_LIMIT, Env, Type, Value};

/// A small generator, so that a failure can be repeated from its seed.
struct Random(u64);

impl Random {
    fn next(&mut self, below: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % below as u64).unwrap()
    }

    fn pick<'t>(&mut self, from: &[&'t str]) -> &'t str {
        from[self.next(from.len())]
    }
}

const TOKENS: [&str; 58] = [
    "x",
    "y",
    "self",
    "1",
    "0",
    "-1",
    "2u",
    "1.5",
    "'a'",
    "\"b\"",
    "b'c'",
    "true",
    "false",
    "null",
    "[",
    "]",
    "{",
    "}",
    "(",
    ")",
    ".",
    ",",
    "?",
    ":",
    "+",
    "-",
    "*",
    "/",
    "%",
    "<",
    ">",
    "==",
    "!=",
    "&&",
    "||",
    "!",
    "in",
    "has",
    "size",
    ".map(i, ",
    ".all(i, ",
    ".filter(i, ",
    ".exists(i, ",
    ".transformMap(i, j, ",
    ".?a",
    "[?",
    ".orValue(",
    ".optMap(v, ",
    "Object{",
    "timestamp(",
    "duration(",
    "string(",
    "int(",
    "\\",
    "'",
    "`a-b`",
    "é",
    ".matches(",
];

fn soup(random: &mut Random) -> String {
    (0..random.next(25)).map(|_| random.pick(&TOKENS)).collect::<Vec<_>>().join("")
}

/// An expression that mostly compiles.
fn tree(random: &mut Random, depth: usize) -> String {
    if depth == 0 {
        return random
            .pick(&["x", "x.a", "x.b", "i", "1", "'a'", "true", "null", "[]", "{}"])
            .to_owned();
    }
    let mut sub = || tree(random, depth - 1);
    let (one, other, third) = (sub(), sub(), sub());
    match random.next(18) {
        0 => format!("({one} + {other})"),
        1 => format!("({one} == {other})"),
        2 => format!("(dyn({one}) && dyn({other}))"),
        3 => format!("(dyn({one}) || dyn({other}))"),
        4 => format!("(dyn({one}) ? dyn({other}) : dyn({third}))"),
        5 => format!("dyn({one}).map(i, {other})"),
        6 => format!("dyn({one}).filter(i, dyn({other}))"),
        7 => format!("dyn({one}).all(i, dyn({other}))"),
        8 => format!("[dyn({one}), dyn({other})]"),
        9 => format!("{{'k': {one}}}"),
        10 => format!("dyn({one})[dyn({other})]"),
        11 => format!("dyn({one}).?a.orValue({other})"),
        12 => format!("dyn({one}).transformMap(i, v, {other})"),
        13 => format!("string({one})"),
        14 => format!("size({one})"),
        15 => format!("dyn({one}).replace(dyn({other}), dyn({third}))"),
        16 => format!("dyn({one}).matches(dyn({other}))"),
        _ => format!("({one} < {other})"),
    }
}

fn run(expression: &str, data: &serde_json::Value) {
    let env = Env::new().with("x", Type::Dyn).with("i", Type::Dyn).with("self", Type::Dyn);
    if let Ok(program) = env.with_patches().compile(expression) {
        let value = Value::json(data);
        let bindings =
            Bindings::new().with("x", value.clone()).with("i", value.clone()).with("self", value);
        let outcome = program.evaluate_within(&bindings, 20_000);
        let over = outcome.cost > 20_000;
        let said = matches!(&outcome.result, Err(error) if error.is_over_budget());
        assert!(!over || said, "{expression} went on after its limit");
    }
}

#[test]
fn nothing_random_panics() {
    let data = json!({"a": [1, 2, "a", {"a": null}], "b": {"a": 1.5, "c": "aaaa"}, "c": -1});
    for seed in 1..3_000_u64 {
        let mut random = Random(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        run(&soup(&mut random), &data);
        let depth = 1 + random.next(3);
        run(&tree(&mut random, depth), &data);
    }
}

#[test]
fn what_is_nested_as_deeply_as_allowed_is_evaluated() {
    let data = json!({});
    for expression in [
        format!("{}1{}", "(".repeat(249), ")".repeat(249)),
        format!("{}1{}", "[".repeat(240), "]".repeat(240)),
        format!("1{}", " + 1".repeat(249)),
        format!("{}true{}", "dyn(".repeat(240), ")".repeat(240)),
        format!("{}[1]{}", "[1].map(q, ".repeat(80), ")".repeat(80)),
        format!("{}1", "x ? 1 : ".repeat(240)),
        format!("{}1{}", "{'a': ".repeat(240), "}".repeat(240)),
        format!("{}1{}{}", "[".repeat(240), " + 1".repeat(249), "]".repeat(240)),
    ] {
        // A server's workers have 2 MiB, and are some way down when they come here.
        let thread = std::thread::Builder::new().stack_size(1536 << 10);
        let data = data.clone();
        thread.spawn(move || run(&expression, &data)).unwrap().join().unwrap();
    }
}

#[test]
fn what_costs_too_much_is_stopped() {
    let numbers: Vec<u32> = (0..2_000).collect();
    let text = "a".repeat(100_000);
    let data = json!({"n": numbers, "t": text});
    let env = Env::new().with("x", Type::Dyn);
    for expression in [
        "x.n.all(a, x.n.all(b, x.n.all(c, a + b + c >= 0)))",
        "x.n.map(a, x.n.map(b, b))",
        "x.n.map(a, x.t.replace('a', x.t))",
        "x.n.map(a, x.t + x.t).map(b, b + b).map(c, c + c)",
        "x.t.split('').map(a, x.t.contains(a + a))",
        "'%s%s%s'.format([x.t, x.t, x.t]).replace('a', x.t)",
        "x.n.exists(a, x.t.matches('(a|b)*c'))",
        "x.t.split('').distinct().size() + x.t.split('').map(c, c + x.t).distinct().size() > 0",
    ] {
        let program = env.compile(expression).unwrap();
        let outcome = program.evaluate(&Bindings::new().with("x", Value::json(&data)));
        let Err(error) = outcome.result else {
            panic!("{expression} was not stopped at {}", outcome.cost);
        };
        assert!(error.is_over_budget(), "{expression}: {error}");
        assert!(outcome.cost < 20 * COST_LIMIT, "{expression} went on to {}", outcome.cost);
    }
}

#[test]
fn large_sets_and_lists_with_keys_compare_in_linear_time() {
    let set: Vec<u32> = (0..50_000).collect();
    let keyed: Vec<_> = set.iter().map(|n| json!({"k": n, "v": "x"})).collect();
    let schema = json!({"type": "object", "properties": {
        "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "integer"}},
        "keyed": {"type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["k"],
            "items": {"type": "object", "properties": {"k": {"type": "integer"}, "v": {"type": "string"}}}}}});
    let decl = crate::DeclType::from_schema(&schema, "T", false).unwrap();
    let object = json!({"set": set, "keyed": keyed});
    let program = Env::new()
        .with_decl("self", decl.clone())
        .compile("self.set + self.set == self.set && self.keyed + self.keyed == self.keyed")
        .unwrap();
    let value = Value::typed(&object, Some(&decl)).unwrap();
    let outcome = program.evaluate(&Bindings::new().with("self", value));
    assert_eq!(outcome.result.unwrap().as_bool(), Some(true));
}
