//! What a kubelet may do: its own node, its own pods, and what those refer to.
//!
//! [`Graph`] says what is related to a node; [`decide`] asks it. Both are pure: whoever has the
//! objects keeps the graph up to date.

mod decide;
mod graph;
mod references;

pub use decide::decide;
pub use graph::{Graph, Thing};
