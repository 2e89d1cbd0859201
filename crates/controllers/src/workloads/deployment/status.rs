//! What a Deployment's status says: counts and the three conditions. Pure.
//!
//! (Kubernetes `progress.go`, `sync.go`, `util/deployment_util.go`)

use std::time::Duration;

use base::clock::{SignedDuration, Timestamp};
use k8s_openapi::api::apps::v1::{Deployment, DeploymentCondition, DeploymentStatus, ReplicaSet};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::plan::{Limits, Sets, available, size};
use crate::common::owner::name;

const AVAILABLE: &str = "Available";
const PROGRESSING: &str = "Progressing";
const REPLICA_FAILURE: &str = "ReplicaFailure";
pub(crate) const NEW_AVAILABLE: &str = "NewReplicaSetAvailable";
const TIMED_OUT: &str = "ProgressDeadlineExceeded";
const PAUSED: &str = "DeploymentPaused";
const RESUMED: &str = "DeploymentResumed";

/// A condition as it is to be set.
pub(crate) fn condition(
    kind: &str,
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    DeploymentCondition {
        type_: kind.to_owned(),
        status: status.to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message),
        last_update_time: Some(Time(now)),
        last_transition_time: Some(Time(now)),
    }
}

/// A condition about progress.
pub(crate) fn progressing(
    status: &str,
    reason: &str,
    message: String,
    now: Timestamp,
) -> DeploymentCondition {
    condition(PROGRESSING, status, reason, message, now)
}

/// Whether the status that is stored says that the rollout is complete.
pub(crate) fn is_complete(deployment: &Deployment) -> bool {
    deployment.status.as_ref().is_some_and(|status| complete(deployment, status))
}

fn complete(deployment: &Deployment, status: &DeploymentStatus) -> bool {
    let replicas = Limits::of(deployment).replicas;
    [status.updated_replicas, status.replicas, status.available_replicas]
        .into_iter()
        .all(|count| count.unwrap_or_default() == replicas)
        && status.observed_generation >= deployment.metadata.generation
}

/// The status that follows from the ReplicaSets, and when to look again for the deadline.
pub(crate) fn compute(
    deployment: &Deployment,
    sets: &Sets,
    now: Timestamp,
) -> (DeploymentStatus, Option<Duration>) {
    let mut status = counts(deployment, sets);
    let mut conditions = status.conditions.take().unwrap_or_default();
    let limits = Limits::of(deployment);
    let enough =
        status.available_replicas.unwrap_or_default() >= limits.replicas - limits.unavailable;
    let availability = if enough {
        let text = "Deployment has minimum availability.";
        condition(AVAILABLE, "True", "MinimumReplicasAvailable", text.to_owned(), now)
    } else {
        let text = "Deployment does not have minimum availability.";
        condition(AVAILABLE, "False", "MinimumReplicasUnavailable", text.to_owned(), now)
    };
    set(&mut conditions, availability);
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or_default();
    pause(&mut conditions, paused, deadline(deployment).is_some(), now);
    let mut again = None;
    if !paused {
        again = progress(deployment, sets, &status, &mut conditions, now);
        match failure(sets) {
            Some(failed) => set(&mut conditions, failed),
            None => conditions.retain(|condition| condition.type_ != REPLICA_FAILURE),
        }
    }
    status.conditions = (!conditions.is_empty()).then_some(conditions);
    (status, again)
}

fn counts(deployment: &Deployment, sets: &Sets) -> DeploymentStatus {
    let old = deployment.status.clone().unwrap_or_default();
    let sum = |count: fn(&ReplicaSet) -> i32| -> i32 { sets.all().map(|rs| count(rs)).sum() };
    let is_available = sum(available);
    let updated = sets.new.as_ref().and_then(|new| new.status.as_ref()).map_or(0, |s| s.replicas);
    DeploymentStatus {
        observed_generation: deployment.metadata.generation,
        replicas: Some(sum(|rs| rs.status.as_ref().map_or(0, |status| status.replicas))),
        updated_replicas: Some(updated),
        ready_replicas: Some(sum(|rs| {
            rs.status.as_ref().and_then(|status| status.ready_replicas).unwrap_or_default()
        })),
        available_replicas: Some(is_available),
        unavailable_replicas: Some((sum(size) - is_available).max(0)),
        terminating_replicas: Some(sum(|rs| {
            rs.status.as_ref().and_then(|status| status.terminating_replicas).unwrap_or_default()
        })),
        collision_count: old.collision_count,
        conditions: old.conditions,
    }
}

fn pause(
    conditions: &mut Vec<DeploymentCondition>,
    paused: bool,
    has_deadline: bool,
    now: Timestamp,
) {
    if !has_deadline {
        return;
    }
    let reason = find(conditions, PROGRESSING).and_then(|found| found.reason.clone());
    if reason.as_deref() == Some(TIMED_OUT) {
        return;
    }
    let was_paused = reason.as_deref() == Some(PAUSED);
    if paused && !was_paused {
        set(conditions, progressing("Unknown", PAUSED, "Deployment is paused".to_owned(), now));
    } else if !paused && was_paused {
        // The clock of the deadline starts anew with this.
        set(conditions, progressing("Unknown", RESUMED, "Deployment is resumed".to_owned(), now));
    }
}

