//! What a ValidatingAdmissionPolicy's expressions say of a request.

use api::Value;
use api::object::{at, list_at, str_at};
use cel::admission::{
    Budget, Composed, Composer, Conditions, MESSAGE_BYTES_MAX, OutOfBudget, POLICY_COST_LIMIT,
    Scope, Variables, Verdict as Held, Wanted,
};
use cel::{Env, Program};

use super::Asked;

/// The longest value of an audit annotation; the rest is cut off.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// The compiled expressions of a policy.
pub(super) struct Policy {
    /// `failurePolicy: Ignore`.
    pub(super) ignores_failures: bool,
    conditions: Conditions,
    variables: Vec<Composed>,
    validations: Vec<Validation>,
    annotations: Vec<(String, Expression)>,
}

/// An expression and its text, which errors repeat.
pub(super) struct Expression {
    text: String,
    program: Result<Program, String>,
}

struct Validation {
    expression: Expression,
    message: String,
    message_expression: Option<Expression>,
    reason: String,
}

/// A validation that did not hold, or could not be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Denial {
    /// Why, for the caller.
    pub(super) message: String,
    /// The `Status`' reason.
    pub(super) reason: String,
    /// Which validation.
    pub(super) validation: usize,
}

/// What a policy says of a request.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Verdict {
    /// What speaks against it.
    pub(super) denials: Vec<Denial>,
    /// Audit annotations to publish.
    pub(super) annotations: Vec<(String, String)>,
    /// Audit annotations that failed; they deny, whatever the binding's actions.
    pub(super) failures: Vec<String>,
}

/// Why an expression gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The expression itself failed.
    #[error("{0}")]
    Error(String),
    /// All expressions together cost too much.
    #[error(transparent)]
    OutOfBudget(#[from] OutOfBudget),
}

impl Expression {
    pub(super) fn new(env: &Env, text: &str, wanted: Wanted) -> Self {
        Self { text: text.to_owned(), program: wanted.compile(env, text) }
    }

    /// Evaluates it.
    pub(super) fn run<'a>(
        &self,
        budget: &mut Budget,
        scope: &Scope<'a>,
    ) -> Result<cel::Value<'a>, Failure> {
        let program = self
            .program
            .as_ref()
            .map_err(|why| Failure::Error(format!("compilation error: {why}")))?;
        let text = &self.text;
        budget.evaluate(program, scope)?.map_err(|error| {
            Failure::Error(format!("expression '{text}' resulted in error: {error}"))
        })
    }
}

/// A policy's variables, and the environment that has them.
pub(super) fn compose(policy: &Value, variables: Variables) -> Composer {
    let mut composer = Composer::new(variables.env());
    for variable in list_at(policy, &["spec", "variables"]) {
        // One that does not compile is an error for whoever asks for it.
        drop(composer.add(str_at(variable, &["name"]), str_at(variable, &["expression"])));
    }
    composer
}

/// Whether a policy has parameters.
pub(super) fn has_params(policy: &Value) -> bool {
    at(policy, &["spec", "paramKind"]).is_some_and(Value::is_object)
}

impl Policy {
    /// Compiles a policy object.
    pub(super) fn of(policy: &Value) -> Self {
        let variables = Variables { params: has_params(policy), authorizer: true, patches: false };
        let composer = compose(policy, variables);
        let env = composer.env().clone();
        let messages = composer.env_with(Variables { authorizer: false, ..variables }.env());
        let list = |field: &str| list_at(policy, &["spec", field]);
        let annotations = list("auditAnnotations").iter().map(|one| {
            let text = str_at(one, &["valueExpression"]);
            let expression = Expression::new(&env, text, Wanted::StringOrNull);
            (str_at(one, &["key"]).to_owned(), expression)
        });
        Self {
            ignores_failures: str_at(policy, &["spec", "failurePolicy"]) == "Ignore",
            conditions: Conditions::compile(&variables.env(), list("matchConditions")),
            validations: list("validations")
                .iter()
                .map(|one| Validation::of(&env, &messages, one))
                .collect(),
            annotations: annotations.collect(),
            variables: composer.into_variables(),
        }
    }

