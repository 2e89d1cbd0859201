//! The reconcile engine: shared caches, work queues, reconcilers, events, leader election.
//!
//! Everything that acts stands on this crate and reaches the API by `kube::Client` only. Typed at
//! the edge, erased inside: one copy of each object a process, decoded once, in a [`SharedCache`];
//! [`Cache`] is its typed face.
//!
//! ```no_run
//! # async fn example(client: kube::Client, drain: base::drain::Drain) {
//! use k8s_openapi::api::core::v1::Pod;
//! use reconcile::{Caches, Event};
//!
//! // One hub a process; whoever asks for a type first starts its reflector.
//! let caches = Caches::new(client, base::rng::SharedRng::from_os(), drain);
//! let pods = caches.of::<Pod>();
//! pods.add_index("spec.nodeName", |pod, emit| {
//!     if let Some(node) = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()) {
//!         emit(node);
//!     }
//! });
//! pods.subscribe(|event| match event {
//!     Event::Added(pod) => println!("new: {:?}", pod.metadata.name),
//!     Event::Updated { old, new } => println!("{:?} -> {:?}", old.status, new.status),
//!     Event::Deleted(pod) => println!("gone: {:?}", pod.metadata.name),
//! });
//! pods.synced().await;
//! let here = pods.by_index("spec.nodeName", "node-1");
//! let web = pods.get("default", "web-0");
//! let owned = pods.owned_by("3f1c…");
//! # let _ = (here, web, owned);
//! # }
//! ```

pub mod cache;
pub mod controller;
mod correlate;
pub mod election;
pub mod expectations;
pub mod failure;
pub mod hub;
pub mod key;
pub mod metrics;
pub mod queue;
pub mod recorder;
mod reflector;
pub mod typed;
pub mod writer;

pub use cache::{Change, Object, Progress, SharedCache};
pub use controller::{Action, Ctx, Engine, Error, Reconciler, Watches};
pub use election::{Election, TermEnd};
pub use expectations::Expectations;
pub use failure::{Class, Failure, or_gone};
pub use hub::{Caches, Scope};
pub use key::Key;
pub use queue::Queue;
pub use recorder::Recorder;
pub use typed::{Cache, Event};
pub use writer::{Delete, Patch, Writer};
