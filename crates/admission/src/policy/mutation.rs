//! What a MutatingAdmissionPolicy's expressions want to be changed.

use api::Value;
use api::object::{list_at, name, str_at};
use cel::admission::{
    Budget, Composed, Conditions, POLICY_COST_LIMIT, Variables, Verdict as Held, Wanted,
};
use serde_json::json;

use super::Asked;
use super::verdict::{Expression, compose, has_params};

/// The compiled expressions of a policy.
pub(super) struct Policy {
    pub(super) name: String,
    /// `failurePolicy: Ignore`.
    pub(super) ignores_failures: bool,
    /// `reinvocationPolicy: IfNeeded`.
    pub(super) is_reinvoked: bool,
    /// Its mutations, in order.
    pub(super) mutations: Vec<Mutation>,
    conditions: Conditions,
    variables: Vec<Composed>,
}

/// One mutation.
pub(super) struct Mutation {
    wanted: Wanted,
    expression: Expression,
}

/// What a mutation wants.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Change {
    /// This merged in, as server-side apply does.
    Apply(Value),
    /// These operations of a JSON patch.
    Patch(Vec<Value>),
}

impl Policy {
    /// Compiles a policy object.
    pub(super) fn of(policy: &Value) -> Self {
        let variables = Variables { params: has_params(policy), authorizer: true, patches: true };
        let composer = compose(policy, variables);
        let list = |field: &str| list_at(policy, &["spec", field]);
        let mutations = list("mutations").iter().map(|mutation| {
            let (field, wanted) = match str_at(mutation, &["patchType"]) {
                "JSONPatch" => ("jsonPatch", Wanted::Patches),
                _ => ("applyConfiguration", Wanted::Object),
            };
            let text = str_at(mutation, &[field, "expression"]);
            Mutation { wanted, expression: Expression::new(composer.env(), text, wanted) }
        });
        Self {
            name: name(policy).to_owned(),
            ignores_failures: str_at(policy, &["spec", "failurePolicy"]) == "Ignore",
            is_reinvoked: str_at(policy, &["spec", "reinvocationPolicy"]) == "IfNeeded",
            mutations: mutations.collect(),
            conditions: Conditions::compile(
                &Variables { patches: false, ..variables }.env(),
                list("matchConditions"),
            ),
            variables: composer.into_variables(),
        }
    }

    /// Whether the policy means a request.
    ///
    /// # Errors
    /// A condition has no answer, and failures are not ignored.
    pub(super) fn holds(&self, asked: &Asked, params: &Value) -> Result<bool, String> {
        match self.conditions.check(&asked.scope(params, &[])) {
            Held::Matches => Ok(true),
            Held::Fails(_) => Ok(false),
            Held::Error(_) if self.ignores_failures => Ok(false),
            Held::Error(why) => Err(why),
        }
    }

    /// What one mutation makes of the object.
    ///
    /// # Errors
    /// The expression failed, or gave something else.
    pub(super) fn change(
        &self,
        mutation: &Mutation,
        asked: &Asked,
        params: &Value,
    ) -> Result<Change, String> {
        let scope = asked.scope(params, &self.variables);
        let mut budget = Budget::new(POLICY_COST_LIMIT);
        let made = mutation.expression.run(&mut budget, &scope).map_err(|why| why.to_string())?;
        let made = made.to_json().map_err(|error| error.to_string())?;
        match (mutation.wanted, made) {
            (Wanted::Patches, Value::Array(operations)) => {
                operations.iter().map(operation).collect::<Result<_, _>>().map(Change::Patch)
            }
            (Wanted::Object, object @ Value::Object(_)) => Ok(Change::Apply(object)),
            (_, other) => Err(format!("unexpected evaluation result: {other}")),
        }
    }
}

/// An operation of RFC 6902 out of a `JSONPatch{…}`.
fn operation(patch: &Value) -> Result<Value, String> {
    let text = |field: &str| str_at(patch, &[field]);
    let op = text("op");
    if !matches!(op, "add" | "copy" | "move" | "remove" | "replace" | "test") {
        return Err(format!("unsupported JSONPatch op {op:?}"));
    }
    let mut operation = json!({ "op": op, "path": text("path") });
    if matches!(op, "copy" | "move") {
        operation["from"] = text("from").into();
    }
    if matches!(op, "add" | "replace" | "test") {
        operation["value"] = patch["value"].clone();
    }
    Ok(operation)
}
