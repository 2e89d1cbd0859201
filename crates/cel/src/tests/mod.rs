//! Whole expressions: values, types, costs, and inputs that are meant to break things.

mod checking;
mod costs;
mod evaluation;
mod libraries;
mod robustness;

use serde_json::{Value as Json, json};

use crate::{Bindings, Env, Type, Value};

/// The variables that expressions here have.
fn variables() -> Json {
    json!({
        "x": {"a": 1, "b": [1, 2, 3], "c": {"d": "e"}, "n": null, "f": 1.5},
        "names": ["b", "a", "c"],
        "empty": [],
    })
}

fn env() -> Env {
    Env::new().with("x", Type::Dyn).with("names", Type::list(Type::String)).with("empty", Type::Dyn)
}

/// What an expression gives: its value as a text, `error: …`, or the problem of its types.
fn outcome(expression: &str) -> String {
    let variables = variables();
    let mut bindings = Bindings::new();
    for name in ["x", "names", "empty"] {
        bindings = bindings.with(name, Value::json(&variables[name]));
    }
    match env().compile(expression) {
        Err(error) => format!("compile: {}", error.messages().join("; ")),
        Ok(program) => match program.evaluate(&bindings).result {
            Ok(value) => shown(&value),
            Err(error) => format!("error: {error}"),
        },
    }
}

fn shown(value: &Value<'_>) -> String {
    match value {
        Value::Uint(number) => format!("{number}u"),
        Value::Double(number) => format!("{number:?}"),
        Value::Bytes(bytes) => format!("{:?}", &**bytes),
        Value::Timestamp(_) | Value::Duration(_) => crate::library::convert::display(value),
        Value::Type(ty) => ty.name().to_owned(),
        Value::Optional(None) => "none".to_owned(),
        Value::Optional(Some(value)) => format!("some({})", shown(value)),
        Value::List(list) => {
            let items: Vec<_> = list.iter().map(|item| shown(&item.unwrap())).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Opaque(opaque) => format!("{:?}", **opaque),
        other => other.to_json().unwrap().to_string(),
    }
}

fn check(expression: &str, expected: &str) {
    assert_eq!(outcome(expression), expected, "{expression}");
}
