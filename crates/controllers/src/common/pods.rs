//! What controllers ask of pods: are they active, ready, available; which one goes first.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodTemplateSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use reconcile::Cache;

use super::owner::{annotation, controller_of, namespace};

/// The index of pods by their controller, and of orphans by their namespace.
const BY_CONTROLLER: &str = "podController";

/// Adds the index that [`candidates`] reads.
pub(crate) fn index_by_controller(pods: &Cache<Pod>) {
    pods.add_index(BY_CONTROLLER, |pod, emit| match controller_of(&pod.metadata) {
        Some(owner) => emit(&owner.uid),
        None => emit(&format!("orphans/{}", namespace(&pod.metadata))),
    });
}

/// The pods that an owner controls.
pub(crate) fn controlled_by(pods: &Cache<Pod>, uid: &str) -> Vec<Arc<Pod>> {
    pods.by_index(BY_CONTROLLER, uid)
}

/// The pods that an owner controls, and the orphans of its namespace.
pub(crate) fn candidates(pods: &Cache<Pod>, owner: &ObjectMeta) -> Vec<Arc<Pod>> {
    let mut found = controlled_by(pods, owner.uid.as_deref().unwrap_or_default());
    found.extend(pods.by_index(BY_CONTROLLER, &format!("orphans/{}", namespace(owner))));
    found
}

/// `status.phase`, empty when absent.
pub(crate) fn phase(pod: &Pod) -> &str {
    pod.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or_default()
}

/// Whether all containers have ended for good.
pub(crate) fn is_terminal(pod: &Pod) -> bool {
    matches!(phase(pod), "Succeeded" | "Failed")
}

/// Whether a pod is being deleted.
pub(crate) fn is_deleting(pod: &Pod) -> bool {
    pod.metadata.deletion_timestamp.is_some()
}

/// Whether a pod counts as a replica: neither ended nor being deleted.
pub(crate) fn is_active(pod: &Pod) -> bool {
    !is_terminal(pod) && !is_deleting(pod)
}

/// A condition of a pod.
pub(crate) fn condition<'a>(pod: &'a Pod, kind: &str) -> Option<&'a PodCondition> {
    let conditions = pod.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == kind)
}

/// Whether a pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    condition(pod, "Ready").is_some_and(|condition| condition.status == "True")
}

/// Since when a pod is ready.
pub(crate) fn ready_since(pod: &Pod) -> Option<Timestamp> {
    let ready = condition(pod, "Ready").filter(|condition| condition.status == "True")?;
    ready.last_transition_time.as_ref().map(|time| time.0)
}

/// Whether a pod has been ready for so long; if it is ready but not yet for so long, the time
/// that is missing.
pub(crate) fn availability(pod: &Pod, min_ready_seconds: i32, now: Timestamp) -> Availability {
    if !is_ready(pod) {
        return Availability::NotReady;
    }
    if min_ready_seconds <= 0 {
        return Availability::Available;
    }
    let Some(since) = ready_since(pod) else { return Availability::NotReady };
    let wanted = base::clock::SignedDuration::from_secs(min_ready_seconds.into());
    let missing = wanted.saturating_sub(now.duration_since(since));
    match Duration::try_from(missing) {
        Ok(missing) if !missing.is_zero() => Availability::In(missing),
        _ => Availability::Available,
    }
}

/// What [`availability`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Availability {
    NotReady,
    /// Ready, and available when it stays so for this time.
    In(Duration),
    Available,
}

