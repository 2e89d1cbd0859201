//! From text to a tree: lexer, parser, macros.
//!
//! Invariant: no input makes these panic or recurse deeper than the limits of [`parser`].

pub(crate) mod ast;
mod lexer;
mod literal;
mod macros;
mod operand;
pub(crate) mod parser;
pub(crate) mod source;
#[cfg(test)]
mod tests;
pub(crate) mod words;
