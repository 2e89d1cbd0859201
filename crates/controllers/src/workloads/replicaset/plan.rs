//! What a ReplicaSet (or ReplicationController) does about the pods it has. Pure.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::common::pods::{self, Availability};

/// No more pods than this are created or deleted in one go.
const BURST: usize = 500;

/// What there is, and what is wanted.
pub(crate) struct Snapshot<'a> {
    /// How many pods are wanted.
    pub(crate) replicas: i32,
    /// How long a pod must be ready to count as available.
    pub(crate) min_ready_seconds: i32,
    /// The labels of the template.
    pub(crate) template_labels: Option<&'a BTreeMap<String, String>>,
    /// The owner's pods, ended and terminating ones too.
    pub(crate) pods: &'a [Arc<Pod>],
    /// The active pods of all siblings that one Deployment controls, for spreading deletions.
    pub(crate) related: &'a [Arc<Pod>],
}

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Step {
    Nothing,
    Create(usize),
    Delete(Vec<Arc<Pod>>),
}

/// What the status says about the pods.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) replicas: i32,
    pub(crate) fully_labeled: i32,
    pub(crate) ready: i32,
    pub(crate) available: i32,
    pub(crate) terminating: i32,
    /// When the next pod becomes available if nothing else happens.
    pub(crate) next_available: Option<Duration>,
}

/// Decides what is to be done.
pub(crate) fn plan(snapshot: &Snapshot<'_>, now: Timestamp) -> Step {
    let mut active: Vec<_> =
        snapshot.pods.iter().filter(|pod| pods::is_active(pod)).cloned().collect();
    let wanted = usize::try_from(snapshot.replicas).unwrap_or_default();
    if active.len() < wanted {
        return Step::Create((wanted - active.len()).min(BURST));
    }
    let excess = (active.len() - wanted).min(BURST);
    if excess == 0 {
        return Step::Nothing;
    }
    if wanted > 0 {
        pods::sort_for_deletion(&mut active, snapshot.related, now);
    }
    active.truncate(excess);
    Step::Delete(active)
}

/// Counts the pods for the status.
pub(crate) fn count(snapshot: &Snapshot<'_>, now: Timestamp) -> Counts {
    let mut counts = Counts::default();
    for pod in snapshot.pods {
        if pods::is_deleting(pod) && !pods::is_terminal(pod) {
            counts.terminating += 1;
        }
        if !pods::is_active(pod) {
            continue;
        }
        counts.replicas += 1;
        let labels = pod.metadata.labels.as_ref();
        let has = |(key, value)| labels.and_then(|labels| labels.get(key)) == Some(value);
        counts.fully_labeled += i32::from(snapshot.template_labels.into_iter().flatten().all(has));
        counts.ready += i32::from(pods::is_ready(pod));
        match pods::availability(pod, snapshot.min_ready_seconds, now) {
            Availability::Available => counts.available += 1,
            Availability::In(missing) => {
                let next = counts.next_available.map_or(missing, |next| next.min(missing));
                counts.next_available = Some(next);
            }
            Availability::NotReady => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::{at, pod, running};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    fn snapshot<'a>(replicas: i32, pods: &'a [Arc<Pod>]) -> Snapshot<'a> {
        Snapshot { replicas, min_ready_seconds: 10, template_labels: None, pods, related: pods }
    }

    fn fleet() -> Vec<Arc<Pod>> {
        let mut failed = pod("failed");
        failed.status.as_mut().unwrap().phase = Some("Failed".into());
        let mut leaving = running("leaving", "n1", Some(0));
        leaving.metadata.deletion_timestamp = Some(Time(at(50)));
        let fresh = running("fresh", "n2", Some(95));
        let all = [failed, leaving, running("old", "n1", Some(0)), fresh, pod("pending")];
        all.into_iter().map(Arc::new).collect()
    }

    #[test]
    fn ended_and_leaving_pods_are_replaced() {
        let check = |replicas, expected: &str| {
            let text = match plan(&snapshot(replicas, &fleet()), at(100)) {
                Step::Nothing => "nothing".to_owned(),
                Step::Create(count) => format!("create {count}"),
                Step::Delete(pods) => {
                    let names: Vec<_> =
                        pods.iter().filter_map(|pod| pod.metadata.name.clone()).collect();
                    format!("delete {}", names.join(" "))
                }
            };
            assert_eq!(text, expected);
        };
        check(5, "create 2");
        check(3, "nothing");
        check(1, "delete pending fresh");
        check(0, "delete old fresh pending");
        check(10_000, "create 500");
    }

    #[test]
    fn the_status_counts() {
        let counts = count(&snapshot(3, &fleet()), at(100));
        let expected = Counts {
            replicas: 3,
            fully_labeled: 3,
            ready: 2,
            available: 1,
            terminating: 1,
            next_available: Some(Duration::from_secs(5)),
        };
        assert_eq!(counts, expected);
    }
}
