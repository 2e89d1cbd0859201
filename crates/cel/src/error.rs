//! What goes wrong while an expression is evaluated.

use std::fmt;
use std::sync::Arc;

/// An error of an evaluation. `&&`, `||` and the loops made of them may do without the side that
/// has one, unless the budget is spent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EvalError {
    message: Arc<str>,
    over_budget: bool,
}

impl std::error::Error for EvalError {}

impl fmt::Display for EvalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl EvalError {
    /// An error with this text.
    #[must_use]
    pub fn new(message: impl Into<Arc<str>>) -> Self {
        Self { message: message.into(), over_budget: false }
    }

    /// The evaluation cost more than it may.
    #[must_use]
    pub fn over_budget() -> Self {
        let message = "operation cancelled: actual cost limit exceeded".into();
        Self { message, over_budget: true }
    }

    /// Whether the evaluation cost more than it may.
    #[must_use]
    pub fn is_over_budget(&self) -> bool {
        self.over_budget
    }

    pub(crate) fn no_such_overload() -> Self {
        Self::new("no such overload")
    }

    pub(crate) fn no_such_key(key: &str) -> Self {
        Self::new(format!("no such key: {key}"))
    }
}
