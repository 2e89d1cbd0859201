//! Those who act in this process: controllers, scheduler, add-ons.

use std::collections::BTreeSet;
use std::sync::Arc;

use auth::{UserInfo, groups, users};
use base::drain::{Drains, Stage};

use super::{CONTROLLERS_PART, ControlPlane, SCHEDULER_PART, engine, first_address};
use crate::compose::Process;
use crate::compose::addons::Addons;
use crate::pki::sign::RequestSigner;
use crate::pki::tokens::LegacyTokens;
use crate::server::kubernetes_service::{Keeper, KubernetesService};

impl ControlPlane {
    /// Starts the controllers, the scheduler, and what keeps the cluster's own objects.
    pub(crate) fn start_acting(&self, process: &Process, drains: &mut Drains) {
        let acting = drains.stage("controllers");
        if process.options.has("controllers") {
            self.start_controllers(process, &acting);
        }
        if process.options.has("scheduler") {
            let user = UserInfo::named(users::SCHEDULER, &[]);
            let client = self.client(user, "kube-scheduler");
            let scheduler = scheduler::SchedulerOptions {
                name: "default-scheduler".to_owned(),
                clock: process.clock.clone(),
                rng: process.rng.clone(),
                ready: process.readiness.part(SCHEDULER_PART),
            };
            acting.spawn(scheduler::run(scheduler, self.caches.clone(), client, acting.token()));
        }
        let service = KubernetesService {
            cluster_ip: first_address(self.service_network),
            address: self.address.ip(),
            port: self.address.port(),
        };
        let keeper = Keeper::new(self.caches.clone(), service);
        let engine = engine(process, &self.caches);
        let own = || UserInfo::named(users::APISERVER, &[groups::MASTERS]);
        let client = self.client(own(), "kube-apiserver");
        acting.spawn(engine.start(keeper, client, acting.token()));
        let client = self.client(own(), "ferry-addons");
        acting.spawn(engine.start(Addons::new(process), client, acting.token()));
    }

    fn start_controllers(&self, process: &Process, acting: &Stage) {
        let controllers = controllers::ControllersOptions {
            cluster_cidr: process.options.cluster_cidr.clone(),
            root_ca_pem: self.root_ca.clone(),
            signer: Some(Arc::new(RequestSigner {
                authority: self.authority.clone(),
                clock: process.clock.clone(),
                rng: process.rng.clone(),
            })),
            token_issuer: Some(Arc::new(LegacyTokens(self.tokens.clone()))),
            disabled: BTreeSet::new(),
            ready: Some(process.readiness.part(CONTROLLERS_PART)),
            clock: process.clock.clone(),
            rng: process.rng.clone(),
            ..controllers::ControllersOptions::default()
        };
        let server = self.server.clone();
        let client_for = move |name: &str| {
            let user = controller_identity(name);
            let service = server.client_service_as(user, "kube-controller-manager");
            kube::Client::new(service, "default")
        };
        let caches = self.caches.clone();
        acting.spawn(controllers::run(client_for, caches, controllers, acting.token()));
    }
}

/// Who a controller is: its own service account, with the rights of its own role.
fn controller_identity(name: &str) -> UserInfo {
    match controllers::account(name) {
        Some(account) => UserInfo::of_service_account("kube-system", account),
        None => UserInfo::named(users::CONTROLLER_MANAGER, &[]),
    }
}
