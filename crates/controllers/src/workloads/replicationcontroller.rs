//! ReplicationController: a ReplicaSet's elder, whose selector is a map of equalities.
//!
//! Shares ReplicaSet's controller; only the object's form differs.
//! (Kubernetes `pkg/controller/replication`)

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{ReplicaSetCondition, ReplicaSetStatus};
use k8s_openapi::api::core::v1::{
    Pod, PodTemplateSpec, ReplicationController, ReplicationControllerCondition,
    ReplicationControllerStatus,
};
use reconcile::Reconciler;

use super::replicaset::{Replicas, controller_for};
use crate::common::selector;
use crate::deps::Deps;

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    controller_for::<ReplicationController>(deps)
}

impl Replicas for ReplicationController {
    const NAME: &'static str = "replicationcontroller-controller";
    const COMPONENT: &'static str = "replication-controller";
    const COUNTS_TERMINATING: bool = false;

    fn selects(&self, pod: &Pod) -> bool {
        let selector = self.spec.as_ref().and_then(|spec| spec.selector.as_ref());
        selector.is_some_and(|map| selector::map_matches(map, pod.metadata.labels.as_ref()))
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
        let own = self.status.as_ref()?;
        let conditions = own.conditions.iter().flatten().map(|own| ReplicaSetCondition {
            type_: own.type_.clone(),
            status: own.status.clone(),
            reason: own.reason.clone(),
            message: own.message.clone(),
            last_transition_time: own.last_transition_time.clone(),
        });
        Some(ReplicaSetStatus {
            replicas: own.replicas,
            fully_labeled_replicas: own.fully_labeled_replicas,
            ready_replicas: own.ready_replicas,
            available_replicas: own.available_replicas,
            terminating_replicas: None,
            observed_generation: own.observed_generation,
            conditions: own.conditions.is_some().then(|| conditions.collect()),
        })
    }

    fn set_status(&mut self, status: ReplicaSetStatus) {
        let conditions = status.conditions.map(|all| {
            let own = all.into_iter().map(|one| ReplicationControllerCondition {
                type_: one.type_,
                status: one.status,
                reason: one.reason,
                message: one.message,
                last_transition_time: one.last_transition_time,
            });
            own.collect()
        });
        self.status = Some(ReplicationControllerStatus {
            replicas: status.replicas,
            fully_labeled_replicas: status.fully_labeled_replicas,
            ready_replicas: status.ready_replicas,
            available_replicas: status.available_replicas,
            observed_generation: status.observed_generation,
            conditions,
        });
    }
}
