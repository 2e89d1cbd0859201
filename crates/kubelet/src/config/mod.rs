//! From a Pod to what the runtime is asked for: pure translations, one notion a file.
//!
//! Invariant: no I/O. Paths, addresses and config objects are handed in.

pub(crate) mod container;
pub(crate) mod dns;
pub(crate) mod hosts;
pub(crate) mod labels;
pub(crate) mod resources;
pub(crate) mod sandbox;
pub(crate) mod security;
