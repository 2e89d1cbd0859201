//! ReplicationController: a ReplicaSet's elder, whose selector is a map of equalities.
//!
//! Shares ReplicaSet's plan; only the object's form differs.
//! (Kubernetes `pkg/controller/replication`)

use std::sync::Arc;

use async_trait::async_trait;
use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{
    Pod, ReplicationController, ReplicationControllerCondition, ReplicationControllerStatus,
};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Action, Cache, Ctx, Error, Expectations, Failure, Key, Reconciler, Watches};

use super::replicaset::manage;
use super::replicaset::plan::{self, Counts, Snapshot, Step};
use crate::common::owner::{controller_ref, uid};
use crate::common::watch::PodOwners;
use crate::common::{claim, pods, selector};
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    rcs: Cache<ReplicationController>,
    pods: Cache<Pod>,
    expectations: Arc<Expectations>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        rcs: deps.caches.of(),
        pods: deps.caches.of(),
        expectations: Arc::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "replicationcontroller-controller"
    }

    fn component(&self) -> &'static str {
        "replication-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        PodOwners {
            owners: self.rcs.clone(),
            pods: self.pods.clone(),
            expectations: self.expectations.clone(),
            selects,
        }
        .watch(watches);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(rc) = self.rcs.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Action::Await);
        };
        let fulfilled = self.expectations.fulfilled(key);
        let claims = claim::sort(&rc.metadata, pods::candidates(&self.pods, &rc.metadata), |pod| {
            selects(&rc, pod)
        });
        let owned = claim::settle(ctx, &*rc, &controller_ref(&*rc), claims).await?;
        let spec = rc.spec.clone().unwrap_or_default();
        let template = spec.template.as_ref();
        let related = pods::controlled_by(&self.pods, uid(&rc.metadata));
        let snapshot = Snapshot {
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            template_labels: template
                .and_then(|template| template.metadata.as_ref())
                .and_then(|metadata| metadata.labels.as_ref()),
            pods: &owned,
            related: &related,
        };
        let now = ctx.clock.now();
        let (mut managed, mut reason) = (Ok(()), "FailedCreate");
        if fulfilled && rc.metadata.deletion_timestamp.is_none() {
            let step = plan::plan(&snapshot, now);
            if matches!(step, Step::Delete(_)) {
                reason = "FailedDelete";
            }
            managed = manage::manage(ctx, &self.expectations, &*rc, template, step).await;
        }
        let counts = plan::count(&snapshot, now);
        let status = status(&rc, counts, managed.as_ref().err().map(|f| (reason, f)), now);
        if rc.status.as_ref().is_none_or(|old| !same(old, &status)) {
            let mut updated = (*rc).clone();
            updated.status = Some(status);
            reconcile::or_gone(ctx.writer.update_status(&updated).await)?;
        }
        managed?;
        Ok(counts.next_available.map_or(Action::Await, Action::After))
    }
}

fn selects(rc: &ReplicationController, pod: &Pod) -> bool {
    rc.spec
        .as_ref()
        .and_then(|spec| spec.selector.as_ref())
        .is_some_and(|map| selector::map_matches(map, pod.metadata.labels.as_ref()))
}

fn status(
    rc: &ReplicationController,
    counts: Counts,
    failure: Option<(&str, &Failure)>,
    now: Timestamp,
) -> ReplicationControllerStatus {
    let mut conditions =
        rc.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let present = conditions.iter().any(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some((reason, failure)) if !present => conditions.push(ReplicationControllerCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    ReplicationControllerStatus {
        replicas: counts.replicas,
        fully_labeled_replicas: Some(counts.fully_labeled),
        ready_replicas: Some(counts.ready),
        available_replicas: Some(counts.available),
        observed_generation: rc.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    }
}

fn same(a: &ReplicationControllerStatus, b: &ReplicationControllerStatus) -> bool {
    let key = |status: &ReplicationControllerStatus| {
        let or_0 = |count: Option<i32>| count.unwrap_or_default();
        (
            status.replicas,
            or_0(status.fully_labeled_replicas),
            or_0(status.ready_replicas),
            or_0(status.available_replicas),
            status.observed_generation,
        )
    };
    key(a) == key(b)
        && a.conditions.clone().unwrap_or_default() == b.conditions.clone().unwrap_or_default()
}
