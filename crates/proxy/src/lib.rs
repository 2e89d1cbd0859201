//! Services: from the API's objects to rules in the kernel.
//!
//! ```text
//! shared caches → plan (pure: one service in, its rules out) → ruleset (what all services
//! together ask for, and what changed) → data plane (one transaction)
//! ```
//!
//! Invariants: a connection's endpoint is chosen once, by its first packet, so established
//! connections outlive every change of the rules; a change is one transaction, of a size that
//! depends on what changed and not on how much there is; rules stay in the kernel while Ferry is
//! dead, and a new process replaces them in one transaction. Nothing runs on a timer: changes that
//! come in while a transaction is being made go into the next one together.
//!
//! To add a packet path: a file in `dataplane/` that implements [`Dataplane`].

pub mod dataplane;
mod health;
pub mod plan;
pub mod ruleset;
mod run;

pub use dataplane::{Dataplane, DataplaneError};
pub use plan::{Node, plan, plan_service};
pub use ruleset::{
    Delta, Endpoint, Frontend, Group, GroupKey, Protocol, Ruleset, Scope, ServiceKey, ServiceRules,
    Target, WhenEmpty,
};
pub use run::{Options, ProxyHandle, start};
