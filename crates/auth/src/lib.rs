//! Who a caller is and what it may do: pure, without I/O.
//!
//! The API server gathers credentials and objects; this crate decides. To add a way of deciding:
//! one module, one function from facts to a [`Decision`].

mod attributes;
pub mod bootstrap;
pub mod bootstrap_token;
pub mod escalation;
pub mod jwks;
pub mod legacy_token;
pub mod node;
pub mod oidc;
pub mod rbac;
pub mod token;
mod user;

pub use attributes::{
    Attributes, Decision, NonResource, ResourceAttributes, SelectorRequirement, Target,
};
pub use user::{UserInfo, groups, users};

/// A list as Go's `%q` writes it: `["a" "b"]`.
pub struct Quoted<'a>(pub &'a [String]);

impl std::fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let quoted: Vec<String> = self.0.iter().map(|one| format!("{one:?}")).collect();
        write!(f, "[{}]", quoted.join(" "))
    }
}
