//! How several ReplicaSets share a change of the wanted size. Pure.
//!
//! Each gets its share of the difference by its size, rounded; what rounding leaves over goes to
//! the largest. (Kubernetes `scale` and `GetReplicaSetProportion`)

use std::sync::Arc;

use k8s_openapi::api::apps::v1::{Deployment, ReplicaSet};

use super::plan::{Limits, size};
use super::revisions::{self, MAX};

/// The sizes of the active ReplicaSets after a change of the Deployment's size.
pub(crate) fn share(
    deployment: &Deployment,
    mut active: Vec<Arc<ReplicaSet>>,
    limits: Limits,
) -> Vec<(Arc<ReplicaSet>, i32)> {
    let total: i32 = active.iter().map(|rs| size(rs)).sum();
    let allowed = if limits.replicas > 0 { limits.max() } else { 0 };
    let difference = allowed - total;
    // The largest first; of equal ones, the newest grows and the oldest shrinks.
    revisions::sort_by_age(&mut active);
    if difference > 0 {
        active.reverse();
    }
    active.sort_by_key(|rs| std::cmp::Reverse(size(rs)));
    let mut given = 0;
    let mut shares: Vec<_> = active
        .into_iter()
        .map(|rs| {
            let part = part(deployment, &rs, limits, difference, given);
            given += part;
            let to = size(&rs) + part;
            (rs, to)
        })
        .collect();
    if difference != 0
        && let Some((_, first)) = shares.first_mut()
    {
        *first = (*first + difference - given).max(0);
    }
    shares
}

fn part(
    deployment: &Deployment,
    rs: &ReplicaSet,
    limits: Limits,
    difference: i32,
    given: i32,
) -> i32 {
    if size(rs) == 0 || difference == 0 || difference == given {
        return 0;
    }
    let fraction = fraction(deployment, rs, limits);
    let left = difference - given;
    if difference > 0 { fraction.min(left) } else { fraction.max(left) }
}

fn fraction(deployment: &Deployment, rs: &ReplicaSet, limits: Limits) -> i32 {
    if limits.replicas == 0 {
        return -size(rs);
    }
    let before = revisions::number(&rs.metadata, MAX)
        .filter(|max| *max > 0)
        .or_else(|| deployment.status.as_ref().and_then(|status| status.replicas))
        .filter(|max| *max > 0);
    let Some(before) = before else { return 0 };
    let exact = f64::from(size(rs)) * f64::from(limits.max()) / f64::from(before);
    #[expect(clippy::cast_possible_truncation, reason = "sizes are far below 2^31")]
    let rounded = exact.round() as i32;
    rounded - size(rs)
}
