//! `x-kubernetes-validations`: the rules of custom resources.
//!
//! [`Rules::compile`] takes a version's `openAPIV3Schema`, [`Rules::check`] an object and what it
//! was before, [`problems`] a schema that somebody wants to store. A rule sees its own part of the
//! object as `self`. Transition rules (those that speak of `oldSelf`) are checked where old and new
//! parts belong together: fields, values of maps, items of lists with keys. What was wrong before
//! and is as it was becomes a warning (KEP-4008).

mod budget;
mod compile;
mod definition;
mod field_path;
mod ratchet;
#[cfg(test)]
mod tests;
mod walk;

use api::field::ErrorList;
use serde_json::Value as Json;

pub use definition::problems;
pub use field_path::field_of_path;

use ratchet::Spine;

/// What all rules of one object together may cost.
pub const RULES_COST_LIMIT: u64 = 10_000_000;

/// The compiled rules of a schema.
#[derive(Debug)]
pub struct Rules {
    root: compile::Node,
    spine: Spine,
}

/// What came of checking an object.
#[derive(Debug, Default)]
pub struct Findings {
    /// The rules that it breaks.
    pub errors: ErrorList,
    /// The rules that it broke before too, where it was not changed.
    pub warnings: Vec<String>,
}

impl Rules {
    /// Compiles the rules of a version's schema; `None` when it has none. What does not compile is
    /// an error of each object: it was refused before it was stored.
    #[must_use]
    pub fn compile(schema: &Json) -> Option<Self> {
        let root = compile::root(schema)?;
        Some(Self { root, spine: Spine::of(schema) })
    }

    /// Compiles the rules of a part of a schema, for a value of that part alone.
    #[must_use]
    pub fn compile_part(schema: &Json) -> Option<Self> {
        let root = compile::part(schema)?;
        Some(Self { root, spine: Spine::of(schema) })
    }

    /// Checks an object; `old` is what it was before a change.
    #[must_use]
    pub fn check(&self, object: &Json, old: Option<&Json>) -> Findings {
        walk::check(&self.root, &self.spine, object, old)
    }
}
