//! The deeds of all functions, one file an area.
//!
//! An implementation gets the arguments, the target first, and looks at their types itself: what
//! the checker did not know is decided here.

mod address;
pub(crate) mod authorize;
pub(crate) mod convert;
pub(crate) mod format_text;
pub(crate) mod formats;
mod lists;
pub(crate) mod moment;
pub(crate) mod net;
pub(crate) mod opaque;
mod operators;
mod optional;
mod quantities;
pub(crate) mod regexes;
mod semver;
mod strings;
pub(crate) mod time;
mod url;

use regex::Regex;

use crate::error::EvalError;
use crate::value::Value;

/// What a function may use beside its arguments.
pub(crate) struct Context<'c> {
    /// What the evaluation may still cost.
    pub(crate) remaining: u64,
    /// The compiled pattern, when it is a constant of the expression.
    pub(crate) pattern: Option<&'c Regex>,
}

impl Context<'_> {
    pub(crate) fn unlimited() -> Self {
        Self { remaining: u64::MAX, pattern: None }
    }

    /// Whether something of a size may be made: what costs too much to be looked at is not made.
    /// A code point costs a tenth.
    pub(crate) fn room_for_text(&self, bytes: u64) -> Result<(), EvalError> {
        if bytes / 40 > self.remaining { Err(EvalError::over_budget()) } else { Ok(()) }
    }

    /// Whether a list of so many items may be made.
    pub(crate) fn room_for_items(&self, items: u64) -> Result<(), EvalError> {
        if items > self.remaining { Err(EvalError::over_budget()) } else { Ok(()) }
    }
}

/// What a function gives.
pub(crate) type Given<'a> = Result<Value<'a>, EvalError>;

/// A function's deed.
pub(crate) type Builtin = for<'a> fn(&mut Context<'_>, &[Value<'a>]) -> Given<'a>;

/// The deed of a function.
pub(crate) fn implementation(name: &str) -> Option<Builtin> {
    operators::implementation(name)
        .or_else(|| convert::implementation(name))
        .or_else(|| time::implementation(name))
        .or_else(|| strings::implementation(name))
        .or_else(|| lists::implementation(name))
        .or_else(|| optional::implementation(name))
        .or_else(|| regexes::implementation(name))
        .or_else(|| url::implementation(name))
        .or_else(|| net::implementation(name))
        .or_else(|| quantities::implementation(name))
        .or_else(|| formats::implementation(name))
        .or_else(|| authorize::implementation(name))
}

pub(crate) fn no_overload<'a>() -> Given<'a> {
    Err(EvalError::no_such_overload())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::declarations;
    use crate::syntax::ast::ops;

    #[test]
    fn each_declared_function_has_a_deed() {
        // These are steps of the plan, not functions.
        let planned =
            [ops::AND, ops::OR, ops::CONDITIONAL, ops::NOT_STRICTLY_FALSE, ops::OPT_SELECT];
        for function in declarations::functions() {
            let name = &*function.name;
            let planned = planned.contains(&name) || matches!(name, "or" | "orValue");
            assert_eq!(implementation(name).is_none(), planned, "{name}");
        }
    }
}
