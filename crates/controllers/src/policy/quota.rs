//! ResourceQuota: says in its status what a namespace uses of it.
//!
//! Admission counts up when objects are made; this controller counts anew when they change or go.
//! (Kubernetes `pkg/controller/resourcequota`)

use std::collections::BTreeMap;
use std::sync::Arc;

use api::quantity::Quantity;
use async_trait::async_trait;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaStatus, Service,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use reconcile::{Action, Cache, Ctx, Error, Key, Reconciler, Watches, or_gone};

use super::usage::{self, Amounts};
use crate::cluster::garbage::Inventory;
use crate::common::owner::namespace;
use crate::common::pods;
use crate::deps::Deps;

/// Resources that are counted under their plain names as well.
const COUNTED: [&str; 4] = ["replicationcontrollers", "resourcequotas", "secrets", "configmaps"];

/// The controller.
pub(crate) struct Controller {
    quotas: Cache<ResourceQuota>,
    pods: Cache<Pod>,
    services: Cache<Service>,
    claims: Cache<PersistentVolumeClaim>,
    inventory: Arc<Inventory>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        quotas: deps.caches.of(),
        pods: deps.caches.of(),
        services: deps.caches.of(),
        claims: deps.caches.of(),
        inventory: deps.inventory.clone(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.quotas);
        let quotas = self.quotas.clone();
        watches.on(&self.pods, move |event, queue| {
            let pod = event.object();
            let same = event.old().is_some_and(|old| {
                pods::is_terminal(old) == pods::is_terminal(pod) && old.spec == pod.spec
            });
            if !same {
                wake(&quotas, namespace(&pod.metadata), queue);
            }
        });
        let quotas = self.quotas.clone();
        watches.on(&self.services, move |event, queue| {
            wake(&quotas, namespace(&event.object().metadata), queue);
        });
        let quotas = self.quotas.clone();
        watches.on(&self.claims, move |event, queue| {
            wake(&quotas, namespace(&event.object().metadata), queue);
        });
        let (quotas, queue) = (self.quotas.clone(), watches.queue().clone());
        self.inventory.listen(Box::new(move |resource, change| {
            let counts = !matches!(change, reconcile::Change::Updated { .. });
            if counts && resource.namespaced && &*resource.plural != "pods" {
                wake(&quotas, namespace(change.object().meta()), &queue);
            }
        }));
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(quota) = self.quotas.get_key(key) else { return Ok(Action::Await) };
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default();
        let used = self.used(&quota, &key.namespace);
        let used: BTreeMap<String, Text> = hard
            .keys()
            .map(|resource| {
                let none = Quantity::from_int(0);
                let amount = used.get(resource).copied().unwrap_or(none);
                (resource.clone(), Text(amount.to_string()))
            })
            .collect();
        let status = ResourceQuotaStatus { hard: Some(hard), used: Some(used) };
        let same = quota.status.as_ref().is_some_and(|old| {
            old.hard.clone().unwrap_or_default() == status.hard.clone().unwrap_or_default()
                && old.used.clone().unwrap_or_default() == status.used.clone().unwrap_or_default()
        });
        if !same {
            let mut updated = (*quota).clone();
            updated.status = Some(status);
            or_gone(ctx.writer.update_status(&updated).await)?;
        }
        Ok(Action::Await)
    }
}

impl Controller {
    fn used(&self, quota: &ResourceQuota, namespace: &str) -> Amounts {
        let mut used = Amounts::new();
        let mut take = |amounts: Amounts| {
            amounts.iter().for_each(|(name, amount)| usage::add(&mut used, name, *amount));
        };
        for pod in self.pods.list_in(namespace) {
            if usage::is_about(quota, &pod) {
                take(usage::of_pod(&pod));
            }
        }
        if usage::is_scoped(quota) {
            return used;
        }
        self.services.list_in(namespace).iter().for_each(|one| take(usage::of_service(one)));
        self.claims.list_in(namespace).iter().for_each(|one| take(usage::of_claim(one)));
        let hard = quota.spec.as_ref().and_then(|spec| spec.hard.as_ref());
        for wanted in hard.into_iter().flat_map(BTreeMap::keys) {
            let object = wanted
                .strip_prefix("count/")
                .or_else(|| COUNTED.contains(&wanted.as_str()).then_some(wanted.as_str()));
            let known = ["pods", "services", "persistentvolumeclaims"];
            let Some(object) = object.filter(|object| !known.contains(object)) else { continue };
            if let Some(count) = self.inventory.count(object, namespace) {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                usage::add(&mut used, wanted, Quantity::from_int(count));
            }
        }
        used
    }
}

fn wake(quotas: &Cache<ResourceQuota>, namespace: &str, queue: &reconcile::Queue) {
    for quota in quotas.list_in(namespace) {
        if !namespace.is_empty() {
            queue.add(Key::of(&quota.metadata));
        }
    }
}
