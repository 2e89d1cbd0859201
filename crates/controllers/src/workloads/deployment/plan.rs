//! What a Deployment does about its ReplicaSets: one step of a rollout at a time. Pure.
//!
//! Sizes follow the specs of the ReplicaSets, health follows their statuses; a step is decided
//! from what is there, so that a controller that restarts goes on where the last one stopped.
//! (Kubernetes `pkg/controller/deployment`: `rolling.go`, `recreate.go`, `sync.go`)

use std::collections::HashMap;
use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::proportion;
use super::revisions::{self, DESIRED};
use crate::common::intstr::scaled;
use crate::common::owner::name;

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Create the new ReplicaSet, of this size.
    Create { size: i32, revision: i64 },
    /// Bring the new ReplicaSet's annotations or `minReadySeconds` up to date, without scaling.
    Refresh(Box<ReplicaSet>),
    /// Give a ReplicaSet another size, or the same with other annotations.
    Scale { rs: Arc<ReplicaSet>, to: i32 },
    /// Delete an old ReplicaSet that nobody will roll back to.
    Delete(Arc<ReplicaSet>),
}

/// The ReplicaSets of a Deployment.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sets {
    /// The one with the Deployment's template.
    pub(crate) new: Option<Arc<ReplicaSet>>,
    /// All others, the oldest first.
    pub(crate) old: Vec<Arc<ReplicaSet>>,
}

impl Sets {
    /// Sorts a Deployment's ReplicaSets.
    pub(crate) fn of(deployment: &Deployment, mut sets: Vec<Arc<ReplicaSet>>) -> Self {
        let new = revisions::find_new(deployment, &sets);
        revisions::sort_by_age(&mut sets);
        let is_new = |rs: &Arc<ReplicaSet>| {
            new.as_ref().is_some_and(|new| new.metadata.uid == rs.metadata.uid)
        };
        let old = sets.into_iter().filter(|rs| !is_new(rs)).collect();
        Self { new, old }
    }

    pub(crate) fn all(&self) -> impl Iterator<Item = &Arc<ReplicaSet>> {
        self.old.iter().chain(&self.new)
    }

    fn new_revision(&self) -> i64 {
        let newest = self.old.iter().map(|rs| revisions::revision(&rs.metadata)).max();
        newest.unwrap_or_default().saturating_add(1)
    }
}

/// The numbers of a rollout, percentages resolved.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) replicas: i32,
    pub(crate) surge: i32,
    pub(crate) unavailable: i32,
    pub(crate) rolling: bool,
}

impl Limits {
    pub(crate) fn of(deployment: &Deployment) -> Self {
        let spec = deployment.spec.as_ref();
        let replicas = spec.and_then(|spec| spec.replicas).unwrap_or(1);
        let strategy = spec.and_then(|spec| spec.strategy.as_ref());
        let rolling = strategy.and_then(|strategy| strategy.type_.as_deref()) != Some("Recreate");
        if !rolling {
            return Self { replicas, surge: 0, unavailable: 0, rolling };
        }
        let limits = strategy.and_then(|strategy| strategy.rolling_update.as_ref());
        let quarter =
            || k8s_openapi::apimachinery::pkg::util::intstr::IntOrString::String("25%".to_owned());
        let surge = limits.and_then(|l| l.max_surge.clone()).unwrap_or_else(quarter);
        let unavailable = limits.and_then(|l| l.max_unavailable.clone()).unwrap_or_else(quarter);
        let surge = scaled(&surge, replicas, true);
        let mut unavailable = scaled(&unavailable, replicas, false);
        if surge == 0 && unavailable == 0 {
            // Both may round to nothing, and then nothing would ever move.
            unavailable = 1;
        }
        Self { replicas, surge, unavailable: unavailable.min(replicas), rolling }
    }

    pub(crate) fn max(&self) -> i32 {
        self.replicas + self.surge
    }
}

