//! The expressions of webhooks and policies, compiled when they are written: one that cannot be
//! evaluated is refused. Whether there is one is judged elsewhere; an empty one is passed over.

use api::field::ErrorList;
use cel::Env;
use cel::admission::{Composer, Variables, Wanted};

use crate::cursor::Field;

fn expression(field: Field<'_>, wanted: Wanted, env: &Env, errors: &mut ErrorList) {
    let text = field.str();
    if !text.trim().is_empty()
        && let Err(problem) = wanted.compile(env, text)
    {
        errors.push(field.invalid(problem));
    }
}

/// `matchConditions`; `params` is whether the policy has parameters.
pub(super) fn match_conditions(list: Field<'_>, params: bool, errors: &mut ErrorList) {
    if list.is_empty() {
        return;
    }
    let env = Variables { params, authorizer: true, patches: false }.env();
    for condition in list.items() {
        expression(condition.get("expression"), Wanted::Bool, &env, errors);
    }
}

/// All expressions of a policy but its match conditions, in a policy's own order: each variable is
/// known to what follows it.
pub(super) fn policy(spec: Field<'_>, errors: &mut ErrorList) {
    let params = spec.get("paramKind").is_set();
    let patches = spec.get("mutations").is_set();
    let variables = Variables { params, authorizer: true, patches };
    let mut composer = Composer::new(variables.env());
    for variable in spec.get("variables").items() {
        let field = variable.get("expression");
        if !field.str().trim().is_empty()
            && let Err(problem) = composer.add(variable.get("name").str(), field.str())
        {
            errors.push(field.invalid(problem));
        }
    }
    let env = composer.env();
    // Messages are made when the decision is: they ask nobody.
    let messages = composer.env_with(Variables { authorizer: false, ..variables }.env());
    for validation in spec.get("validations").items() {
        expression(validation.get("expression"), Wanted::Bool, env, errors);
        expression(validation.get("messageExpression"), Wanted::String, &messages, errors);
    }
    for annotation in spec.get("auditAnnotations").items() {
        expression(annotation.get("valueExpression"), Wanted::StringOrNull, env, errors);
    }
    for mutation in spec.get("mutations").items() {
        let apply = mutation.at(&["applyConfiguration", "expression"]);
        expression(apply, Wanted::Object, env, errors);
        let patch = mutation.at(&["jsonPatch", "expression"]);
        expression(patch, Wanted::Patches, env, errors);
    }
}
