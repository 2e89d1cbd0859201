//! One file or folder a controller.
//!
//! Each decides purely (`plan`) and acts thinly (`reconcile`); each reads the caches of the
//! process and writes through a client of its own. To add one: its file, its line in [`all`].

mod certificates;
mod cluster;
mod common;
mod deps;
mod identity;
mod network;
mod node;
mod options;
mod policy;
mod storage;
mod workloads;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use base::drain::Drain;
use base::readiness::Part;
use reconcile::{Caches, Engine, Reconciler};

pub use deps::Deps;
pub use identity::account;
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
        one("daemonset-controller", workloads::daemonset::make),
        one("statefulset-controller", workloads::statefulset::make),
        one("job-controller", workloads::job::make),
        one("cronjob-controller", workloads::cronjob::make),
        one("ttl-after-finished-controller", workloads::ttl::make),
        one("endpointslice-controller", network::endpointslice::make),
        one("endpoints-controller", network::endpoints::make),
        one("endpointslice-mirroring-controller", network::mirroring::make),
        one("disruption-controller", policy::disruption::make),
        one("resourcequota-controller", policy::quota::make),
        one("clusterrole-aggregation-controller", policy::aggregation::make),
        one("validatingadmissionpolicy-status-controller", policy::typecheck::make),
        one("persistentvolumeclaim-protection-controller", storage::protection::make_claims),
        one("persistentvolume-protection-controller", storage::protection::make_volumes),
        one("certificatesigningrequest-approving-controller", certificates::approve::make),
        one("certificatesigningrequest-signing-controller", certificates::sign::make),
        one("certificatesigningrequest-cleaner-controller", certificates::clean::make),
        one("namespace-controller", cluster::namespace::make),
        one("garbage-collector-controller", cluster::garbage::make),
        one("serviceaccount-controller", cluster::serviceaccount::make),
        one("serviceaccount-token-controller", cluster::token::make),
        one("legacy-serviceaccount-token-cleaner-controller", cluster::legacy_token::make),
        one("bootstrap-signer-controller", cluster::bootstrap_signer::make),
        one("token-cleaner-controller", cluster::token_cleaner::make),
        one("root-ca-certificate-publisher-controller", cluster::root_ca::make),
        one("node-lifecycle-controller", node::lifecycle::make),
        one("taint-eviction-controller", node::taint_eviction::make),
        one("node-ipam-controller", node::ipam::make),
        one("pod-garbage-collector-controller", node::podgc::make),
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
    let deps = Deps::new(caches, options);
    // All watches are registered before any work begins: the garbage collector's inventory has
    // other listeners, which must hear of everything.
    let wanted: Vec<_> =
        all().into_iter().filter(|one| !deps.options.disabled.contains(one.name)).collect();
    let unsynced = Arc::new(AtomicUsize::new(wanted.len()));
    let futures: Vec<_> = wanted
        .into_iter()
        .map(|one| {
            let (unsynced, ready) = (unsynced.clone(), deps.options.ready.clone());
            let synced = move || {
                if unsynced.fetch_sub(1, Ordering::AcqRel) == 1 {
                    ready.iter().for_each(Part::ready);
                }
            };
            engine.start_telling((one.make)(&deps), client_for(one.name), drain.clone(), synced)
        })
        .collect();
    // Panics are contained further down; a task ends when it is drained.
    futures::future::join_all(futures.into_iter().map(tokio::spawn)).await;
    deps.options.ready.iter().for_each(|part| part.unready("stopped"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_controller_is_listed_once_under_its_own_name() {
        let service = tower::service_fn(|_: http::Request<kube::client::Body>| {
            std::future::pending::<
                Result<http::Response<kube::client::Body>, std::convert::Infallible>,
            >()
        });
        let client = kube::Client::new(service, "default");
        let caches = Caches::new(client, base::rng::SharedRng::seeded(1), Drain::new());
        let deps = Deps::new(caches, ControllersOptions::default());
        let mut names = std::collections::BTreeSet::new();
        for one in all() {
            let made = (one.make)(&deps);
            assert_eq!(made.name(), one.name);
            assert!(names.insert(one.name), "{} is listed twice", one.name);
            assert!(made.workers() > 0);
            let mut watches = reconcile::Watches::new(reconcile::Queue::new(one.name));
            made.watches(&mut watches);
        }
    }
}
