//! One request, as the expressions about it see it.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value as Json;

use crate::error::EvalError;
use crate::eval::Activation;
use crate::eval::plan::Program;
use crate::library::authorize::{Authorizer, ResourceAsked};
use crate::value::Value;

/// A policy's variable.
#[derive(Debug, Clone)]
pub struct Composed {
    pub(super) name: String,
    pub(super) program: Result<Program, String>,
}

/// A request. What is not there is `null`.
#[derive(Debug, Default)]
pub struct Scope<'a> {
    /// The object; nothing when it is deleted.
    pub object: Option<&'a Json>,
    /// The object before; nothing when it is created.
    pub old_object: Option<&'a Json>,
    /// The request, as an `AdmissionReview` has it, without the objects.
    pub request: Option<&'a Json>,
    /// The parameters.
    pub params: Option<&'a Json>,
    /// The namespace of the object, without its managed fields.
    pub namespace: Option<&'a Json>,
    /// Who is asked what the caller may do, and the resource of the request.
    pub authorizer: Option<(Arc<dyn Authorizer>, ResourceAsked)>,
    /// The policy's variables.
    pub variables: &'a [Composed],
    /// What variables gave, once they were asked for.
    pub known: RefCell<HashMap<&'a str, Result<Value<'a>, EvalError>>>,
    /// What variables cost since this was last taken.
    pub cost: Cell<u64>,
}

impl Scope<'_> {
    /// What variables cost since the last time.
    pub(super) fn take_cost(&self) -> u64 {
        self.cost.take()
    }
}

impl<'a> Activation<'a> for Scope<'a> {
    fn get(&self, name: &str) -> Option<Value<'a>> {
        let json = |value: Option<&'a Json>| Some(value.map_or(Value::Null, Value::json));
        match name {
            "object" => json(self.object),
            "oldObject" => json(self.old_object),
            "request" => json(self.request),
            "params" => json(self.params),
            "namespaceObject" => json(self.namespace),
            "variables" => Some(Value::Variables),
            "authorizer" => {
                self.authorizer.as_ref().map(|(host, _)| Value::authorizer(Arc::clone(host)))
            }
            "authorizer.requestResource" => self
                .authorizer
                .as_ref()
                .map(|(host, asked)| Value::request_resource(Arc::clone(host), asked.clone())),
            _ => None,
        }
    }

    fn composed(&self, name: &str) -> Option<Result<Value<'a>, EvalError>> {
        if let Some(known) = self.known.borrow().get(name) {
            return Some(known.clone());
        }
        let variable = self.variables.iter().find(|variable| variable.name == name)?;
        let result = match &variable.program {
            Err(why) => {
                Err(EvalError::new(format!("composited variable {name:?} fails to compile: {why}")))
            }
            Ok(program) => {
                // A variable speaks only of those before it, so this ends.
                let outcome = program.evaluate(self);
                self.cost.set(self.cost.get().saturating_add(outcome.cost));
                outcome.result.map_err(|error| {
                    EvalError::new(format!(
                        "composited variable {name:?} fails to evaluate: {error}"
                    ))
                })
            }
        };
        self.known.borrow_mut().insert(&variable.name, result.clone());
        Some(result)
    }
}
