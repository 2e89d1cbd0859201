//! What the expressions of one policy may still cost.

use super::scope::Scope;
use crate::error::EvalError;
use crate::eval::plan::Program;
use crate::value::Value;

/// The budget is spent; nothing more is evaluated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "validation failed due to running out of cost budget, no further validation rules will be run"
)]
pub struct OutOfBudget;

/// What may still be spent.
#[derive(Debug, Clone, Copy)]
pub struct Budget(u64);

impl Budget {
    /// A budget.
    #[must_use]
    pub fn new(limit: u64) -> Self {
        Self(limit)
    }

    /// What is left.
    #[must_use]
    pub fn left(&self) -> u64 {
        self.0
    }

    /// Evaluates an expression: its value, or the error that it ends with.
    ///
    /// # Errors
    /// When it, with the variables that it asked for, costs more than what is left.
    pub fn evaluate<'a>(
        &mut self,
        program: &Program,
        scope: &Scope<'a>,
    ) -> Result<Result<Value<'a>, EvalError>, OutOfBudget> {
        let outcome = program.evaluate(scope);
        let cost = outcome.cost.saturating_add(scope.take_cost());
        match self.0.checked_sub(cost) {
            Some(left) => {
                self.0 = left;
                Ok(outcome.result)
            }
            None => {
                self.0 = 0;
                Err(OutOfBudget)
            }
        }
    }
}
