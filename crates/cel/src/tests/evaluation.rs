//! The semantics of the language: arithmetic, comparison, errors that others absorb, macros,
//! conversions, optional values.

use super::check;

#[test]
fn arithmetic_is_checked() {
    for (expression, expected) in [
        ("1 + 2 * 3 - 4 / 2 % 3", "5"),
        ("-7 / 2", "-3"),
        ("-7 % 2", "-1"),
        ("9223372036854775807 + 1", "error: integer overflow"),
        ("-9223372036854775808 - 1", "error: integer overflow"),
        ("-(-9223372036854775808)", "error: integer overflow"),
        ("-9223372036854775808 / -1", "error: integer overflow"),
        ("9223372036854775807 * 2", "error: integer overflow"),
        ("1u - 2u", "error: unsigned integer overflow"),
        ("18446744073709551615u + 1u", "error: unsigned integer overflow"),
        ("1 / 0", "error: division by zero"),
        ("1 % 0", "error: modulus by zero"),
        ("1.0 / 0.0", "inf"),
        ("0.1 + 0.2", "0.30000000000000004"),
        ("'a' + 'b'", r#""ab""#),
        ("b'a' + b'b'", "[97, 98]"),
        ("[1] + [2, 3]", "[1, 2, 3]"),
        ("--1", "1"),
        ("!!true", "true"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn numbers_compare_across_types() {
    for (expression, expected) in [
        ("1 < 1.5 && 2u > 1 && 1.0 <= 1u", "true"),
        ("dyn(1) == 1.0 && dyn(1u) == 1", "true"),
        ("9007199254740993 > 9007199254740992.0", "false"),
        ("9223372036854775807 < 1e30 && 0u > -0.5", "true"),
        ("dyn(9223372036854775807) < 9223372036854775808.0", "false"),
        ("18446744073709551615u > -1", "true"),
        ("dyn('a') == 1", "false"),
        ("dyn(null) == 0", "false"),
        ("x.n == null", "true"),
        ("double('NaN') == double('NaN')", "false"),
        ("double('NaN') < 1.0", "error: NaN values cannot be ordered"),
        ("'a' < 'b' && b'a' < b'b' && false < true", "true"),
        (
            "[1, 2] == [1.0, 2.0] && {'a': 1} == {'a': 1u}",
            "compile: found no matching overload for '_==_' applied to '(list(int), list(double))'; found no matching overload for '_==_' applied to '(map(string, int), map(string, uint))'",
        ),
        ("dyn([1, 2]) == [1.0, 2.0] && dyn({'a': 1}) == {'a': 1u}", "true"),
        ("{1: 'a'}[1] + {dyn(1u): 'b'}[1]", r#""ab""#),
        ("timestamp('2023-01-01T00:00:00Z') < timestamp('2023-01-02T00:00:00Z')", "true"),
        ("dyn('a') < 1", "error: no such overload"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn a_side_that_decides_absorbs_the_others_error() {
    for (expression, expected) in [
        ("false && 1 / 0 == 1", "false"),
        ("1 / 0 == 1 && false", "false"),
        ("true || 1 / 0 == 1", "true"),
        ("1 / 0 == 1 || true", "true"),
        ("true && 1 / 0 == 1", "error: division by zero"),
        ("1 / 0 == 1 || false", "error: division by zero"),
        ("dyn('a') && false", "false"),
        ("dyn('a') && true", "error: no such overload"),
        ("[1, 0].all(y, 1 / y == 2)", "false"),
        ("[0, 1].exists(y, 1 / y == 1)", "true"),
        ("[0, 1].all(y, 1 / y == 1)", "error: division by zero"),
        ("[0, 1].exists_one(y, 1 / y == 1)", "error: division by zero"),
        ("true ? 1 : 1 / 0", "1"),
        ("(1 / 0 == 0) ? 1 : 2", "error: division by zero"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn fields_and_items_are_found_or_missed() {
    for (expression, expected) in [
        ("x.a + x.b[1]", "3"),
        ("x['c']['d']", r#""e""#),
        ("x.zz", "error: no such key: zz"),
        ("x['zz']", "error: no such key: zz"),
        ("x.b[3]", "error: index out of bounds: 3"),
        ("x.b[-1]", "error: index out of bounds: -1"),
        ("x.b[1.0]", "2"),
        ("x.a.q", "error: no such key: q"),
        ("has(x.a) && !has(x.zz) && has(x.n)", "true"),
        ("has(x.a.q)", "false"),
        ("has(x.zz.q)", "error: no such key: zz"),
        ("'a' in x && !('q' in x)", "true"),
        ("2 in x.b && !(5 in x.b) && 2.0 in x.b", "true"),
        ("size(x.b) + x.size() + names.size() + size('é')", "12"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn macros_loop() {
    for (expression, expected) in [
        ("x.b.map(y, y * 2)", "[2, 4, 6]"),
        ("x.b.map(y, y > 1, y * 2)", "[4, 6]"),
        ("x.b.filter(y, y != 2)", "[1, 3]"),
        ("x.b.exists_one(y, y == 2)", "true"),
        ("x.c.all(k, k == 'd')", "true"),
        ("names.all(i, n, i < 3 && n != '')", "true"),
        ("names.exists(i, n, i == 2 && n == 'c')", "true"),
        ("names.existsOne(i, n, n < 'b')", "true"),
        ("names.transformList(i, n, i > 0, n + string(i))", r#"["a1", "c2"]"#),
        ("names.transformMap(i, n, n == 'a', n)[1]", r#""a""#),
        ("{'a': 1, 'b': 2}.transformMap(k, v, v * 2)", r#"{"a":2,"b":4}"#),
        ("{'a': 1}.transformMapEntry(k, v, {string(v): k})", r#"{"1":"a"}"#),
        ("[1, 1].transformMapEntry(i, v, {v: i})", "error: insert failed: key 1 already exists"),
        ("[[1, 2], [3]].map(l, l.map(y, y + 1))", "[[2, 3], [4]]"),
        ("[1, 2].map(y, [3].map(z, y + z))", "[[4], [5]]"),
        ("names.sortBy(n, n)", r#"["a", "b", "c"]"#),
        ("[3, 1, 2].sortBy(n, -n)", "[3, 2, 1]"),
        ("x.a.all(y, true)", "error: got 'int', expected iterable type"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn conversions_say_what_they_refuse() {
    for (expression, expected) in [
        ("int('42') + int(3.9) + int(7u)", "52"),
        ("int('x')", "error: type conversion error from 'string' to 'int'"),
        ("int(1e99)", "error: integer overflow"),
        ("uint(-1)", "error: unsigned integer overflow"),
        ("double('1.5') + double(2)", "3.5"),
        (
            "string(1) + string(1.5) + string(true) + string(b'x') + string(1e10)",
            r#""11.5truex1e+10""#,
        ),
        ("string(b'\\xff')", "error: invalid UTF-8 in bytes, cannot convert to string"),
        ("bool('true') && !bool('F')", "true"),
        ("bool('yes')", "error: type conversion error from 'string' to 'bool'"),
        ("type(1) == int && type('a') == string && type([]) == list", "true"),
        ("type(type(1)) == type && type(null) == null_type", "true"),
        ("type(x.a)", "int"),
        ("type(timestamp('2023-01-01T00:00:00Z'))", "google.protobuf.Timestamp"),
        ("bytes('é')", "[195, 169]"),
        ("dyn(1)", "1"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn times_are_counted() {
    for (expression, expected) in [
        ("duration('1h') + duration('30m')", "5400s"),
        ("timestamp('2023-01-01T00:00:00Z') + duration('1h')", "2023-01-01T01:00:00Z"),
        ("timestamp('2023-01-02T00:00:00Z') - timestamp('2023-01-01T00:00:00Z')", "86400s"),
        ("timestamp('9999-12-31T23:59:59Z') + duration('1s')", "error: timestamp overflow"),
        ("timestamp('2023-05-06T07:08:09.123Z').getMonth()", "4"),
        ("timestamp('2023-05-06T07:08:09.123Z').getDayOfWeek()", "6"),
        ("timestamp('2023-05-06T07:08:09.123Z').getMilliseconds()", "123"),
        ("timestamp('2023-05-06T23:00:00Z').getHours('+02:30')", "1"),
        ("timestamp('2023-05-06T23:00:00Z').getDate('-02:30')", "6"),
        ("duration('3730s').getHours()", "1"),
        ("duration('3730s').getMinutes()", "62"),
        ("int(timestamp(5))", "5"),
        ("duration('x')", "compile: invalid duration argument"),
        ("timestamp('x')", "compile: invalid timestamp argument"),
        (
            "duration(names[0])",
            "error: type conversion error from 'string' to 'google.protobuf.Duration'",
        ),
    ] {
        check(expression, expected);
    }
}

#[test]
fn optional_values_are_there_or_not() {
    for (expression, expected) in [
        ("x.?a", "some(1)"),
        ("x.?zz", "none"),
        ("x.?c.d", r#"some("e")"#),
        ("x.?zz.?y.orValue(5)", "5"),
        ("x[?'a'].value()", "1"),
        ("x.b[?5].hasValue()", "false"),
        ("x.?zz.or(x.?a).value()", "1"),
        ("optional.none().value()", "error: optional.none() dereference"),
        ("optional.ofNonZeroValue(0)", "none"),
        ("[?x.?a, ?x.?zz, dyn(3)]", "[1, 3]"),
        ("{?'a': x.?a, ?'b': x.?zz}", r#"{"a":1}"#),
        ("x.?a.optMap(v, v + 1)", "some(2)"),
        ("x.?zz.optMap(v, v + 1)", "none"),
        ("x.?c.optFlatMap(v, v.?d)", r#"some("e")"#),
        ("optional.unwrap([x.?a, x.?zz])", "[1]"),
        ("names.first().value() + names.last().value()", r#""bc""#),
        ("[?1]", "compile: expected type 'optional_type(int)' but found 'int'"),
    ] {
        check(expression, expected);
    }
}
