//! ReplicaSet: as many pods of a template as wanted, no more and no fewer; and the controller that
//! it shares with its elder, the ReplicationController.
//!
//! The two differ in the form of their objects only: that is [`Replicas`].
//! (Kubernetes `pkg/controller/replicaset`, `pkg/controller/replication`)

pub(crate) mod manage;
pub(crate) mod plan;

use std::sync::Arc;

use api::typed::Kind;
use async_trait::async_trait;
use base::clock::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{Pod, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Action, Cache, Ctx, Error, Expectations, Failure, Key, Reconciler, Watches};

use self::plan::{Counts, Snapshot, Step};
use crate::common::owner::{controller_of, controller_ref, is_controlled_by, namespace, uid};
use crate::common::watch::PodOwners;
use crate::common::{claim, pods, selector};
use crate::deps::Deps;

/// A kind that keeps a number of equal pods.
pub(crate) trait Replicas: Kind {
    /// The controller's name.
    const NAME: &'static str;
    /// Who its Events come from.
    const COMPONENT: &'static str;
    /// Whether its status counts pods that are on their way out.
    const COUNTS_TERMINATING: bool;

    /// Whether its selector selects a pod.
    fn selects(&self, pod: &Pod) -> bool;

    /// `spec.replicas`, `spec.minReadySeconds`.
    fn wanted(&self) -> (i32, i32);

    /// What its pods are made from.
    fn template(&self) -> Option<&PodTemplateSpec>;

    /// Its status, in the form that ReplicaSets have.
    fn status(&self) -> Option<ReplicaSetStatus>;

    /// Sets its status.
    fn set_status(&mut self, status: ReplicaSetStatus);

    /// The pods that count when it is decided which of its own go first.
    fn related(&self, _all: &Cache<Self>, pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
        pods::controlled_by(pods, uid(self.meta()))
    }
}

/// The controller of a kind.
pub(crate) struct Controller<K> {
    owners: Cache<K>,
    pods: Cache<Pod>,
    expectations: Arc<Expectations>,
}

/// Makes the controller of ReplicaSets.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    controller_for::<ReplicaSet>(deps)
}

/// Makes the controller of a kind.
pub(crate) fn controller_for<K: Replicas>(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller::<K> {
        owners: deps.caches.of(),
        pods: deps.caches.of(),
        expectations: Arc::default(),
    })
}

#[async_trait]
impl<K: Replicas> Reconciler for Controller<K> {
    fn name(&self) -> &'static str {
        K::NAME
    }

    fn component(&self) -> &'static str {
        K::COMPONENT
    }

    fn watches(&self, watches: &mut Watches) {
        PodOwners {
            owners: self.owners.clone(),
            pods: self.pods.clone(),
            expectations: self.expectations.clone(),
            selects: K::selects,
        }
        .watch(watches);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(owner) = self.owners.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Action::Await);
        };
        let fulfilled = self.expectations.fulfilled(key);
        let candidates = pods::candidates(&self.pods, owner.meta());
        let claims = claim::sort(owner.meta(), candidates, |pod| owner.selects(pod));
        let owned = claim::settle(ctx, &*owner, &controller_ref(&*owner), claims).await?;
        let (replicas, min_ready_seconds) = owner.wanted();
        let metadata = owner.template().and_then(|template| template.metadata.as_ref());
        let related = owner.related(&self.owners, &self.pods);
        let snapshot = Snapshot {
            replicas,
            min_ready_seconds,
            template_labels: metadata.and_then(|metadata| metadata.labels.as_ref()),
            pods: &owned,
            related: &related,
        };
        let now = ctx.clock.now();
        let (mut managed, mut reason) = (Ok(()), "FailedCreate");
        if fulfilled && owner.meta().deletion_timestamp.is_none() {
            let step = plan::plan(&snapshot, now);
            if matches!(step, Step::Delete(_)) {
                reason = "FailedDelete";
            }
            let template = owner.template();
            managed = manage::manage(ctx, &self.expectations, &*owner, template, step).await;
        }
        let counts = plan::count(&snapshot, now);
        let failure = managed.as_ref().err().map(|failure| (reason, failure));
        write_status(ctx, &*owner, status(&*owner, counts, failure, now)).await?;
        managed?;
        Ok(counts.next_available.map_or(Action::Await, Action::After))
    }
}

impl Replicas for ReplicaSet {
    const NAME: &'static str = "replicaset-controller";
    const COMPONENT: &'static str = "replicaset-controller";
    const COUNTS_TERMINATING: bool = true;

