//! Regular expressions: `matches`, `find`, `findAll`. The `regex` crate takes time linear in the
//! text, as RE2 does; patterns that compile to too much are refused.

use std::borrow::Cow;

use regex::{Regex, RegexBuilder};

use super::{Builtin, Context, Given, no_overload};
use crate::error::EvalError;
use crate::value::Value;

/// How large a compiled pattern may be.
const COMPILED_BYTES_MAX: usize = 4 << 20;

pub(super) fn implementation(name: &str) -> Option<Builtin> {
    Some(match name {
        "matches" => matches,
        "find" => find,
        "findAll" => find_all,
        _ => return None,
    })
}

/// Compiles a pattern.
///
/// # Errors
/// When it is none, or too large.
pub(crate) fn compile(pattern: &str) -> Result<Regex, EvalError> {
    RegexBuilder::new(pattern)
        .size_limit(COMPILED_BYTES_MAX)
        .dfa_size_limit(COMPILED_BYTES_MAX)
        .build()
        .map_err(|_| EvalError::new(format!("error parsing regexp: invalid pattern: `{pattern}`")))
}

fn pattern<'c>(context: &Context<'c>, text: &str) -> Result<Cow<'c, Regex>, EvalError> {
    match context.pattern {
        Some(pattern) => Ok(Cow::Borrowed(pattern)),
        None => compile(text).map(Cow::Owned),
    }
}

fn matches<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match args {
        [Value::String(text), Value::String(wanted)] => {
            Ok(Value::Bool(pattern(context, wanted)?.is_match(text)))
        }
        _ => no_overload(),
    }
}

fn find<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    match args {
        [Value::String(text), Value::String(wanted)] => {
            let pattern = pattern(context, wanted)?;
            Ok(Value::text(pattern.find(text).map_or("", |found| found.as_str())))
        }
        _ => no_overload(),
    }
}

fn find_all<'a>(context: &mut Context<'_>, args: &[Value<'a>]) -> Given<'a> {
    let (text, wanted, most) = match args {
        [Value::String(text), Value::String(wanted)] => (text, wanted, usize::MAX),
        [Value::String(text), Value::String(wanted), Value::Int(most)] => {
            (text, wanted, usize::try_from(*most).unwrap_or(usize::MAX))
        }
        _ => return no_overload(),
    };
    let pattern = pattern(context, wanted)?;
    let found = pattern.find_iter(text).take(most).map(|found| Value::text(found.as_str()));
    Ok(Value::list(found.collect()))
}