/// A pod made from a template for an owner; the server completes the name.
pub(crate) fn from_template(
    template: &PodTemplateSpec,
    owner: &ObjectMeta,
    reference: OwnerReference,
) -> Pod {
    let given = template.metadata.clone().unwrap_or_default();
    Pod {
        metadata: ObjectMeta {
            labels: given.labels,
            annotations: given.annotations,
            finalizers: given.finalizers,
            generate_name: Some(prefix(owner.name.as_deref().unwrap_or_default())),
            namespace: owner.namespace.clone(),
            owner_references: Some(vec![reference]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// `NAME-`, unless that is no valid start of a pod's name.
fn prefix(owner: &str) -> String {
    let prefix = format!("{owner}-");
    // A label's 63 less the suffix does not matter here: names may have 253 characters.
    if prefix.len() <= 253 { prefix } else { owner.to_owned() }
}

/// Sorts pods so that those to be deleted first come first.
///
/// Unassigned, pending, not ready, cheap, crowded, lately ready, often restarted, young: in this
/// order. (Kubernetes `ActivePodsWithRanks`, KEPs 2255 and 2185.)
pub(crate) fn sort_for_deletion(pods: &mut [Arc<Pod>], related: &[Arc<Pod>], now: Timestamp) {
    let mut on_node: HashMap<&str, usize> = HashMap::new();
    for pod in related.iter().filter(|pod| is_active(pod)) {
        *on_node.entry(node(pod)).or_default() += 1;
    }
    let crowd = |pod: &Pod| on_node.get(node(pod)).copied().unwrap_or_default();
    pods.sort_by_cached_key(|pod| {
        (
            !node(pod).is_empty(),
            match phase(pod) {
                "Pending" => 0,
                "Unknown" => 1,
                _ => 2,
            },
            is_ready(pod),
            deletion_cost(pod),
            std::cmp::Reverse(crowd(pod)),
            ready_since(pod).map(|since| magnitude(since, now)),
            std::cmp::Reverse(restarts(pod)),
            pod.metadata.creation_timestamp.as_ref().map(|time| magnitude(time.0, now)),
            pod.metadata.uid.clone(),
        )
    });
}

fn node(pod: &Pod) -> &str {
    pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).unwrap_or_default()
}

fn deletion_cost(pod: &Pod) -> i32 {
    annotation(&pod.metadata, "controller.kubernetes.io/pod-deletion-cost")
        .and_then(|cost| cost.parse().ok())
        .unwrap_or_default()
}

fn restarts(pod: &Pod) -> i32 {
    let statuses = pod.status.iter().flat_map(|status| status.container_statuses.iter().flatten());
    statuses.map(|status| status.restart_count).max().unwrap_or_default()
}

/// The power of two of an age: pods of about the same age count as equally old, so that not
/// always the youngest of a deployment goes.
fn magnitude(since: Timestamp, now: Timestamp) -> i64 {
    let nanos = now.duration_since(since).as_nanos().max(0).unsigned_abs();
    i64::from(nanos.checked_ilog2().unwrap_or_default())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::{ContainerStatus, PodSpec, PodStatus};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    pub(crate) fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    pub(crate) fn pod(name: &str) -> Pod {
        Pod {
            metadata: ObjectMeta {
                name: Some(name.into()),
                namespace: Some("n".into()),
                uid: Some(format!("uid-{name}")),
                creation_timestamp: Some(Time(at(0))),
                ..ObjectMeta::default()
            },
            spec: Some(PodSpec::default()),
            status: Some(PodStatus { phase: Some("Pending".into()), ..PodStatus::default() }),
        }
    }

    pub(crate) fn running(name: &str, node: &str, ready_at: Option<i64>) -> Pod {
        let mut pod = pod(name);
        pod.spec.as_mut().unwrap().node_name = Some(node.into());
        let status = pod.status.as_mut().unwrap();
        status.phase = Some("Running".into());
        status.conditions = Some(vec![PodCondition {
            type_: "Ready".into(),
            status: if ready_at.is_some() { "True" } else { "False" }.into(),
            last_transition_time: ready_at.map(|second| Time(at(second))),
            ..PodCondition::default()
        }]);
        pod
    }

    #[test]
    fn the_order_of_deletion() {
        let mut cheap = running("cheap", "n1", Some(0));
        cheap.metadata.annotations =
            Some([("controller.kubernetes.io/pod-deletion-cost".into(), "-1".into())].into());
        let mut restarted = running("restarted", "n2", Some(0));
        restarted.status.as_mut().unwrap().container_statuses =
            Some(vec![ContainerStatus { restart_count: 3, ..ContainerStatus::default() }]);
        let mut young = running("young", "n3", Some(0));
        young.metadata.creation_timestamp = Some(Time(at(9_000)));
        let mut pods: Vec<Arc<Pod>> = vec![
            running("old", "n4", Some(0)),
            young,
            restarted,
            running("fresh", "n5", Some(9_990)),
            running("crowded", "n6", Some(0)),
            cheap,
            running("unready", "n7", None),
            pod("unassigned"),
        ]
        .into_iter()
        .map(Arc::new)
        .collect();
        let mut related = pods.clone();
        related.push(Arc::new(running("neighbour", "n6", Some(0))));
        sort_for_deletion(&mut pods, &related, at(10_000));
        let names: Vec<_> = pods.iter().filter_map(|pod| pod.metadata.name.as_deref()).collect();
        assert_eq!(
            names,
            ["unassigned", "unready", "cheap", "crowded", "fresh", "restarted", "young", "old"]
        );
    }

    #[test]
    fn available_after_min_ready_seconds() {
        let pod = running("x", "n", Some(0));
        assert_eq!(availability(&pod, 0, at(0)), Availability::Available);
        assert_eq!(availability(&pod, 10, at(4)), Availability::In(Duration::from_secs(6)));
        assert_eq!(availability(&pod, 10, at(10)), Availability::Available);
        assert_eq!(availability(&running("y", "n", None), 0, at(0)), Availability::NotReady);
    }
}
