//! PodDisruptionBudget: says how many pods may be evicted now.
//!
//! Evictions take from the budget and note the pod; the note goes when the pod is seen leaving, or
//! after two minutes. (Kubernetes `pkg/controller/disruption`)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::api::policy::v1::{PodDisruptionBudget, PodDisruptionBudgetStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, OwnerReference, Time};
use reconcile::{Action, Cache, Ctx, Error, Failure, Key, Reconciler, Watches, or_gone};
use serde::Deserialize;

use crate::cluster::garbage::Inventory;
use crate::common::intstr::scaled;
use crate::common::owner::{controller_of, name, namespace};
use crate::common::{pods, selector};
use crate::deps::Deps;

/// How long a pod that was evicted may take to be seen leaving.
const EVICTION_TIMEOUT: SignedDuration = SignedDuration::from_mins(2);

/// The controller.
pub(crate) struct Controller {
    budgets: Cache<PodDisruptionBudget>,
    pods: Cache<Pod>,
    inventory: Arc<Inventory>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        budgets: deps.caches.of(),
        pods: deps.caches.of(),
        inventory: deps.inventory.clone(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "disruption-controller"
    }

    fn component(&self) -> &'static str {
        "controllermanager"
    }

    fn watches(&self, watches: &mut Watches) {
        watches.own(&self.budgets);
        let budgets = self.budgets.clone();
        watches.on(&self.pods, move |event, queue| {
            let pod = event.object();
            for budget in budgets.list_in(namespace(&pod.metadata)) {
                let old = event.old().is_some_and(|old| selects(&budget, old));
                if old || selects(&budget, pod) {
                    queue.add(Key::of(&budget.metadata));
                }
            }
        });
        // The sizes of the pods' controllers are asked for; their changes are seen here.
        let (budgets, queue) = (self.budgets.clone(), watches.queue().clone());
        self.inventory.listen(Box::new(move |resource, change| {
            let scalable = ["replicasets", "replicationcontrollers", "statefulsets", "deployments"];
            if !scalable.contains(&&*resource.plural) {
                return;
            }
            let same_size = matches!(change, reconcile::Change::Updated { old, new }
                if old.meta().generation == new.meta().generation);
            if !same_size {
                for budget in budgets.list_in(namespace(change.object().meta())) {
                    queue.add(Key::of(&budget.metadata));
                }
            }
        }));
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(budget) = self.budgets.get_key(key) else { return Ok(Action::Await) };
        let pods: Vec<_> = self
            .pods
            .list_in(&key.namespace)
            .into_iter()
            .filter(|pod| selects(&budget, pod) && !pods::is_terminal(pod))
            .collect();
        if pods.is_empty() {
            ctx.recorder.normal(&*budget, "NoPods", "No matching pods found");
        }
        let now = ctx.clock.now();
        let (status, again) = match self.expected(ctx, &budget, &pods).await? {
            Ok((expected, desired)) => compute(&budget, &pods, expected, desired, now),
            Err(why) => {
                ctx.recorder.warning(&*budget, "CalculateExpectedPodCountFailed", {
                    format!("Failed to calculate the number of expected pods: {why}")
                });
                (failed(&budget, why, now), None)
            }
        };
        if budget.status.as_ref() != Some(&status) {
            let mut updated = (*budget).clone();
            updated.status = Some(status);
            or_gone(ctx.writer.update_status(&updated).await)?;
        }
        Ok(again.map_or(Action::Await, Action::After))
    }
}

#[derive(Deserialize)]
struct Scale {
    #[serde(default)]
    metadata: ScaleMeta,
    #[serde(default)]
    spec: ScaleSpec,
}

#[derive(Default, Deserialize)]
struct ScaleMeta {
    #[serde(default)]
    uid: String,
}

#[derive(Default, Deserialize)]
struct ScaleSpec {
    #[serde(default)]
    replicas: i32,
}

