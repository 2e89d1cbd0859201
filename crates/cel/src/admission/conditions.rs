//! `matchConditions`: all must hold for a webhook or a policy to be asked.

use serde_json::Value as Json;

use super::MATCH_CONDITIONS_COST_LIMIT;
use super::budget::Budget;
use super::scope::Scope;
use super::variables::Wanted;
use crate::env::Env;
use crate::eval::plan::Program;

/// Compiled match conditions.
#[derive(Debug, Clone, Default)]
pub struct Conditions(Vec<Condition>);

#[derive(Debug, Clone)]
struct Condition {
    name: String,
    expression: String,
    program: Result<Program, String>,
}

/// Whether conditions hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// All hold.
    Matches,
    /// The one of this name does not.
    Fails(String),
    /// None fails, but some have no answer; the failure policy decides.
    Error(String),
}

impl Conditions {
    /// Compiles a list of `{name, expression}`. What does not compile has no answer.
    #[must_use]
    pub fn compile(env: &Env, list: &[Json]) -> Self {
        let text = |one: &Json, name: &str| {
            one.get(name).and_then(Json::as_str).unwrap_or_default().to_owned()
        };
        let compiled = list.iter().map(|one| {
            let expression = text(one, "expression");
            let program = Wanted::Bool.compile(env, &expression);
            Condition { name: text(one, "name"), expression, program }
        });
        Self(compiled.collect())
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether they hold for a request.
    #[must_use]
    pub fn check(&self, scope: &Scope<'_>) -> Verdict {
        let mut budget = Budget::new(MATCH_CONDITIONS_COST_LIMIT);
        let mut errors: Vec<String> = Vec::new();
        let mut fails = None;
        for condition in &self.0 {
            let program = match &condition.program {
                Ok(program) => program,
                Err(why) => {
                    errors.push(format!("compilation error: {why}"));
                    continue;
                }
            };
            match budget.evaluate(program, scope) {
                Err(spent) => return Verdict::Error(spent.to_string()),
                Ok(Ok(value)) if value.as_bool() == Some(false) => {
                    fails = fails.or(Some(&condition.name));
                }
                Ok(Ok(_)) => {}
                Ok(Err(error)) => {
                    let text = &condition.expression;
                    errors.push(format!("expression '{text}' resulted in error: {error}"));
                }
            }
        }
        match (fails, errors.as_slice()) {
            (Some(name), _) => Verdict::Fails(name.clone()),
            (None, []) => Verdict::Matches,
            (None, [one]) => Verdict::Error(one.clone()),
            (None, many) => Verdict::Error(format!("[{}]", many.join(", "))),
        }
    }
}