/// Decides the next steps. `old_pods_run` says whether pods of old ReplicaSets have not ended.
pub(crate) fn plan(deployment: &Deployment, sets: &Sets, old_pods_run: bool) -> Vec<Step> {
    let limits = Limits::of(deployment);
    let paused = deployment.spec.as_ref().and_then(|spec| spec.paused).unwrap_or_default();
    let mut steps: Vec<Step> = refresh(deployment, sets).into_iter().collect();
    if paused {
        steps.extend(scale(deployment, sets, limits));
        steps.extend(clean(deployment, sets));
        return steps;
    }
    if is_scaling(sets, limits) {
        steps.extend(scale(deployment, sets, limits));
        return steps;
    }
    if !limits.rolling {
        recreate(&mut steps, sets, limits, old_pods_run);
    } else {
        rolling(&mut steps, sets, limits);
    }
    if steps.is_empty() && super::status::is_complete(deployment) {
        steps.extend(clean(deployment, sets));
    }
    steps
}

/// Whether an active ReplicaSet was last sized for another number of replicas.
fn is_scaling(sets: &Sets, limits: Limits) -> bool {
    sets.all().filter(|rs| size(rs) > 0).any(|rs| {
        revisions::number(&rs.metadata, DESIRED).is_some_and(|desired| desired != limits.replicas)
    })
}

fn refresh(deployment: &Deployment, sets: &Sets) -> Option<Step> {
    let new = sets.new.as_ref()?;
    let mut updated = (**new).clone();
    let mut changed = revisions::annotate(deployment, &mut updated.metadata, sets.new_revision());
    let wanted = deployment.spec.as_ref().and_then(|spec| spec.min_ready_seconds);
    let spec = updated.spec.get_or_insert_default();
    if spec.min_ready_seconds.unwrap_or_default() != wanted.unwrap_or_default() {
        spec.min_ready_seconds = wanted;
        changed = true;
    }
    changed.then(|| Step::Refresh(Box::new(updated)))
}

/// New pods up as far as the surge allows; then old ones down as far as availability allows.
fn rolling(steps: &mut Vec<Step>, sets: &Sets, limits: Limits) {
    let total: i32 = sets.all().map(|rs| size(rs)).sum();
    let Some(new) = &sets.new else {
        let size = grown(0, total, limits);
        steps.push(Step::Create { size, revision: sets.new_revision() });
        return;
    };
    let wanted = match size(new) {
        now if now >= limits.replicas => limits.replicas,
        now => grown(now, total, limits),
    };
    if wanted != size(new) {
        steps.push(Step::Scale { rs: new.clone(), to: wanted });
        return;
    }
    steps.extend(shrink_old(sets, new, total, limits));
}

/// How large the new ReplicaSet may become.
fn grown(now: i32, total: i32, limits: Limits) -> i32 {
    if !limits.rolling {
        return limits.replicas;
    }
    let room = (limits.max() - total).max(0);
    now + room.min(limits.replicas - now)
}

fn shrink_old(sets: &Sets, new: &ReplicaSet, total: i32, limits: Limits) -> Vec<Step> {
    let must_be_available = limits.replicas - limits.unavailable;
    let mut sizes: HashMap<&str, i32> =
        sets.old.iter().map(|rs| (name(&rs.metadata), size(rs))).collect();
    let new_unavailable = size(new) - available(new);
    let may_go = total - must_be_available - new_unavailable;
    if may_go <= 0 {
        return Vec::new();
    }
    // Pods that are not available go first: they serve nobody, and would block the rollout.
    let mut gone = 0;
    for rs in &sets.old {
        let unhealthy = size(rs) - available(rs);
        let less = unhealthy.min(may_go - gone).max(0);
        gone += less;
        sizes.entry(name(&rs.metadata)).and_modify(|size| *size -= less);
    }
    let all_available: i32 = sets.all().map(|rs| available(rs)).sum();
    let mut spare = (all_available - must_be_available).max(0);
    for rs in &sets.old {
        let Some(size) = sizes.get_mut(name(&rs.metadata)) else { continue };
        let less = (*size).min(spare);
        spare -= less;
        *size -= less;
    }
    sets.old
        .iter()
        .filter_map(|rs| {
            let to = *sizes.get(name(&rs.metadata))?;
            (to != size(rs)).then(|| Step::Scale { rs: rs.clone(), to })
        })
        .collect()
}

