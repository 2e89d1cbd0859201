//! Who a caller is and what it may do: pure, without I/O.
//!
//! The API server gathers credentials and objects; this crate decides. To add a way of deciding:
//! one module, one function from facts to a [`Decision`].

mod attributes;
pub mod bootstrap;
pub mod rbac;
pub mod token;
mod user;

pub use attributes::{Attributes, Decision, NonResource, ResourceAttributes, Target};
pub use user::{UserInfo, groups, users};