impl Controller {
    /// How many pods there should be, and how many must be healthy; or why nobody knows.
    async fn expected(
        &self,
        ctx: &Ctx,
        budget: &PodDisruptionBudget,
        pods: &[Arc<Pod>],
    ) -> Result<Result<(i32, i32), String>, Failure> {
        let Some(spec) = &budget.spec else { return Ok(Ok((0, 0))) };
        let found = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        if let Some(k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::Int(min)) =
            &spec.min_available
        {
            return Ok(Ok((found, *min)));
        }
        if spec.min_available.is_none() && spec.max_unavailable.is_none() {
            return Ok(Ok((found, 0)));
        }
        let expected = match self.sizes(ctx, pods).await? {
            Ok(expected) => expected,
            Err(why) => return Ok(Err(why)),
        };
        let desired = match (&spec.min_available, &spec.max_unavailable) {
            (Some(min), _) => scaled(min, expected, true),
            (None, Some(max)) => (expected - scaled(max, expected, true)).max(0),
            (None, None) => 0,
        };
        Ok(Ok((expected, desired)))
    }

    /// The sum of the sizes of the pods' controllers, each once.
    async fn sizes(&self, ctx: &Ctx, pods: &[Arc<Pod>]) -> Result<Result<i32, String>, Failure> {
        let mut sizes: BTreeMap<String, i32> = BTreeMap::new();
        for pod in pods {
            let Some(owner) = controller_of(&pod.metadata) else {
                return Ok(Err(format!(
                    "found no controller ref for pod \"{}\"",
                    name(&pod.metadata)
                )));
            };
            if sizes.contains_key(&owner.uid) {
                continue;
            }
            match self.size(ctx, namespace(&pod.metadata), owner).await? {
                Some((uid, size)) => {
                    sizes.insert(owner.uid.clone(), size);
                    sizes.insert(uid, size);
                }
                None => {
                    return Ok(Err(format!(
                        "found no controllers for pod \"{}\"",
                        name(&pod.metadata)
                    )));
                }
            }
        }
        // Two references to one controller, its own UID among them, count once.
        let by_owner: BTreeMap<&str, i32> = pods
            .iter()
            .filter_map(|pod| controller_of(&pod.metadata))
            .filter_map(|owner| Some((owner.uid.as_str(), *sizes.get(&owner.uid)?)))
            .collect();
        Ok(Ok(by_owner.values().sum()))
    }

    async fn size(
        &self,
        ctx: &Ctx,
        namespace: &str,
        owner: &OwnerReference,
    ) -> Result<Option<(String, i32)>, Failure> {
        let Some(resource) = self.inventory.locate(owner) else { return Ok(None) };
        let path = resource.object_path(namespace, &owner.name, "scale");
        let Some(body) = or_gone(ctx.writer.raw("GET", &path, Vec::new()).await)? else {
            return Ok(None);
        };
        let scale: Scale = serde_json::from_slice(&body)
            .map_err(|error| Failure::decode(format!("read {path}"), &error))?;
        let same = scale.metadata.uid == owner.uid;
        Ok(same.then_some((scale.metadata.uid, scale.spec.replicas)))
    }
}

fn selects(budget: &PodDisruptionBudget, pod: &Pod) -> bool {
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    // policy/v1: an empty selector selects all pods of the namespace, an absent one none.
    selector.is_some_and(|wanted| selector::matches(wanted, pod.metadata.labels.as_ref()))
}

