//! Expressions about requests: policies and the match conditions of webhooks.
//!
//! * [`Variables`] says what an expression may speak of, and compiles it to what is wanted;
//! * [`Composer`] adds a policy's `variables`, one after the other;
//! * [`Scope`] is one request, seen by all expressions of one policy; `variables.NAME` is evaluated
//!   when it is first asked for, and what it cost is taken from the same budget;
//! * [`Conditions`] are `matchConditions`: all must hold, and the first that does not decides;
//! * [`type_check`] gives the warnings of a policy's `status.typeChecking`.
//!
//! ```
//! use cel::admission::{Budget, POLICY_COST_LIMIT, Scope, Variables, Wanted};
//! use serde_json::json;
//!
//! let env = Variables { params: false, authorizer: true, patches: false }.env();
//! let program = Wanted::Bool.compile(&env, "object.spec.replicas <= 5").unwrap();
//! let object = json!({"spec": {"replicas": 9}});
//! let scope = Scope { object: Some(&object), ..Scope::default() };
//! let mut budget = Budget::new(POLICY_COST_LIMIT);
//! let value = budget.evaluate(&program, &scope).unwrap().unwrap();
//! assert_eq!(value.as_bool(), Some(false));
//! ```

mod budget;
mod conditions;
mod scope;
#[cfg(test)]
mod tests;
mod type_check;
mod variables;

pub use budget::{Budget, OutOfBudget};
pub use conditions::{Conditions, Verdict};
pub use scope::{Composed, Scope};
pub use type_check::{KindToCheck, Warning, type_check};
pub use variables::{Composer, Variables, Wanted};

/// What all expressions of one policy and binding together may cost.
pub const POLICY_COST_LIMIT: u64 = 10_000_000;

/// What all match conditions of one webhook, or of one policy and binding, may cost together.
pub const MATCH_CONDITIONS_COST_LIMIT: u64 = 2_500_000;

/// How long a message that a `messageExpression` makes may be.
pub const MESSAGE_BYTES_MAX: usize = 5 * 1024;
