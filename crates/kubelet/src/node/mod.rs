//! The node itself: its object, its lease, what it has and how it is.

pub(crate) mod lease;
pub(crate) mod machine;
pub(crate) mod register;
pub(crate) mod status;