fn compute(
    budget: &PodDisruptionBudget,
    pods: &[Arc<Pod>],
    expected: i32,
    desired: i32,
    now: Timestamp,
) -> (PodDisruptionBudgetStatus, Option<Duration>) {
    let old = budget.status.clone().unwrap_or_default();
    let mut again: Option<Duration> = None;
    let mut disrupted = BTreeMap::new();
    for (pod, since) in old.disrupted_pods.iter().flatten() {
        let found = pods.iter().find(|found| name(&found.metadata) == pod);
        let left = EVICTION_TIMEOUT - now.duration_since(since.0);
        if found.is_none_or(|pod| pods::is_deleting(pod)) || left <= SignedDuration::ZERO {
            continue;
        }
        let left = Duration::try_from(left).unwrap_or_default();
        again = Some(again.map_or(left, |other| other.min(left)));
        disrupted.insert(pod.clone(), since.clone());
    }
    let healthy = pods
        .iter()
        .filter(|pod| !pods::is_deleting(pod) && !disrupted.contains_key(name(&pod.metadata)))
        .filter(|pod| pods::is_ready(pod))
        .count();
    let healthy = i32::try_from(healthy).unwrap_or(i32::MAX);
    let allowed = if expected > 0 { (healthy - desired).max(0) } else { 0 };
    let mut conditions = old.conditions.clone().unwrap_or_default();
    let (state, reason) =
        if allowed > 0 { ("True", "SufficientPods") } else { ("False", "InsufficientPods") };
    set(&mut conditions, budget, state, reason, String::new(), now);
    let status = PodDisruptionBudgetStatus {
        current_healthy: Some(healthy),
        desired_healthy: Some(desired),
        expected_pods: Some(expected),
        disruptions_allowed: Some(allowed),
        disrupted_pods: (!disrupted.is_empty()).then_some(disrupted),
        observed_generation: budget.metadata.generation,
        conditions: Some(conditions),
    };
    (status, again)
}

/// When it is not known how many pods there should be, none may go.
fn failed(budget: &PodDisruptionBudget, why: String, now: Timestamp) -> PodDisruptionBudgetStatus {
    let mut status = budget.status.clone().unwrap_or_default();
    let mut conditions = status.conditions.take().unwrap_or_default();
    set(&mut conditions, budget, "False", "SyncFailed", why, now);
    status.disruptions_allowed = Some(0);
    status.observed_generation = budget.metadata.generation;
    status.conditions = Some(conditions);
    status
}

fn set(
    conditions: &mut Vec<Condition>,
    budget: &PodDisruptionBudget,
    state: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    const KIND: &str = "DisruptionAllowed";
    let old = conditions.iter().find(|condition| condition.type_ == KIND);
    let since = old
        .filter(|old| old.status == state)
        .map_or(Time(now), |old| old.last_transition_time.clone());
    let condition = Condition {
        type_: KIND.to_owned(),
        status: state.to_owned(),
        reason: reason.to_owned(),
        message,
        last_transition_time: since,
        observed_generation: budget.metadata.generation,
    };
    conditions.retain(|condition| condition.type_ != KIND);
    conditions.push(condition);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::{at, running};

    #[test]
    fn what_may_go_is_what_is_healthy_beyond_what_must_be() {
        let check = |expected, desired, ready: usize, notes: &[(&str, i64)], allowed| {
            let mut budget = PodDisruptionBudget::default();
            let notes = notes.iter().map(|(pod, at_)| ((*pod).to_owned(), Time(at(*at_))));
            budget.status.get_or_insert_default().disrupted_pods = Some(notes.collect());
            let pods: Vec<_> = (0..3)
                .map(|n| Arc::new(running(&format!("p{n}"), "n", (n < ready).then_some(0))))
                .collect();
            let (status, _) = compute(&budget, &pods, expected, desired, at(100));
            assert_eq!(status.disruptions_allowed, Some(allowed));
        };
        check(3, 2, 3, &[], 1);
        check(3, 2, 2, &[], 0);
        check(0, 0, 3, &[], 0);
        check(3, 2, 3, &[("p0", 90)], 0);
        // The eviction was two minutes ago: it came to nothing.
        check(3, 2, 3, &[("p0", -50)], 1);
        check(3, 1, 3, &[("gone", 90)], 2);
    }
}
