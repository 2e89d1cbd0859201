//! The Common Expression Language as Kubernetes 1.36 uses it.
//!
//! Text goes through [`Env::compile`] and becomes a [`Program`] or a [`CompileError`] that reads as
//! cel-go's do; a program is evaluated with an [`Activation`] and gives a [`Value`] or an
//! [`EvalError`], and what it cost. The crate is pure: no I/O, no clock, no global state but tables.
//!
//! ```
//! use cel::{Bindings, DeclType, Env, Value};
//! use serde_json::json;
//!
//! // An object with a schema: fields are known, and typed.
//! let schema = json!({"type": "object", "properties": {"replicas": {"type": "integer"}}});
//! let decl = DeclType::from_schema(&schema, "self", false).unwrap();
//! let env = Env::new().with_decl("self", decl.clone());
//!
//! let program = env.compile("self.replicas <= 5").unwrap();
//! let object = json!({"replicas": 3});
//! let value = Value::typed(&object, Some(&decl)).unwrap();
//! let outcome = program.evaluate(&Bindings::new().with("self", value));
//! assert_eq!(outcome.result.unwrap().as_bool(), Some(true));
//! assert!(outcome.cost > 0);
//!
//! let error = env.compile("self.replicas > 'x'").unwrap_err();
//! assert_eq!(
//!     error.to_string(),
//!     "ERROR: <input>:1:15: found no matching overload for '_>_' applied to '(int, string)'\n \
//!      | self.replicas > 'x'\n | ..............^"
//! );
//!
//! // Without a schema a variable is `dyn`: all is decided when it is evaluated.
//! let env = Env::new().with("object", cel::Type::Dyn);
//! assert!(env.compile("object.spec.replicas > 'x'").is_ok());
//! ```
//!
//! * **Custom resources**: [`rules::Rules`] checks objects by `x-kubernetes-validations`,
//!   [`rules::problems`] the rules of a schema before it is stored.
//! * **Policies and match conditions**: [`admission`]; `authorizer` asks a host's [`Authorizer`],
//!   and [`Value::to_json`] gives what a mutation made.
//! * **Device selectors**: [`devices`].
//! * **Budgets**: one evaluation costs at most [`COST_LIMIT`]; the caller adds up
//!   [`Outcome::cost`] and gives what is left to [`Program::evaluate_within`].
//!
//! To add a function: a line in `check/declarations.rs`, its deed in `library/`, its cost in
//! `cost/`. A test fails when one is forgotten.

pub mod admission;
mod check;
mod cost;
pub mod devices;
mod env;
mod error;
mod eval;
mod library;
pub mod rules;
mod schema;
mod syntax;
#[cfg(test)]
mod tests;
mod types;
mod value;

pub use cost::Range as CostRange;
pub use env::Env;
pub use error::EvalError;
pub use eval::plan::Program;
pub use eval::{Activation, Bindings, COST_LIMIT, Outcome};
pub use library::authorize::{Authorizer, Check, Decision, ResourceAsked};
pub use library::moment::Moment;
pub use schema::{DeclField, DeclType, ListKind, Shape, escape, unescape};
pub use syntax::source::CompileError;
pub use types::Type;
pub use value::{Key, List, Map, MapData, NotJson, Text, Value};
