//! DaemonSet: one pod on every node that suits.
//!
//! (Kubernetes `pkg/controller/daemon`)

mod plan;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::FutureExt;
use futures::future::join_all;
use k8s_openapi::api::apps::v1::{ControllerRevision, DaemonSet, DaemonSetStatus};
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use reconcile::{
    Action, Cache, Class, Ctx, Error, Event, Expectations, Failure, Key, Reconciler, Watches,
};
use tokio::time::Instant;

use self::plan::{Counts, Plan, Snapshot};
use super::replicaset::manage::{create_pod, delete_pod};
use crate::common::batch::slow_start;
use crate::common::owner::{controller_ref, is_controlled_by, name, uid};
use crate::common::watch::{PodOwners, owner_key};
use crate::common::{claim, history, pods, selector};
use crate::deps::Deps;

/// No more pods than this are created or deleted in one go.
const BURST: usize = 250;
const RETRY_FIRST: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(15 * 60);

/// The controller.
pub(crate) struct Controller {
    sets: Cache<DaemonSet>,
    pods: Cache<Pod>,
    nodes: Cache<Node>,
    revisions: Cache<ControllerRevision>,
    expectations: Arc<Expectations>,
    /// How often a pod failed on a node, and when it may be tried again.
    retries: Mutex<HashMap<(Key, String), (u32, Instant)>>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        sets: deps.caches.of(),
        pods: deps.caches.of(),
        nodes: deps.caches.of(),
        revisions: deps.caches.of(),
        expectations: Arc::default(),
        retries: Mutex::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "daemonset-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        PodOwners {
            owners: self.sets.clone(),
            pods: self.pods.clone(),
            expectations: self.expectations.clone(),
            selects,
        }
        .watch(watches);
        let sets = self.sets.clone();
        watches.on(&self.nodes, move |event, queue| {
            let node = event.object();
            let same = event.old().is_some_and(|old| {
                let taints = |node: &Node| node.spec.as_ref().and_then(|spec| spec.taints.clone());
                old.metadata.labels == node.metadata.labels && taints(old) == taints(node)
            });
            if !same {
                sets.list().iter().for_each(|set| queue.add(Key::of(&set.metadata)));
            }
        });
        let sets = self.sets.clone();
        watches.on(&self.revisions, move |event, queue| {
            if !matches!(event, Event::Added(_))
                && let Some(key) = owner_key(&sets, &**event.object())
            {
                queue.add(key);
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(set) = self.sets.get_key(key) else {
            self.retries.lock().retain(|(other, _), _| other != key);
            return Ok(Action::Await);
        };
        let Some(spec) = &set.spec else { return Ok(Action::Await) };
        if selector::is_empty(&spec.selector) {
            let text = "This daemon set is selecting all pods. A non-empty selector is required.";
            ctx.recorder.warning(&*set, "SelectingAll", text);
            return Ok(Action::Await);
        }
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(Action::Await);
        }
        let revisions = self.revisions.list_in(&key.namespace);
        let revisions: Vec<_> = revisions
            .into_iter()
            .filter(|revision| is_controlled_by(&revision.metadata, uid(&set.metadata)))
            .collect();
        let collisions = set.status.as_ref().and_then(|status| status.collision_count);
        let history = history::sync(ctx, &*set, &spec.template, collisions, revisions).await?;
        let hash = history::hash_of(&history.current).to_owned();
        let fulfilled = self.expectations.fulfilled(key);
        let candidates = pods::candidates(&self.pods, &set.metadata);
        let claims = claim::sort(&set.metadata, candidates, |pod| selects(&set, pod));
        let owned = claim::settle(ctx, &*set, &controller_ref(&*set), claims).await?;
        let nodes = self.nodes.list();
        let in_use: BTreeSet<String> = owned
            .iter()
            .filter_map(|pod| pod.metadata.labels.as_ref()?.get(history::HASH).cloned())
            .chain([hash.clone()])
            .collect();
        let snapshot =
            Snapshot { set: &set, nodes: &nodes, pods: plan::by_node(owned), hash: &hash };
        let mut again = None;
        if fulfilled {
            again = self.act(ctx, key, &snapshot).await?;
            let limit = spec.revision_history_limit.unwrap_or(10);
            history::delete(ctx, history::superfluous(&history.all, &in_use, limit)).await?;
        }
        let counts = plan::count(&snapshot, ctx.clock.now());
        write_status(ctx, &set, counts, history.collisions).await?;
        let again = again.into_iter().chain(counts.next_available).min();
        Ok(again.map_or(Action::Await, Action::After))
    }
}

