//! Containers' logs: reading them as people ask, and turning them over when they grow.
//!
//! The runtime writes them, in CRI's format: time, stream, `F` or `P`, text.

pub(crate) mod line;
pub(crate) mod read;
pub(crate) mod rotate;
pub(crate) mod watch;
