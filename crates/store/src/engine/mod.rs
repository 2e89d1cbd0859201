//! The engines below the [`Store`](crate::Store) trait, one module each.
//!
//! Invariant: nothing outside this crate names what is inside an engine; composition picks one by
//! its constructor.

pub mod embedded;
pub mod etcd;
