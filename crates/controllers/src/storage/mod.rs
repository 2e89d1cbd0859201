//! What protects storage that is in use.

pub(crate) mod protection;
