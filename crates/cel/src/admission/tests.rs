//! Expressions about requests.

use std::sync::Arc;

use serde_json::json;

use super::*;
use crate::{Authorizer, Check, Decision, DeclType, ResourceAsked};

fn variables() -> Variables {
    Variables { params: true, authorizer: true, patches: false }
}

#[test]
fn expressions_must_give_what_is_wanted() {
    let env = variables().env();
    for (wanted, text, problem) in [
        (Wanted::Bool, "object.metadata.name != 'skip-me'", ""),
        (Wanted::Bool, "object.metadata.name", "must evaluate to bool but got dyn"),
        (Wanted::Bool, "'a'", "must evaluate to bool but got string"),
        (Wanted::StringOrNull, "1", "must evaluate to one of [string null_type] but got int"),
        (
            Wanted::String,
            "[timestamp(1)]",
            "must evaluate to string but got list(google.protobuf.Timestamp)",
        ),
        (Wanted::Bool, "request.userInfo.groups.exists(g, g == 'a') && params.x == 1", ""),
        (Wanted::Bool, "namespaceObject.metadata.labels['a'] == 'b'", ""),
        (Wanted::Bool, "authorizer.requestResource.check('get').allowed()", ""),
        (
            Wanted::Bool,
            "request.foo == 1",
            "compilation failed: ERROR: <input>:1:8: undefined field 'foo'\n | request.foo == 1\n | .......^",
        ),
        (
            Wanted::Bool,
            "variables.x == 1",
            "compilation failed: ERROR: <input>:1:1: undeclared reference to 'variables' (in container '')\n | variables.x == 1\n | ^",
        ),
    ] {
        let found = wanted.compile(&env, text).err().unwrap_or_default();
        assert_eq!(found, problem, "{text}");
    }
    let patches = Variables { patches: true, ..variables() }.env();
    for (wanted, text) in [
        (Wanted::Object, "Object{spec: Object.spec{replicas: 1}}"),
        (
            Wanted::Patches,
            "[JSONPatch{op: 'add', path: '/a/' + jsonpatch.escapeKey('b/c'), value: {'x': [1]}}]",
        ),
    ] {
        let program = wanted.compile(&patches, text).unwrap();
        let scope = Scope::default();
        let value = program.evaluate(&scope).result.unwrap().to_json().unwrap();
        let expected = if wanted == Wanted::Object {
            json!({"spec": {"replicas": 1}})
        } else {
            json!([{"op": "add", "path": "/a/b~1c", "value": {"x": [1]}}])
        };
        assert_eq!(value, expected);
    }
}

#[test]
fn composed_variables_are_evaluated_once_and_charged() {
    let mut composer = Composer::new(variables().env());
    composer.add("a", "object.n + 1").unwrap();
    composer.add("b", "variables.a * 2").unwrap();
    composer.add("bad", "1 / (object.n - object.n)").unwrap();
    let problem = composer.add("broken", "nope").unwrap_err();
    assert!(problem.starts_with("compilation failed: ERROR: <input>:1:1: undeclared reference"));
    let compile = |text: &str| Wanted::Bool.compile(composer.env(), text).unwrap();
    let twice = compile("variables.b == 8 && variables.b == 8");
    let once = compile("variables.b == 8 && true");
    let bad = compile("variables.bad == 1");
    let broken = compile("variables.broken == 1");
    let object = json!({"n": 3});
    let composed = composer.into_variables();
    let scope = || Scope { object: Some(&object), variables: &composed, ..Scope::default() };
    let cost = |program: &crate::Program| {
        let mut budget = Budget::new(1_000);
        assert_eq!(budget.evaluate(program, &scope()).unwrap().unwrap().as_bool(), Some(true));
        1_000 - budget.left()
    };
    // The second time costs a name, a field and a comparison.
    assert_eq!(cost(&twice), cost(&once) + 3);
    let error = |program: &crate::Program| {
        Budget::new(1_000).evaluate(program, &scope()).unwrap().unwrap_err().to_string()
    };
    assert_eq!(error(&bad), "composited variable \"bad\" fails to evaluate: division by zero");
    assert!(error(&broken).starts_with("composited variable \"broken\" fails to compile: "));
    assert_eq!(Budget::new(5).evaluate(&twice, &scope()).unwrap_err(), OutOfBudget);
}

#[derive(Debug)]
struct Nobody;

impl Authorizer for Nobody {
    fn authorize(&self, check: &Check) -> Decision {
        Decision { allowed: check.resource.name == "x", ..Decision::default() }
    }
}

#[test]
fn match_conditions_decide_together() {
    let env = Variables { authorizer: true, ..Variables::default() }.env();
    let check = |conditions: serde_json::Value| {
        let object = json!({"metadata": {"name": "skip-me"}});
        let asked = ResourceAsked { name: "x".to_owned(), ..ResourceAsked::default() };
        let scope = Scope {
            object: Some(&object),
            authorizer: Some((Arc::new(Nobody), asked)),
            ..Scope::default()
        };
        Conditions::compile(&env, conditions.as_array().unwrap()).check(&scope)
    };
    let fails = json!({"name": "named", "expression": "object.metadata.name != 'skip-me'"});
    let holds =
        json!({"name": "may", "expression": "authorizer.requestResource.check('get').allowed()"});
    let error = json!({"name": "e", "expression": "object.nope == 1"});
    assert_eq!(check(json!([])), Verdict::Matches);
    assert_eq!(check(json!([holds])), Verdict::Matches);
    assert_eq!(check(json!([error, holds, fails])), Verdict::Fails("named".to_owned()));
    let message = "expression 'object.nope == 1' resulted in error: no such key: nope";
    assert_eq!(check(json!([error, holds])), Verdict::Error(message.to_owned()));
    assert_eq!(check(json!([error, error])), Verdict::Error(format!("[{message}, {message}]")));
}

#[test]
fn kinds_are_checked_one_by_one() {
    let deployment = api::schema::by_kind("apps", "v1", "Deployment").unwrap();
    let kind = KindToCheck {
        group: "apps".to_owned(),
        version: "v1".to_owned(),
        kind: "Deployment".to_owned(),
        decl: DeclType::from_kind(&deployment, "Deployment").unwrap(),
    };
    let policy = json!({"spec": {
    "variables": [{"name": "n", "expression": "object.spec.replicas"}],
    "validations": [
        {"expression": "object.spec.replicas > '1'",
            "messageExpression": "'wants ' + object.spec.replicas"},
        {"expression": "object.spec.maxRetries > 1"},
        {"expression": "variables.n > 1 && object.spec.template.spec.containers.all(c, c.resources.limits['cpu'] != '')",
            "messageExpression": "'ok ' + string(variables.n)"},
    ]}});
    let found = type_check(&policy, &[kind], None);
    let shown: Vec<_> =
        found.iter().map(|one| (one.field_ref.as_str(), one.warning.as_str())).collect();
    assert_eq!(
        shown,
        [
            (
                "spec.validations[0].expression",
                "apps/v1, Kind=Deployment: ERROR: <input>:1:22: found no matching overload for '_>_' applied to '(int, string)'\n | object.spec.replicas > '1'\n | .....................^\n"
            ),
            (
                "spec.validations[0].messageExpression",
                "apps/v1, Kind=Deployment: ERROR: <input>:1:10: found no matching overload for '_+_' applied to '(string, int)'\n | 'wants ' + object.spec.replicas\n | .........^\n"
            ),
            (
                "spec.validations[1].expression",
                "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'maxRetries'\n | object.spec.maxRetries > 1\n | ...........^\n"
            ),
        ]
    );
}
