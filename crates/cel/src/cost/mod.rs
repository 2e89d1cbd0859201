//! What expressions cost: while they are evaluated, and at most before they are.

pub(crate) mod runtime;
