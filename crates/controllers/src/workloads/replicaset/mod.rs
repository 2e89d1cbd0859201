//! ReplicaSet: as many pods of a template as wanted, no more and no fewer.
//!
//! (Kubernetes `pkg/controller/replicaset`)

pub(crate) mod manage;
pub(crate) mod plan;

use std::sync::Arc;

use async_trait::async_trait;
use base::clock::Timestamp;
use k8s_openapi::api::apps::v1::{ReplicaSet, ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Action, Cache, Ctx, Error, Expectations, Failure, Key, Reconciler, Watches};

use self::plan::{Counts, Snapshot, Step};
use crate::common::owner::{controller_of, controller_ref, is_controlled_by, namespace, uid};
use crate::common::watch::PodOwners;
use crate::common::{claim, pods, selector};
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    replicasets: Cache<ReplicaSet>,
    pods: Cache<Pod>,
    expectations: Arc<Expectations>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        replicasets: deps.caches.of(),
        pods: deps.caches.of(),
        expectations: Arc::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "replicaset-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        PodOwners {
            owners: self.replicasets.clone(),
            pods: self.pods.clone(),
            expectations: self.expectations.clone(),
            selects,
        }
        .watch(watches);
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(rs) = self.replicasets.get_key(key) else {
            self.expectations.forget(key);
            return Ok(Action::Await);
        };
        let fulfilled = self.expectations.fulfilled(key);
        let claims = claim::sort(&rs.metadata, pods::candidates(&self.pods, &rs.metadata), |pod| {
            selects(&rs, pod)
        });
        let owned = claim::settle(ctx, &*rs, &controller_ref(&*rs), claims).await?;
        let spec = rs.spec.clone().unwrap_or_default();
        let template_labels = spec
            .template
            .as_ref()
            .and_then(|template| template.metadata.as_ref())
            .and_then(|metadata| metadata.labels.as_ref());
        let related = self.related(&rs);
        let snapshot = Snapshot {
            replicas: spec.replicas.unwrap_or(1),
            min_ready_seconds: spec.min_ready_seconds.unwrap_or_default(),
            template_labels,
            pods: &owned,
            related: &related,
        };
        let now = ctx.clock.now();
        let (mut managed, mut reason) = (Ok(()), "FailedCreate");
        if fulfilled && rs.metadata.deletion_timestamp.is_none() {
            let step = plan::plan(&snapshot, now);
            if matches!(step, Step::Delete(_)) {
                reason = "FailedDelete";
            }
            managed =
                manage::manage(ctx, &self.expectations, &*rs, spec.template.as_ref(), step).await;
        }
        let counts = plan::count(&snapshot, now);
        let failure = managed.as_ref().err().map(|failure| (reason, failure));
        write_status(ctx, &rs, status(&rs, counts, failure, now)).await?;
        managed?;
        Ok(counts.next_available.map_or(Action::Await, Action::After))
    }
}

impl Controller {
    /// The pods of all ReplicaSets that share this one's controller.
    fn related(&self, rs: &ReplicaSet) -> Vec<Arc<Pod>> {
        let Some(controller) = controller_of(&rs.metadata) else {
            return pods::controlled_by(&self.pods, uid(&rs.metadata));
        };
        self.replicasets
            .list_in(namespace(&rs.metadata))
            .iter()
            .filter(|sibling| is_controlled_by(&sibling.metadata, &controller.uid))
            .flat_map(|sibling| pods::controlled_by(&self.pods, uid(&sibling.metadata)))
            .collect()
    }
}

fn selects(rs: &ReplicaSet, pod: &Pod) -> bool {
    rs.spec.as_ref().is_some_and(|spec| {
        !selector::is_empty(&spec.selector)
            && selector::matches(&spec.selector, pod.metadata.labels.as_ref())
    })
}

/// The status that the counts and the outcome of managing make.
fn status(
    rs: &ReplicaSet,
    counts: Counts,
    failure: Option<(&str, &Failure)>,
    now: Timestamp,
) -> ReplicaSetStatus {
    let mut conditions =
        rs.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
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
        terminating_replicas: Some(counts.terminating),
        observed_generation: rs.metadata.generation,
        conditions: (!conditions.is_empty()).then_some(conditions),
    }
}

async fn write_status(ctx: &Ctx, rs: &ReplicaSet, status: ReplicaSetStatus) -> Result<(), Error> {
    if rs.status.as_ref().is_some_and(|old| same(old, &status)) {
        return Ok(());
    }
    let mut updated = rs.clone();
    updated.status = Some(status);
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
