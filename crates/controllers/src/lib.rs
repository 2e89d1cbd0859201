//! One file or folder a controller.
//!
//! Each decides purely (`plan`) and acts thinly (`reconcile`); each reads the caches of the
//! process and writes through a client of its own. To add one: its file, its line in [`all`].

mod common;
mod deps;
mod options;
mod workloads;

use std::sync::Arc;

use base::drain::Drain;
use reconcile::{Caches, Engine, Reconciler};

pub use deps::Deps;
pub use options::{ControllersOptions, Signer, TokenIssuer};

/// One controller: its name, and how it is made.
#[derive(Clone, Copy)]
pub struct Registration {
    /// The name, as upstream's `--controllers` writes it.
    pub name: &'static str,
    /// Makes the controller.
    pub make: fn(&Deps) -> Arc<dyn Reconciler>,
}

/// All controllers.
#[must_use]
pub fn all() -> Vec<Registration> {
    let one = |name, make| Registration { name, make };
    vec![
        one("deployment-controller", workloads::deployment::make),
        one("replicaset-controller", workloads::replicaset::make),
        one("replicationcontroller-controller", workloads::replicationcontroller::make),
    ]
}

/// Runs all controllers that are not disabled until the drain fires.
///
/// `client_for` gives each its client: by its name, so that each may have an identity of its own
/// (`system:serviceaccount:kube-system:NAME`).
pub async fn run(
    client_for: impl Fn(&str) -> kube::Client,
    caches: Caches,
    options: ControllersOptions,
    drain: Drain,
) {
    let engine =
        Engine { caches: caches.clone(), clock: options.clock.clone(), rng: options.rng.clone() };
    let deps = Deps { caches, options: Arc::new(options) };
    let tasks: Vec<_> = all()
        .into_iter()
        .filter(|one| !deps.options.disabled.contains(one.name))
        .map(|one| {
            let (engine, reconciler) = (engine.clone(), (one.make)(&deps));
            let (client, drain) = (client_for(one.name), drain.clone());
            tokio::spawn(async move { engine.run(reconciler, client, drain).await })
        })
        .collect();
    // Panics are contained further down; a task ends when it is drained.
    futures::future::join_all(tasks).await;
}