    /// Judges a request, with these parameters.
    pub(super) fn judge(&self, asked: &Asked, params: &Value) -> Verdict {
        let mut verdict = Verdict::default();
        let scope = asked.scope(params, &self.variables);
        match self.conditions.check(&scope) {
            Held::Matches => {}
            Held::Fails(_) => return verdict,
            Held::Error(why) => {
                verdict.denials.extend(self.failed(why, 0));
                return verdict;
            }
        }
        let mut budget = Budget::new(POLICY_COST_LIMIT);
        let mut results = Vec::new();
        for validation in &self.validations {
            match validation.expression.run(&mut budget, &scope) {
                Err(spent @ Failure::OutOfBudget(_)) => {
                    verdict.denials.extend(self.failed(spent.to_string(), 0));
                    return verdict;
                }
                result => results.push(result),
            }
        }
        for (index, (validation, result)) in self.validations.iter().zip(results).enumerate() {
            let denial = match result {
                Err(failure) => self.failed(failure.to_string(), index),
                Ok(value) if value.as_bool() == Some(true) => None,
                Ok(_) => self.denied(validation, index, &mut budget, &scope),
            };
            verdict.denials.extend(denial);
        }
        self.annotate(&mut budget, &scope, &mut verdict);
        verdict
    }

    /// What could not be judged denies, unless failures are ignored.
    fn failed(&self, message: String, validation: usize) -> Option<Denial> {
        let reason = "Invalid".to_owned();
        (!self.ignores_failures).then_some(Denial { message, reason, validation })
    }

    fn denied(
        &self,
        validation: &Validation,
        index: usize,
        budget: &mut Budget,
        scope: &Scope<'_>,
    ) -> Option<Denial> {
        let made = match &validation.message_expression {
            None => None,
            Some(expression) => match expression.run(budget, scope) {
                Ok(value) => value.as_text().map(str::trim).map(str::to_owned),
                Err(Failure::OutOfBudget(spent)) => {
                    return self.failed(format!("failed messageExpression: {spent}"), index);
                }
                // A message that fails gives way to the next best one.
                Err(Failure::Error(_)) => None,
            },
        };
        let fits = |text: &String| {
            !text.is_empty() && text.len() <= MESSAGE_BYTES_MAX && !text.contains('\n')
        };
        let message = made.filter(fits).unwrap_or_else(|| match validation.message.trim() {
            "" => format!("failed expression: {}", validation.expression.text.trim()),
            message => message.to_owned(),
        });
        let reason = match validation.reason.as_str() {
            "" => "Invalid".to_owned(),
            reason => reason.to_owned(),
        };
        Some(Denial { message, reason, validation: index })
    }

    fn annotate(&self, budget: &mut Budget, scope: &Scope<'_>, verdict: &mut Verdict) {
        for (key, expression) in &self.annotations {
            match expression.run(budget, scope) {
                Ok(cel::Value::Null) => {}
                Ok(value) => match value.as_text().map(str::trim) {
                    Some("") => {}
                    Some(text) => {
                        let value = cut(text, ANNOTATION_BYTES_MAX).to_owned();
                        verdict.annotations.push((key.clone(), value));
                    }
                    None => verdict.failures.push(format!(
                        "valueExpression '{}' resulted in unsupported return type: {}. Return type must be either string or null.",
                        expression.text,
                        value.type_of()
                    )),
                },
                Err(failure) if !self.ignores_failures => {
                    verdict.failures.push(failure.to_string());
                }
                Err(_) => {}
            }
        }
    }
}

/// The start of a text, at most so many bytes of it.
fn cut(text: &str, limit: usize) -> &str {
    let mut end = text.len().min(limit);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

impl Validation {
    fn of(env: &Env, messages: &Env, validation: &Value) -> Self {
        let text = |field: &str| str_at(validation, &[field]);
        let made = Some(text("messageExpression")).filter(|text| !text.is_empty());
        Self {
            expression: Expression::new(env, text("expression"), Wanted::Bool),
            message: text("message").to_owned(),
            message_expression: made.map(|text| Expression::new(messages, text, Wanted::String)),
            reason: text("reason").to_owned(),
        }
    }
}