/// Old pods down to nothing; new ones only when not one old pod runs.
fn recreate(steps: &mut Vec<Step>, sets: &Sets, limits: Limits, old_pods_run: bool) {
    let down: Vec<_> = sets
        .old
        .iter()
        .filter(|rs| size(rs) > 0)
        .map(|rs| Step::Scale { rs: rs.clone(), to: 0 })
        .collect();
    if !down.is_empty() {
        steps.extend(down);
        return;
    }
    if old_pods_run {
        return;
    }
    match &sets.new {
        None => steps.push(Step::Create { size: limits.replicas, revision: sets.new_revision() }),
        Some(new) if size(new) != limits.replicas => {
            steps.push(Step::Scale { rs: new.clone(), to: limits.replicas });
        }
        Some(_) => {}
    }
}

/// Follows a change of the wanted size, in the middle of a rollout or of a pause: every
/// ReplicaSet grows or shrinks in proportion.
fn scale(deployment: &Deployment, sets: &Sets, limits: Limits) -> Vec<Step> {
    let active: Vec<_> = sets.all().filter(|rs| size(rs) > 0).cloned().collect();
    let only = match active.as_slice() {
        [] => sets.new.clone().or_else(|| sets.old.last().cloned()),
        [one] => Some(one.clone()),
        _ => None,
    };
    if let Some(rs) = only {
        return sized(rs, limits.replicas, limits).into_iter().collect();
    }
    if active.is_empty() {
        return Vec::new();
    }
    if sets.new.as_ref().is_some_and(|new| is_saturated(new, limits)) {
        let old = sets.old.iter().filter(|rs| size(rs) > 0);
        return old.filter_map(|rs| sized(rs.clone(), 0, limits)).collect();
    }
    if !limits.rolling {
        return Vec::new();
    }
    proportion::share(deployment, active, limits)
        .into_iter()
        .filter_map(|(rs, to)| sized(rs, to, limits))
        .collect()
}

/// A step unless the size and the annotations are right already.
fn sized(rs: Arc<ReplicaSet>, to: i32, limits: Limits) -> Option<Step> {
    let mut meta = rs.metadata.clone();
    let stale = revisions::annotate_sizes(&mut meta, limits.replicas, limits.max());
    (stale || size(&rs) != to).then_some(Step::Scale { rs, to })
}

fn is_saturated(new: &ReplicaSet, limits: Limits) -> bool {
    size(new) == limits.replicas
        && available(new) == limits.replicas
        && revisions::number(&new.metadata, DESIRED) == Some(limits.replicas)
}

/// Deletes old, empty ReplicaSets beyond the history that is kept, the oldest revision first.
fn clean(deployment: &Deployment, sets: &Sets) -> Vec<Step> {
    let limit = deployment.spec.as_ref().and_then(|spec| spec.revision_history_limit);
    let limit = usize::try_from(limit.unwrap_or(10)).unwrap_or_default();
    let mut alive: Vec<_> =
        sets.old.iter().filter(|rs| rs.metadata.deletion_timestamp.is_none()).collect();
    let excess = alive.len().saturating_sub(limit);
    alive.sort_by_key(|rs| revisions::revision(&rs.metadata));
    alive
        .into_iter()
        .take(excess)
        .filter(|rs| {
            let status = rs.status.as_ref();
            size(rs) == 0
                && status.is_none_or(|status| status.replicas == 0)
                && rs.metadata.generation <= status.and_then(|status| status.observed_generation)
        })
        .map(|rs| Step::Delete(rs.clone()))
        .collect()
}

/// How many pods a ReplicaSet is told to have.
pub(crate) fn size(rs: &ReplicaSet) -> i32 {
    rs.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default()
}

/// How many of its pods are available.
pub(crate) fn available(rs: &ReplicaSet) -> i32 {
    rs.status.as_ref().and_then(|status| status.available_replicas).unwrap_or_default()
}

#[cfg(test)]
#[path = "plan_tests.rs"]
pub(crate) mod tests;
