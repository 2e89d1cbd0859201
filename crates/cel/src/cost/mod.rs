//! What expressions cost: while they are evaluated, and at most before they are.

mod calls;
mod estimate;
mod range;
pub(crate) mod runtime;

pub use range::Range;
