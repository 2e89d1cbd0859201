//! Syntax: what is refused, and how it is said; how deep and how large it may be.

use super::parser::parse;

fn check(input: &str, expected: &str) {
    let found = parse(input, true).map(|_| String::new()).unwrap_or_else(|error| {
        // Only the first line of each problem: the lines below it have a test of their own.
        let lines: Vec<_> = error.to_string().lines().map(str::to_owned).collect();
        let errors = lines.iter().filter(|line| line.starts_with("ERROR: "));
        errors.map(|line| line["ERROR: <input>:".len()..].to_owned()).collect::<Vec<_>>().join("; ")
    });
    assert_eq!(found, expected, "{input}");
}

const PRIMARY: &str = "{'[', '{', '(', '.', '-', '!', 'true', 'false', 'null', NUM_FLOAT, NUM_INT, NUM_UINT, STRING, BYTES, IDENTIFIER}";

#[test]
fn problems_are_said_as_cel_go_says_them() {
    check("0xFFFFFFFFFFFFFFFFF", "1:1: invalid int literal");
    check("0xFFFFFFFFFFFFFFFFFu", "1:1: invalid uint literal");
    check("1.99e90000009", "1:1: invalid double literal");
    check(
        "a | b",
        "1:3: Syntax error: token recognition error at: '| '; 1:5: Syntax error: extraneous input 'b' expecting <EOF>",
    );
    check("has(m)", "1:5: invalid argument to has() macro");
    check(
        "m.map(__result__, __result__)",
        "1:7: iteration variable overwrites accumulator variable",
    );
    check("m.filter(a.b, false)", "1:11: argument is not an identifier");
    check("1.all(2, 3)", "1:7: argument must be a simple name");
    check("TestAllTypes(){}", "1:15: Syntax error: mismatched input '{' expecting <EOF>");
    check("TestAllTypes{}()", "1:15: Syntax error: mismatched input '(' expecting <EOF>");
    check("1 + 2\n3 +", "2:1: Syntax error: mismatched input '3' expecting <EOF>");
    check(r#"{"a": 1}."a""#, r#"1:10: Syntax error: no viable alternative at input '."a"'"#);
    check("self.true == 1", "1:6: Syntax error: mismatched input 'true' expecting IDENTIFIER");
    check("as", "1:1: reserved identifier: as");
    check("{a}", "1:3: Syntax error: mismatched input '}' expecting ':'");
    check("(1", "1:3: Syntax error: missing ')' at '<EOF>'");
    check("'\\udead'", "1:1: invalid unicode code point");
    let also = PRIMARY
        .replace("'[', '{', '(', '.', '-', '!',", "'[', '{', '}', '(', '.', ',', '-', '!', '?',");
    check("{", &format!("1:2: Syntax error: mismatched input '<EOF>' expecting {also}"));
}

#[test]
fn an_operand_that_is_not_there_is_said_with_what_could_be() {
    let at = |place: &str, word: &str, token: &str| {
        format!("{place}: Syntax error: {word} input '{token}' expecting {PRIMARY}")
    };
    check("", &at("1:1", "mismatched", "<EOF>"));
    check(
        "1 + $",
        &format!(
            "1:5: Syntax error: token recognition error at: '$'; {}",
            at("1:6", "mismatched", "<EOF>")
        ),
    );
    check(
        "1 + +",
        &format!("{}; {}", at("1:5", "mismatched", "+"), at("1:6", "mismatched", "<EOF>")),
    );
    check("?", &format!("{}; {}", at("1:1", "mismatched", "?"), at("1:2", "mismatched", "<EOF>")));
    check(
        "in",
        &format!("{}; {}", at("1:1", "mismatched", "in"), at("1:3", "mismatched", "<EOF>")),
    );
}

#[test]
fn names_of_loops_may_not_be_reserved() {
    check(
        "[1, 2, 3].map(var, var * var)",
        "1:15: reserved identifier: var; 1:15: argument is not an identifier; \
         1:20: reserved identifier: var; 1:26: reserved identifier: var",
    );
    check("[1].transformList(a, a, a)", "1:22: duplicate variable name: a");
    check("cel.bind(a.b, 1, 2)", "1:11: cel.bind() variable names must be simple identifiers");
    check("x.optMap(a.b, 1)", "1:11: optMap() variable name must be a simple identifier");
}

#[test]
fn what_is_right_is_taken() {
    for input in [
        "a.b.c[0].?d[?e].orValue(1) in [1, 2,]",
        "{?'a': b, 'c': 1,}",
        "Object{spec: Object.spec{replicas: 1, ?x: y,},}",
        ".a.b(1).c == a.B{}",
        "[1, 2].exists_one(x, x == 1) && [].all(i, v, i > v)",
        "a ? b : c ? d : e",
        "!!a || !b && - -c == --1",
        "r'\\d' + b'x' + \"\"\"a\"b\"\"\" // a comment",
        "a.`b-c/d`",
        "1e3 + .5 + 0x1F + 3u",
        "cel.bind(a, 1, a + 1)",
    ] {
        check(input, "");
    }
}

#[test]
fn depth_and_size_are_limited() {
    let limit = "-1:0: expression recursion limit exceeded: 250";
    check(&"(".repeat(10_000), limit);
    check(&"[".repeat(10_000), limit);
    check(&format!("a{}", ".b".repeat(300)), limit);
    check(&format!("1{}", " + 1".repeat(300)), limit);
    check(&format!("true{}", " && true".repeat(5_000)), "");
    check(
        &"a".repeat(100_001),
        "-1:0: expression code point size exceeds limit: size: 100001, limit 100000",
    );
    // Each level copies its target.
    let nested = (0..40).fold("x".to_owned(), |inner, _| format!("{inner}.optMap(y, y)"));
    assert!(parse(&nested, false).unwrap_err().to_string().contains("node limit exceeded"));
}