    fn selects(&self, pod: &Pod) -> bool {
        self.spec.as_ref().is_some_and(|spec| {
            !selector::is_empty(&spec.selector)
                && selector::matches(&spec.selector, pod.metadata.labels.as_ref())
        })
    }

    fn wanted(&self) -> (i32, i32) {
        let spec = self.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas);
        (replicas.unwrap_or(1), spec.and_then(|spec| spec.min_ready_seconds).unwrap_or_default())
    }

    fn template(&self) -> Option<&PodTemplateSpec> {
        self.spec.as_ref()?.template.as_ref()
    }

    fn status(&self) -> Option<ReplicaSetStatus> {
        self.status.clone()
    }

    fn set_status(&mut self, status: ReplicaSetStatus) {
        self.status = Some(status);
    }

    /// The pods of all ReplicaSets that share this one's controller.
    fn related(&self, all: &Cache<Self>, pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
        let Some(controller) = controller_of(&self.metadata) else {
            return pods::controlled_by(pods, uid(&self.metadata));
        };
        all.list_in(namespace(&self.metadata))
            .iter()
            .filter(|sibling| is_controlled_by(&sibling.metadata, &controller.uid))
            .flat_map(|sibling| pods::controlled_by(pods, uid(&sibling.metadata)))
            .collect()
    }
}

/// The status that the counts and the outcome of managing make.
fn status<K: Replicas>(
    owner: &K,
    counts: Counts,
    failure: Option<(&str, &Failure)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let mut conditions = owner.status().and_then(|status| status.conditions).unwrap_or_default();
    let present = conditions.iter().any(|condition| condition.type_ == "ReplicaFailure");
    match failure {
        Some((reason, failure)) if !present => conditions.push(ReplicaSetCondition {
            type_: "ReplicaFailure".to_owned(),
            status: "True".to_owned(),
            reason: Some(reason.to_owned()),
            message: Some(failure.message.clone()),
            last_transition_time: Some(Time(now)),
        }),
        Some(_) => {}
        None => conditions.retain(|condition| condition.type_ != "ReplicaFailure"),
    }
    ReplicaSetStatus {
        replicas: counts.replicas,
        fully_labeled_replicas: Some(counts.fully_labeled),
        ready_replicas: Some(counts.ready),
        available_replicas: Some(counts.available),
        terminating_replicas: K::COUNTS_TERMINATING.then_some(counts.terminating),
        observed_generation: owner.meta().generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    }
}

async fn write_status<K: Replicas>(
    ctx: &Ctx,
    owner: &K,
    status: ReplicaSetStatus,
) -> Result<(), Error> {
    if owner.status().is_some_and(|old| same(&old, &status)) {
        return Ok(());
    }
    let mut updated = owner.clone();
    updated.set_status(status);
    reconcile::or_gone(ctx.writer.update_status(&updated).await)?;
    Ok(())
}

/// Whether two statuses say the same; an absent count and 0 do.
fn same(a: &ReplicaSetStatus, b: &ReplicaSetStatus) -> bool {
    let counts = |status: &ReplicaSetStatus| {
        let or_0 = |count: Option<i32>| count.unwrap_or_default();
        (
            status.replicas,
            or_0(status.fully_labeled_replicas),
            or_0(status.ready_replicas),
            or_0(status.available_replicas),
            or_0(status.terminating_replicas),
        )
    };
    let conditions = |status: &ReplicaSetStatus| status.conditions.clone().unwrap_or_default();
    counts(a) == counts(b)
        && a.observed_generation == b.observed_generation
        && conditions(a) == conditions(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::at;
    use reconcile::Class;

    #[test]
    fn the_failure_condition_comes_and_goes() {
        let failure = Failure {
            class: Class::Forbidden,
            attempt: "create pods".into(),
            message: "exceeded quota".into(),
            retry_after: None,
        };
        let mut rs = ReplicaSet::default();
        let failed = status(&rs, Counts::default(), Some(("FailedCreate", &failure)), at(0));
        let condition = failed.conditions.clone().unwrap().remove(0);
        assert_eq!(condition.reason.as_deref(), Some("FailedCreate"));
        assert_eq!(condition.message.as_deref(), Some("exceeded quota"));
        rs.status = Some(failed.clone());
        assert_eq!(status(&rs, Counts::default(), Some(("FailedCreate", &failure)), at(9)), failed);
        assert_eq!(status(&rs, Counts::default(), None, at(9)).conditions, None);
    }

    #[test]
    fn absent_counts_are_zero() {
        let zero = status(&ReplicaSet::default(), Counts::default(), None, at(0));
        assert!(same(&ReplicaSetStatus::default(), &zero));
    }
}
