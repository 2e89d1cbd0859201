//! The libraries: what each function gives.

use std::sync::{Arc, Mutex};

use super::check;
use crate::{Authorizer, Bindings, Check, Decision, Env, Type, Value};

#[test]
fn texts() {
    for (expression, expected) in [
        ("'héllo'.charAt(1) + 'abc'.substring(1) + 'abc'.substring(0, 2)", r#""ébcab""#),
        ("'abc'.substring(2, 1)", "error: invalid substring range. start: 2, end: 1"),
        ("'abc'.charAt(4)", "error: index out of range: 4"),
        ("'héllo'.indexOf('l') + 'hello'.lastIndexOf('l') + 'hello'.indexOf('l', 3)", "8"),
        ("'hello'.lastIndexOf('l', 2)", "2"),
        ("'hello'.indexOf('z')", "-1"),
        ("'aAé'.upperAscii() + 'AÉ'.lowerAscii() + ' x '.trim()", r#""AAéaÉx""#),
        ("'a-b-c'.replace('-', '+') + 'a-b-c'.replace('-', '', 1)", r#""a+b+cab-c""#),
        (
            "'a,b,c'.split(',') + 'a,b,c'.split(',', 2) + 'ab'.split('')",
            r#"["a", "b", "c", "a", "b,c", "a", "b"]"#,
        ),
        ("names.join() + names.join('-')", r#""bacb-a-c""#),
        (
            "'%s is %d and %.2f or %b %x %o'.format(['a', 1, 2.5, 5, 255, 8].map(i, dyn(i)))",
            r#""a is 1 and 2.50 or 101 ff 10""#,
        ),
        (
            "'%s is %d, %.2f, %b %X %o %%'.format([dyn('a'), dyn(1), dyn(1234.5), dyn(5), dyn(255), dyn(8)])",
            r#""a is 1, 1,234.50, 101 FF 10 %""#,
        ),
        ("'%s'.format([{'a': [1.5, 'x']}])", r#""{\"a\":[1.500000, \"x\"]}""#),
        ("'%e'.format([3.14]) + '%e'.format([0.001])", r#""3.140000×10⁰⁰1.000000×10⁻⁰³""#),
        ("'%s'.format([dyn([1, 2])])", r#""[1, 2]""#),
        (
            "'%d'.format(['a'])",
            "compile: error during formatting: decimal clause can only be used on integers, was given string",
        ),
        ("'%d'.format([])", "compile: index 0 out of range"),
        (
            "'%d'.format([1, 2])",
            "compile: too many arguments supplied to string.format (expected 1, got 2)",
        ),
        (
            "'%d'.format(x.c.map(k, k))",
            "error: error during formatting: decimal clause can only be used on integers, was given string",
        ),
        ("strings.quote('a\"\\n')", r#""\"a\\\"\\n\"""#),
        ("'abc'.matches('^a.c$') && matches('abc', 'b')", "true"),
        ("'abc 123'.find('[0-9]+') + 'abc'.find('z')", r#""123""#),
        (
            "'1 22 333'.findAll('[0-9]+') + '1 22 333'.findAll('[0-9]+', 1)",
            r#"["1", "22", "333", "1"]"#,
        ),
    ] {
        check(expression, expected);
    }
}

#[test]
fn lists_and_sets() {
    for (expression, expected) in [
        ("names.isSorted() || [1, 2, 2].isSorted()", "true"),
        ("[1, 2, 3].sum() + [4, 1].max() + [4, 1].min()", "11"),
        ("[duration('1s'), duration('2s')].sum()", "3s"),
        ("['a'].filter(s, s == 'b').max()", "error: max called on empty list"),
        ("names.indexOf('a') + [1, 2, 1].lastIndexOf(1) + names.indexOf('z')", "2"),
        ("[1, 2, 3, 4].slice(1, 3)", "[2, 3]"),
        ("[1].slice(0, 2)", "error: cannot slice(0, 2), list is length 1"),
        ("[[1], [2, 3]].flatten()", "[1, 2, 3]"),
        ("[dyn(1), dyn([dyn(2), dyn([3])])].flatten(2)", "[1, 2, 3]"),
        (
            "lists.range(3) + [3, 1].reverse() + [2, 1].sort() + [1, 1].distinct()",
            "[0, 1, 2, 1, 3, 1, 2, 1]",
        ),
        (
            "sets.contains([1, 2], [2]) && sets.equivalent([1, 2], [2, 1, 1]) && sets.intersects([1], [1, 5])",
            "true",
        ),
        ("lists.range(100000000)", "error: operation cancelled: actual cost limit exceeded"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn what_is_wrong_with_an_address_is_told_as_go_tells_it() {
    for (address, expected) in [
        ("192.168.0.1.0", "IPv4 address too long"),
        ("192.168.0", "IPv4 address too short"),
        ("192.168.0.256", "IPv4 field has value >255"),
        ("192.168..1", "IPv4 field must have at least one digit (at \".1\")"),
        ("192.168.0.01", "IPv4 field has octet with leading zero"),
        ("1.2.3.ä", "unexpected character (at \"ä\")"),
        ("2001:db8:::68", "each colon-separated field must have at least one digit (at \":68\")"),
        ("1::2::3", "multiple :: in address (at \":3\")"),
        ("1:2:3", "address string too short"),
        ("1:2:3:4:5:6:7:8:9", "trailing garbage after address (at \"9\")"),
        ("12345::", "each group must have 4 or less digits (at \"12345::\")"),
        ("1:ä", "each colon-separated field must have at least one digit (at \"ä\")"),
        ("fe80::1%", "zone must be a non-empty string"),
        ("nothing", "unable to parse IP"),
    ] {
        let before = format!("IP Address {address:?} parse error during conversion from string");
        check(
            &format!("ip('{address}')"),
            &format!("error: {before}: ParseAddr({address:?}): {expected}"),
        );
    }
}

#[test]
fn addresses_and_urls() {
    for (expression, expected) in [
        (
            "ip('192.168.0.1').family() == 4 && ip('::1').isLoopback() && ip('2001:db8::abcd').isGlobalUnicast()",
            "true",
        ),
        ("ip.isCanonical('2001:DB8::1')", "false"),
        ("isIP('1.2.3') || isIP('::ffff:1.2.3.4') || isCIDR('1.2.3.4')", "false"),
        (
            "ip('::ffff:1.2.3.4')",
            r#"error: IPv4-mapped IPv6 address "::ffff:1.2.3.4" is not allowed"#,
        ),
        (
            "string(cidr('192.168.1.5/24').masked()) + string(cidr('10.0.0.1/8').ip())",
            r#""192.168.1.0/2410.0.0.1""#,
        ),
        (
            "cidr('10.0.0.0/8').containsIP('10.1.2.3') && cidr('10.0.0.0/8').containsCIDR(cidr('10.1.0.0/16'))",
            "true",
        ),
        ("cidr('10.1.0.0/16').containsCIDR('10.0.0.0/8')", "false"),
        ("cidr('2001:db8::/32').prefixLength()", "32"),
        ("type(ip('1.2.3.4')) == net.IP", "true"),
        (
            "url('https://user:pw@example.com:80/a%20b/?q=1&q=2&r=a+b#f').getHost()",
            r#""example.com:80""#,
        ),
        (
            "url('https://[::1]:80/').getHostname() + url('https://h:81/').getPort() + url('HTTP://h/').getScheme()",
            r#""::181http""#,
        ),
        ("url('https://h/a b').getEscapedPath()", r#""/a%20b""#),
        ("url('https://h/?q=1&q=2&r=a+b').getQuery()", r#"{"q":["1","2"],"r":["a b"]}"#),
        ("isURL('/path') && isURL('https://h') && !isURL('h') && !isURL('')", "true"),
    ] {
        check(expression, expected);
    }
}

#[test]
fn quantities_versions_and_formats() {
    for (expression, expected) in [
        (
            "quantity('1Gi').isGreaterThan(quantity('1G')) && quantity('50k') == quantity('50000')",
            "true",
        ),
        ("quantity('200M').compareTo(quantity('0.2G'))", "0"),
        ("quantity('1k').add(quantity('1')).sub(1).asInteger() + sign(quantity('-1'))", "999"),
        ("quantity('1.5').asInteger()", "error: cannot convert value to integer"),
        ("quantity('9999999999999999999999999999999999999G').isInteger()", "false"),
        (
            "quantity('x')",
            "error: quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
        ),
        ("isQuantity('1.3Gi') && !isQuantity('x')", "true"),
        ("quantity('1500m').asApproximateFloat()", "1.5"),
        (
            "semver('1.2.3').isGreaterThan(semver('1.2.3-rc.1')) && semver('1.10.0').compareTo(semver('1.9.0')) == 1",
            "true",
        ),
        ("semver('v01.2', true).minor() + semver('1.2.3+b').patch()", "5"),
        ("isSemver('1.0') || isSemver('v1.0.0') || isSemver('01.0.0')", "false"),
        ("isSemver('v1.0', true)", "true"),
        ("format.dns1123Label().validate('my-label')", "none"),
        ("format.named('dns1123Label').value().validate('A').hasValue()", "true"),
        ("format.named('nope').hasValue()", "false"),
        (
            "format.uuid().validate('x').value() + format.date().validate('2023-02-30').value()",
            r#"["does not match the UUID format", "invalid date"]"#,
        ),
        (
            "format.uri().validate('https://a/').hasValue() || format.byte().validate('aGVsbG8=').hasValue()",
            "false",
        ),
    ] {
        check(expression, expected);
    }
}

#[derive(Debug, Default)]
struct Asked(Mutex<Vec<Check>>);

impl Authorizer for Asked {
    fn authorize(&self, check: &Check) -> Decision {
        self.0.lock().unwrap().push(check.clone());
        let allowed = check.verb == "create" && check.resource.resource == "pods";
        Decision { allowed, reason: "because".to_owned(), error: None }
    }
}

fn authorized(expression: &str) -> (String, Vec<Check>) {
    let asked = Arc::new(Asked::default());
    let host: Arc<dyn Authorizer> = Arc::clone(&asked) as Arc<dyn Authorizer>;
    let ty = Type::object("kubernetes.authorization.Authorizer");
    let program = Env::new().with("authorizer", ty).compile(expression).unwrap();
    let bindings = Bindings::new().with("authorizer", Value::authorizer(host));
    let shown = match program.evaluate(&bindings).result {
        Ok(value) => super::shown(&value),
        Err(error) => format!("error: {error}"),
    };
    let checks = asked.0.lock().unwrap().clone();
    (shown, checks)
}

#[test]
fn the_authorizer_is_asked() {
    let (shown, checks) = authorized(
        "authorizer.serviceAccount('ns', 'sa').group('').resource('pods').subresource('log').namespace('n').name('x').check('create').allowed()",
    );
    assert_eq!(shown, "true");
    let check = &checks[0];
    assert_eq!(check.service_account, Some(("ns".to_owned(), "sa".to_owned())));
    assert_eq!((&*check.resource.subresource, &*check.resource.name), ("log", "x"));
    let (shown, checks) = authorized("authorizer.path('/healthz').check('get').reason()");
    assert_eq!((shown.as_str(), checks[0].path.as_deref()), (r#""because""#, Some("/healthz")));
    assert_eq!(
        authorized("authorizer.path(' ').check('get').errored()").0,
        "error: path must not be empty"
    );
    // Each question costs; three are too many for one expression.
    let three = ["a", "b", "c"].map(|n| format!("authorizer.path('/{n}').check('get').allowed()"));
    let (shown, checks) = authorized(&three.join(" || "));
    assert_eq!(shown, "error: operation cancelled: actual cost limit exceeded");
    assert_eq!(checks.len(), 3);
}
