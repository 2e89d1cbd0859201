//! The kubelet: runs the pods that are bound to its node, and says how they are.
//!
//! Everything is driven by events: changes of pods and of the objects that they show come from
//! `reconcile`'s shared caches, ends of containers from the runtime's event stream, verdicts from
//! probes. One worker task a pod ([`worker`]) decides purely and acts thinly through the CRI traits
//! of `container-runtime`; this crate cannot name a runtime. To start: [`Kubelet::new`], then
//! [`Kubelet::run`].

mod admit;
mod allocation;
mod config;
mod context;
mod dispatch;
mod env;
mod events;
mod gc;
mod images;
mod kubelet;
mod logs;
mod mirror;
mod node;
mod objects;
mod options;
mod part_pods;
mod pod;
mod probes;
mod quantity;
mod seams;
mod server;
mod static_pods;
mod status;
mod volumes;
mod worker;

pub use kubelet::{Kubelet, Parts};
pub use logs::watch::FileWatch;
pub use options::{KubeletOptions, ServerOptions};
pub use seams::{EndpointGate, InProcessPart, NoGate, PartLog, ServerAccess};
