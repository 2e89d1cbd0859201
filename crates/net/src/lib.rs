//! The kernel's network, spoken over netlink: links, routes, namespaces, nftables, and the pod
//! network that is built from them.
//!
//! Invariants: no program is run for any of it (`ip` and `nft` need not be there); everything
//! Ferry puts into the kernel can be told apart from what others put there (links are named
//! `fry…`, routes carry [`rtnl::FERRY`], tables are named `ferry-…`), so that it can be taken
//! away without a record of it. This crate knows nothing of Kubernetes.
//!
//! Calls into netlink block for microseconds and are synchronous; [`pod_network`] wraps them for
//! async callers.

pub mod check;
pub mod conntrack;
pub mod delivery;
pub mod error;
mod netlink;
pub mod netns;
pub mod nft;
pub mod pod_network;
pub mod rtnl;
pub mod sysctl;

pub use error::Error;
