//! ResourceQuota: says in its status what a namespace uses of it.
//!
//! Admission charges when objects are made; this controller counts anew when they go. What it counts
//! by is [`api::quota`], as admission does. (Kubernetes `pkg/controller/resourcequota`)
//!
//! Invariant: a charge is not undone because the object that it was made for has not come in yet. So
//! the controller's own look at a charge, and at new objects, comes a while later, when either the
//! object is here or its creation has failed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::quantity::Quantity;
use api::quota::{Amounts, Item, counted_resource, is_in_scopes};
use async_trait::async_trait;
use base::clock::SharedClock;
use k8s_openapi::api::core::v1::{
    PersistentVolumeClaim, Pod, ResourceQuota, ResourceQuotaSpec, ResourceQuotaStatus, Service,
};
use k8s_openapi::api::resource::v1::ResourceClaim;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity as Text;
use reconcile::{Action, Cache, Ctx, Error, Event, Key, Queue, Reconciler, Watches, or_gone};

use crate::cluster::garbage::Inventory;
use crate::common::owner::namespace;
use crate::common::pods;
use crate::deps::Deps;

/// How long a charge may stand before it is compared with what there is.
const SETTLED_AFTER: Duration = Duration::from_secs(5);

/// The controller.
pub(crate) struct Controller {
    quotas: Cache<ResourceQuota>,
    pods: Cache<Pod>,
    services: Cache<Service>,
    claims: Cache<PersistentVolumeClaim>,
    devices: Cache<ResourceClaim>,
    inventory: Arc<Inventory>,
    clock: SharedClock,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        quotas: deps.caches.of(),
        pods: deps.caches.of(),
        services: deps.caches.of(),
        claims: deps.caches.of(),
        devices: deps.caches.of(),
        inventory: deps.inventory.clone(),
        clock: deps.options.clock.clone(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "resourcequota-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.on(&self.quotas, |event, queue| {
            let quota = event.object();
            let key = Key::of(&quota.metadata);
            let hard = |quota: &ResourceQuota| {
                quota.spec.as_ref().and_then(|spec| spec.hard.clone()).unwrap_or_default()
            };
            match event.old() {
                Some(old) if hard(old) == hard(quota) => queue.add_after(key, SETTLED_AFTER),
                _ => queue.add(key),
            }
        });
        self.wake_by(watches, &self.pods, |old, new| {
            pods::is_terminal(old) != pods::is_terminal(new) || differ_but_for_the_node(old, new)
        });
        self.wake_by(watches, &self.services, |old, new| old.spec != new.spec);
        self.wake_by(watches, &self.claims, |old, new| {
            old.spec != new.spec || old.status != new.status
        });
        self.wake_by(watches, &self.devices, |old, new| old.spec != new.spec);
        let (quotas, queue) = (self.quotas.clone(), watches.queue().clone());
        self.inventory.listen(Box::new(move |resource, change| {
            let namespace = namespace(change.object().meta());
            match change {
                _ if !resource.namespaced || &*resource.plural == "pods" => {}
                reconcile::Change::Updated { .. } => {}
                reconcile::Change::Added(_) => wake_later(&quotas, namespace, &queue),
                _ => wake(&quotas, namespace, &queue),
            }
        }));
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(quota) = self.quotas.get_key(key) else { return Ok(Action::Await) };
        let spec = quota.spec.clone().unwrap_or_default();
        let hard = spec.hard.clone().unwrap_or_default();
        let used = self.used(&spec, &key.namespace);
        let used: BTreeMap<String, Text> = hard
            .keys()
            .map(|resource| {
                let amount = used.get(resource).copied().unwrap_or(Quantity::from_int(0));
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
    /// Counts anew at once when objects of a type go or change, and a while after they have come.
    fn wake_by<K: api::typed::Kind>(
        &self,
        watches: &mut Watches,
        cache: &Cache<K>,
        differ: fn(&K, &K) -> bool,
    ) {
        let quotas = self.quotas.clone();
        watches.on(cache, move |event, queue| {
            let namespace = namespace(event.object().meta());
            match (event, event.old()) {
                (Event::Deleted(_), _) => wake(&quotas, namespace, queue),
                (_, Some(old)) if differ(old, event.object()) => wake(&quotas, namespace, queue),
                (_, Some(_)) => {}
                (_, None) => wake_later(&quotas, namespace, queue),
            }
        });
    }

    fn used(&self, spec: &ResourceQuotaSpec, namespace: &str) -> Amounts {
        let now = self.clock.now();
        let mut used = Amounts::new();
        let mut take = |item: Item<'_>| {
            if is_in_scopes(spec, &item) {
                for (name, amount) in item.usage(now) {
                    api::pod_resources::add(&mut used, &name, amount);
                }
            }
        };
        self.pods.list_in(namespace).iter().for_each(|one| take(Item::Pod(one)));
        self.services.list_in(namespace).iter().for_each(|one| take(Item::Service(one)));
        self.claims.list_in(namespace).iter().for_each(|one| take(Item::Claim(one)));
        self.devices.list_in(namespace).iter().for_each(|one| take(Item::Devices(one)));
        for limit in spec.hard.iter().flatten().map(|(limit, _)| limit) {
            let Some(resource) = counted_resource(limit) else { continue };
            if !is_in_scopes(spec, &Item::Other(&resource)) {
                continue;
            }
            if let Some(count) = self.inventory.count(&resource, namespace) {
                let count = i64::try_from(count).unwrap_or(i64::MAX);
                used.insert(limit.clone(), Quantity::from_int(count));
            }
        }
        used
    }
}

/// Whether the pods' specs differ in more than the node. Pods are bound while their siblings are
/// being made: to count then would undo the charges for those that have not come in.
fn differ_but_for_the_node(old: &Pod, new: &Pod) -> bool {
    if old.spec == new.spec {
        return false;
    }
    let unbound = |pod: &Pod| {
        let mut spec = pod.spec.clone().unwrap_or_default();
        spec.node_name = None;
        spec
    };
    unbound(old) != unbound(new)
}

fn wake(quotas: &Cache<ResourceQuota>, namespace: &str, queue: &Queue) {
    for key in keys(quotas, namespace) {
        queue.add(key);
    }
}

fn wake_later(quotas: &Cache<ResourceQuota>, namespace: &str, queue: &Queue) {
    for key in keys(quotas, namespace) {
        queue.add_after(key, SETTLED_AFTER);
    }
}

fn keys(quotas: &Cache<ResourceQuota>, namespace: &str) -> Vec<Key> {
    let found = if namespace.is_empty() { Vec::new() } else { quotas.list_in(namespace) };
    found.iter().map(|quota| Key::of(&quota.metadata)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use api::typed::Kind;

    #[test]
    fn binding_a_pod_is_no_reason_to_count() {
        let pod = |json: &str| Pod::decode(json.as_bytes()).expect("a pod");
        let new = pod(r#"{"spec":{"containers":[{"name":"c"}]}}"#);
        let bound = pod(r#"{"spec":{"nodeName":"a","containers":[{"name":"c"}]}}"#);
        let resized = pod(
            r#"{"spec":{"nodeName":"a","containers":[{"name":"c","resources":{"requests":{"cpu":"1"}}}]}}"#,
        );
        assert!(!differ_but_for_the_node(&new, &new));
        assert!(!differ_but_for_the_node(&new, &bound));
        assert!(differ_but_for_the_node(&bound, &resized));
    }
}