impl Controller {
    /// Acts on what is wrong; says when to look at failed pods again.
    async fn act(
        &self,
        ctx: &Ctx,
        key: &Key,
        snapshot: &Snapshot<'_>,
    ) -> Result<Option<Duration>, Error> {
        let waits = Mutex::new(None);
        let may_retry = |node: &str| {
            let Err(left) = self.try_again(key, node) else { return true };
            let mut waits = waits.lock();
            *waits = Some(waits.map_or(left, |other: Duration| other.min(left)));
            false
        };
        let plan = plan::manage(snapshot, &may_retry);
        for (pod, node, failed) in &plan.ended {
            let (kind, reason, what) = if *failed {
                ("Warning", "FailedDaemonPod", "failed")
            } else {
                ("Normal", "SucceededDaemonPod", "succeeded")
            };
            let pod = format!("{}/{}", key.namespace, name(&pod.metadata));
            let text =
                format!("Found {what} daemon pod {pod} on node {node}, will try to delete it");
            ctx.recorder.tell(reconcile::recorder::reference(snapshot.set), kind, reason, text);
        }
        let idle = plan.create.is_empty() && plan.delete.is_empty();
        self.carry_out(ctx, key, snapshot, plan).await?;
        let on_delete = snapshot
            .set
            .spec
            .as_ref()
            .and_then(|spec| spec.update_strategy.as_ref())
            .is_some_and(|strategy| strategy.type_.as_deref() == Some("OnDelete"));
        if idle && !on_delete {
            let rolled = plan::roll(snapshot, ctx.clock.now());
            self.carry_out(ctx, key, snapshot, rolled).await?;
        }
        Ok(waits.into_inner())
    }

    /// Whether a failed pod of a node may be replaced; if not yet, how long is left.
    fn try_again(&self, key: &Key, node: &str) -> Result<(), Duration> {
        let mut retries = self.retries.lock();
        let now = Instant::now();
        let (failures, not_before) =
            retries.entry((key.clone(), node.to_owned())).or_insert((0, now));
        let left = not_before.saturating_duration_since(now);
        if !left.is_zero() {
            return Err(left);
        }
        if not_before.elapsed() > 2 * RETRY_MAX {
            *failures = 0;
        }
        *not_before = now + RETRY_FIRST.saturating_mul(1 << (*failures).min(16)).min(RETRY_MAX);
        *failures += 1;
        Ok(())
    }

    async fn carry_out(
        &self,
        ctx: &Ctx,
        key: &Key,
        snapshot: &Snapshot<'_>,
        mut plan: Plan,
    ) -> Result<(), Failure> {
        let set = snapshot.set;
        plan.create.truncate(BURST);
        plan.delete.truncate(BURST);
        self.expectations.expect_creations(key, plan.create.len());
        let uids = plan.delete.iter().map(|pod| uid(&pod.metadata).to_owned());
        self.expectations.expect_deletions(key, uids);
        let mut targets = plan.create.iter();
        let outcome = slow_start(plan.create.len(), || {
            let node = targets.next().cloned().unwrap_or_default();
            let template = plan::template_for(set, &node, snapshot.hash);
            let pod = pods::from_template(&template, &set.metadata, controller_ref(set));
            async move { create_pod(ctx, set, &pod).await }.boxed()
        })
        .await;
        for _ in outcome.done..plan.create.len() {
            self.expectations.creation_seen(key);
        }
        let deleted = join_all(plan.delete.iter().map(|pod| async move {
            let deleted = delete_pod(ctx, set, pod).await;
            if !matches!(deleted, Ok(true)) {
                self.expectations.deletion_seen(key, uid(&pod.metadata));
            }
            deleted
        }))
        .await;
        match outcome.failure {
            Some(failure) if failure.class != Class::NamespaceTerminating => return Err(failure),
            _ => {}
        }
        deleted.into_iter().find_map(Result::err).map_or(Ok(()), Err)
    }
}

fn selects(set: &DaemonSet, pod: &Pod) -> bool {
    set.spec.as_ref().is_some_and(|spec| {
        !selector::is_empty(&spec.selector)
            && selector::matches(&spec.selector, pod.metadata.labels.as_ref())
    })
}

async fn write_status(
    ctx: &Ctx,
    set: &DaemonSet,
    counts: Counts,
    collisions: Option<i32>,
) -> Result<(), Error> {
    let old = set.status.clone().unwrap_or_default();
    let status = DaemonSetStatus {
        desired_number_scheduled: counts.desired,
        current_number_scheduled: counts.current,
        number_misscheduled: counts.misscheduled,
        number_ready: counts.ready,
        updated_number_scheduled: Some(counts.updated),
        number_available: Some(counts.available),
        number_unavailable: Some((counts.desired - counts.available).max(0)),
        observed_generation: set.metadata.generation,
        collision_count: collisions,
        conditions: old.conditions.clone(),
    };
    let key = |status: &DaemonSetStatus| {
        let or_0 = |count: Option<i32>| count.unwrap_or_default();
        (
            [
                status.desired_number_scheduled,
                status.current_number_scheduled,
                status.number_misscheduled,
                status.number_ready,
                or_0(status.updated_number_scheduled),
                or_0(status.number_available),
                or_0(status.number_unavailable),
                or_0(status.collision_count),
            ],
            status.observed_generation,
        )
    };
    if set.status.is_some() && key(&old) == key(&status) {
        return Ok(());
    }
    let mut updated = set.clone();
    updated.status = Some(status);
    reconcile::or_gone(ctx.writer.update_status(&updated).await)?;
    Ok(())
}