fn progress(
    deployment: &Deployment,
    sets: &Sets,
    status: &DeploymentStatus,
    conditions: &mut Vec<DeploymentCondition>,
    now: Timestamp,
) -> Option<Duration> {
    let Some(deadline) = deadline(deployment) else {
        conditions.retain(|condition| condition.type_ != PROGRESSING);
        return None;
    };
    let current = find(conditions, PROGRESSING).cloned();
    let was_complete = current.as_ref().and_then(|c| c.reason.as_deref()) == Some(NEW_AVAILABLE);
    if was_complete && status.replicas == status.updated_replicas {
        return None;
    }
    let what = sets.new.as_ref().map_or_else(
        || format!("Deployment \"{}\"", name(&deployment.metadata)),
        |new| format!("ReplicaSet \"{}\"", name(&new.metadata)),
    );
    if complete(deployment, status) {
        let text = format!("{what} has successfully progressed.");
        set(conditions, progressing("True", NEW_AVAILABLE, text, now));
    } else if moved(deployment, status) {
        let text = format!("{what} is progressing.");
        let mut renewed = progressing("True", "ReplicaSetUpdated", text, now);
        if let Some(current) = current.filter(|current| current.status == "True") {
            renewed.last_transition_time = current.last_transition_time;
        }
        // Set anew even when status and reason are the same: the deadline counts from here.
        conditions.retain(|condition| condition.type_ != PROGRESSING);
        conditions.push(renewed);
    } else if current.as_ref().is_some_and(|current| is_late(current, deadline, now)) {
        let text = format!("{what} has timed out progressing.");
        set(conditions, progressing("False", TIMED_OUT, text, now));
    }
    time_left(find(conditions, PROGRESSING)?, deadline, now)
}

fn moved(deployment: &Deployment, new: &DeploymentStatus) -> bool {
    let old = deployment.status.clone().unwrap_or_default();
    let n = |count: Option<i32>| count.unwrap_or_default();
    let outdated = |status: &DeploymentStatus| n(status.replicas) - n(status.updated_replicas);
    n(new.updated_replicas) > n(old.updated_replicas)
        || outdated(new) < outdated(&old)
        || n(new.ready_replicas) > n(old.ready_replicas)
        || n(new.available_replicas) > n(old.available_replicas)
}

fn is_late(current: &DeploymentCondition, deadline: SignedDuration, now: Timestamp) -> bool {
    match current.reason.as_deref() {
        Some(TIMED_OUT) => true,
        Some(NEW_AVAILABLE | PAUSED) => false,
        _ => current
            .last_update_time
            .as_ref()
            .is_some_and(|since| now.duration_since(since.0) >= deadline),
    }
}

fn time_left(
    current: &DeploymentCondition,
    deadline: SignedDuration,
    now: Timestamp,
) -> Option<Duration> {
    if matches!(current.reason.as_deref(), Some(NEW_AVAILABLE | TIMED_OUT | PAUSED)) {
        return None;
    }
    let since = current.last_update_time.as_ref()?.0;
    let left = deadline - now.duration_since(since);
    // A second more: times are stored in whole seconds.
    Some(Duration::try_from(left).unwrap_or_default() + Duration::from_secs(1))
}

/// What a ReplicaSet, the new one first, says about pods that it could not make.
fn failure(sets: &Sets) -> Option<DeploymentCondition> {
    let failed = |rs: &ReplicaSet| {
        let conditions = rs.status.as_ref()?.conditions.as_ref()?;
        let found = conditions.iter().find(|condition| condition.type_ == REPLICA_FAILURE)?;
        Some(DeploymentCondition {
            type_: REPLICA_FAILURE.to_owned(),
            status: found.status.clone(),
            reason: found.reason.clone(),
            message: found.message.clone(),
            last_update_time: found.last_transition_time.clone(),
            last_transition_time: found.last_transition_time.clone(),
        })
    };
    sets.new.iter().chain(&sets.old).find_map(|rs| failed(rs))
}

/// The deadline; the largest number means none.
pub(crate) fn deadline(deployment: &Deployment) -> Option<SignedDuration> {
    let spec = deployment.spec.as_ref()?;
    let seconds = spec.progress_deadline_seconds.filter(|seconds| *seconds != i32::MAX)?;
    Some(SignedDuration::from_secs(seconds.into()))
}

fn find<'a>(conditions: &'a [DeploymentCondition], kind: &str) -> Option<&'a DeploymentCondition> {
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Sets a condition; one that says the same stays as it is, one that changes only its reason
/// keeps the time of its last transition.
pub(crate) fn set(conditions: &mut Vec<DeploymentCondition>, mut new: DeploymentCondition) {
    if let Some(old) = find(conditions, &new.type_) {
        if old.status == new.status && old.reason == new.reason {
            return;
        }
        if old.status == new.status {
            new.last_transition_time.clone_from(&old.last_transition_time);
        }
    }
    conditions.retain(|condition| condition.type_ != new.type_);
    conditions.push(new);
}

/// Whether two statuses say the same; an absent count and 0 do.
pub(crate) fn same(a: &DeploymentStatus, b: &DeploymentStatus) -> bool {
    let key = |status: &DeploymentStatus| {
        let counts = [
            status.replicas,
            status.updated_replicas,
            status.ready_replicas,
            status.available_replicas,
            status.unavailable_replicas,
            status.terminating_replicas,
        ];
        (counts.map(Option::unwrap_or_default), status.observed_generation, status.collision_count)
    };
    key(a) == key(b)
        && a.conditions.as_deref().unwrap_or_default()
            == b.conditions.as_deref().unwrap_or_default()
}

#[cfg(test)]
#[path = "status_tests.rs"]
mod tests;
