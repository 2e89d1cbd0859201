//! What a StatefulSet does next: one pod after the other, up from the first, down from the last.
//! Pure.
//!
//! (Kubernetes `pkg/controller/statefulset/stateful_set_control.go`)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Timestamp;
use k8s_openapi::api::apps::v1::{StatefulSet, StatefulSetStatus};
use k8s_openapi::api::core::v1::Pod;

use super::identity::ordinal;
use crate::common::history;
use crate::common::intstr::scaled;
use crate::common::pods::{self, Availability};

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Step {
    /// Make the pod of an ordinal, from the update revision or the current one.
    Create { ordinal: i32, updated: bool },
    /// Delete a pod; it is made again when its ordinal is wanted.
    Delete(Arc<Pod>),
}

/// The revisions that matter: what is rolled out, and what was before.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Revisions<'a> {
    pub(crate) current: &'a str,
    pub(crate) update: &'a str,
}

/// The steps, the status, and when the next pod becomes available.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) steps: Vec<Step>,
    pub(crate) status: StatefulSetStatus,
    pub(crate) again: Option<Duration>,
}

struct View<'a> {
    set: &'a StatefulSet,
    revisions: Revisions<'a>,
    first: i32,
    end: i32,
    monotonic: bool,
    partition: Option<i32>,
    min_ready: i32,
    now: Timestamp,
}

/// Decides what is to be done about the pods that there are.
pub(crate) fn plan(
    set: &StatefulSet,
    owned: &[Arc<Pod>],
    revisions: Revisions<'_>,
    now: Timestamp,
) -> Plan {
    let view = View::of(set, revisions, now);
    let by_ordinal: BTreeMap<i32, &Arc<Pod>> =
        owned.iter().filter_map(|pod| Some((ordinal(set, pod)?, pod))).collect();
    let (status, again) = view.status(&by_ordinal);
    let steps = if set.metadata.deletion_timestamp.is_some() {
        Vec::new()
    } else {
        view.steps(&by_ordinal, &status)
    };
    Plan { steps, status, again }
}

/// The revision that a pod was made from.
fn revision(pod: &Pod) -> &str {
    let labels = pod.metadata.labels.as_ref();
    labels.and_then(|labels| labels.get(history::HASH)).map(String::as_str).unwrap_or_default()
}

impl<'a> View<'a> {
    fn of(set: &'a StatefulSet, revisions: Revisions<'a>, now: Timestamp) -> Self {
        let spec = set.spec.as_ref();
        let first =
            spec.and_then(|spec| spec.ordinals.as_ref()).and_then(|ordinals| ordinals.start);
        let first = first.unwrap_or_default();
        let rolling = spec
            .and_then(|spec| spec.update_strategy.as_ref())
            .and_then(|strategy| strategy.rolling_update.as_ref());
        Self {
            set,
            revisions,
            first,
            end: first + spec.and_then(|spec| spec.replicas).unwrap_or(1),
            monotonic: spec.and_then(|spec| spec.pod_management_policy.as_deref())
                != Some("Parallel"),
            partition: rolling.and_then(|rolling| rolling.partition),
            min_ready: spec.and_then(|spec| spec.min_ready_seconds).unwrap_or_default(),
            now,
        }
    }

    fn strategy(&self) -> &str {
        self.set
            .spec
            .as_ref()
            .and_then(|spec| spec.update_strategy.as_ref())
            .and_then(|strategy| strategy.type_.as_deref())
            .unwrap_or("RollingUpdate")
    }

    fn wanted(&self, ordinal: i32) -> bool {
        (self.first..self.end).contains(&ordinal)
    }

    fn availability(&self, pod: &Pod) -> Availability {
        pods::availability(pod, self.min_ready, self.now)
    }

    /// Whether others may go on because of this pod.
    fn is_healthy(&self, pod: &Pod) -> bool {
        pods::phase(pod) == "Running"
            && !pods::is_deleting(pod)
            && self.availability(pod) == Availability::Available
    }

    fn steps(&self, pods: &BTreeMap<i32, &Arc<Pod>>, status: &StatefulSetStatus) -> Vec<Step> {
        let mut steps = Vec::new();
        if !self.grow(pods, status, &mut steps) || !self.shrink(pods, &mut steps) {
            return steps;
        }
        if self.strategy() == "RollingUpdate" {
            self.update(pods, &mut steps);
        }
        steps
    }

    /// Makes what is missing, from the first up; says whether to go on.
    fn grow(
        &self,
        pods: &BTreeMap<i32, &Arc<Pod>>,
        status: &StatefulSetStatus,
        steps: &mut Vec<Step>,
    ) -> bool {
        for ordinal in self.first..self.end {
            let Some(pod) = pods.get(&ordinal) else {
                let updated = !self.needs_current(ordinal, status);
                steps.push(Step::Create { ordinal, updated });
                if self.monotonic {
                    return false;
                }
                continue;
            };
            if pods::is_terminal(pod) {
                // A pod that ended makes room for the next of its name.
                if !pods::is_deleting(pod) {
                    steps.push(Step::Delete((*pod).clone()));
                }
                if self.monotonic {
                    return false;
                }
                continue;
            }
            if self.monotonic && !self.is_healthy(pod) {
                return false;
            }
        }
        true
    }

    /// Whether the pod of an ordinal is still to be made from the current revision.
    fn needs_current(&self, ordinal: i32, status: &StatefulSetStatus) -> bool {
        if self.revisions.current == self.revisions.update || self.strategy() != "RollingUpdate" {
            return false;
        }
        match self.partition {
            Some(partition) => ordinal < self.first + partition,
            None => ordinal < self.first + status.current_replicas.unwrap_or_default(),
        }
    }

    /// Takes away what is too much, from the last down; says whether to go on.
    fn shrink(&self, pods: &BTreeMap<i32, &Arc<Pod>>, steps: &mut Vec<Step>) -> bool {
        let condemned: Vec<_> =
            pods.iter().filter(|(ordinal, _)| !self.wanted(**ordinal)).rev().collect();
        let first_unhealthy = pods
            .iter()
            .filter(|(ordinal, pod)| self.wanted(**ordinal) || !self.is_healthy(pod))
            .find(|(_, pod)| !self.is_healthy(pod))
            .map(|(ordinal, _)| *ordinal);
        for (ordinal, pod) in &condemned {
            if pods::is_deleting(pod) {
                if self.monotonic {
                    return false;
                }
                continue;
            }
            let unhealthy = !pods::is_ready(pod) && first_unhealthy != Some(**ordinal);
            if self.monotonic && unhealthy {
                return false;
            }
            steps.push(Step::Delete((**pod).clone()));
            if self.monotonic {
                return false;
            }
        }
        condemned.is_empty() || !self.monotonic
    }

    /// Replaces pods of other revisions, from the last down to the partition.
    fn update(&self, pods: &BTreeMap<i32, &Arc<Pod>>, steps: &mut Vec<Step>) {
        let lowest = self.first + self.partition.unwrap_or_default();
        let mut room = self.max_unavailable();
        for ordinal in (lowest..self.end).rev() {
            let Some(pod) = pods.get(&ordinal) else {
                room -= 1;
                if room <= 0 {
                    return;
                }
                continue;
            };
            let outdated = revision(pod) != self.revisions.update;
            if outdated && !pods::is_deleting(pod) {
                if !steps.contains(&Step::Delete((*pod).clone())) {
                    steps.push(Step::Delete((*pod).clone()));
                }
                room -= 1;
            } else if !self.is_healthy(pod) {
                room -= 1;
            }
            if room <= 0 {
                return;
            }
        }
    }

    fn max_unavailable(&self) -> i32 {
        let rolling = self
            .set
            .spec
            .as_ref()
            .and_then(|spec| spec.update_strategy.as_ref())
            .and_then(|strategy| strategy.rolling_update.as_ref());
        let max = rolling.and_then(|rolling| rolling.max_unavailable.as_ref());
        max.map_or(1, |max| scaled(max, self.end - self.first, true)).max(1)
    }

    fn status(&self, pods: &BTreeMap<i32, &Arc<Pod>>) -> (StatefulSetStatus, Option<Duration>) {
        let (mut ready, mut available, mut current, mut updated) = (0, 0, 0, 0);
        let mut again: Option<Duration> = None;
        for pod in pods.values() {
            if pods::phase(pod) == "Running" && pods::is_ready(pod) {
                ready += 1;
                match self.availability(pod) {
                    Availability::Available => available += 1,
                    Availability::In(left) => {
                        again = Some(again.map_or(left, |other| other.min(left)));
                    }
                    Availability::NotReady => {}
                }
            }
            if !pods::is_deleting(pod) {
                current += i32::from(revision(pod) == self.revisions.current);
                updated += i32::from(revision(pod) == self.revisions.update);
            }
        }
        let replicas = i32::try_from(pods.len()).unwrap_or(i32::MAX);
        let old = self.set.status.clone().unwrap_or_default();
        let mut status = StatefulSetStatus {
            replicas,
            ready_replicas: Some(ready),
            available_replicas: Some(available),
            current_replicas: Some(current),
            updated_replicas: Some(updated),
            current_revision: Some(self.revisions.current.to_owned()),
            update_revision: Some(self.revisions.update.to_owned()),
            observed_generation: self.set.metadata.generation,
            collision_count: old.collision_count,
            conditions: old.conditions,
        };
        let wanted = self.end - self.first;
        if self.strategy() == "RollingUpdate"
            && [updated, replicas, ready].iter().all(|count| *count == wanted)
        {
            status.current_replicas = Some(updated);
            status.current_revision = Some(self.revisions.update.to_owned());
        }
        (status, again)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::{at, running};
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use serde_json::json;

    fn set(replicas: i32, more: serde_json::Value) -> StatefulSet {
        let mut object = json!({
            "metadata": {"name": "db", "namespace": "n", "uid": "s", "generation": 1},
            "spec": {"replicas": replicas, "selector": {}, "template": {},
                     "updateStrategy": {"type": "RollingUpdate"}},
        });
        for (key, value) in more.as_object().unwrap() {
            object["spec"][key] = value.clone();
        }
        serde_json::from_value(object).unwrap()
    }

    /// `0r` is pod 0 of the old revision, ready; `n` new, `u` unready, `d` deleting, `f` failed.
    fn pod(text: &str) -> Arc<Pod> {
        let digits = text.trim_end_matches(char::is_alphabetic);
        let has = |flag| text.contains(flag);
        let mut pod = running(&format!("db-{digits}"), "n1", (!has('u')).then_some(0));
        let hash = if has('n') { "new" } else { "old" };
        pod.metadata.labels = Some([(history::HASH.to_owned(), hash.to_owned())].into());
        if has('d') {
            pod.metadata.deletion_timestamp = Some(Time(at(0)));
        }
        if has('f') {
            pod.status.as_mut().unwrap().phase = Some("Failed".into());
        }
        Arc::new(pod)
    }

    fn check(set: &StatefulSet, pods: &str, expected: &str) {
        let pods: Vec<_> = pods.split_whitespace().map(pod).collect();
        let revisions = Revisions { current: "old", update: "new" };
        let steps = plan(set, &pods, revisions, at(10)).steps;
        let words: Vec<_> = steps
            .iter()
            .map(|step| match step {
                Step::Create { ordinal, updated } => {
                    format!("+{ordinal}{}", if *updated { "n" } else { "r" })
                }
                Step::Delete(pod) => format!("-{}", ordinal(set, pod).unwrap()),
            })
            .collect();
        assert_eq!(words.join(" "), expected);
    }

    #[test]
    fn one_after_the_other_up_and_down() {
        let three = set(3, json!({}));
        check(&three, "", "+0n");
        check(&three, "0nu", "");
        check(&three, "0n", "+1n");
        check(&three, "0n 1nf", "-1");
        check(&three, "0n 1n 2n 3n 4n", "-4");
        check(&three, "0n 1n 2n 3n 4nd", "");
        check(&three, "0n 1nu 2n 3n", "");
    }

    #[test]
    fn all_at_once_when_parallel() {
        let three = set(3, json!({"podManagementPolicy": "Parallel"}));
        check(&three, "1nu", "+0n +2n");
        check(&three, "0n 1n 2n 3n 4nu", "-4 -3");
    }

    #[test]
    fn updates_go_down_to_the_partition() {
        let three = set(3, json!({}));
        check(&three, "0r 1r 2r", "-2");
        check(&three, "0r 1r 2nu", "");
        check(&three, "0r 1r 2n", "-1");
        // A missing pod is made from the revision that its ordinal belongs to.
        check(&three, "0r 1r", "+2n");
        let partition = json!({"updateStrategy":
            {"type": "RollingUpdate", "rollingUpdate": {"partition": 2}}});
        let canary = set(3, partition);
        check(&canary, "0r 1r 2n", "");
        check(&canary, "0r 1r 2r", "-2");
        check(&canary, "1r 2n", "+0r");
        check(&set(3, json!({"updateStrategy": {"type": "OnDelete"}})), "0r 1r 2r", "");
        let two = json!({"updateStrategy":
            {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 2}}});
        check(&set(3, two), "0r 1r 2r", "-2 -1");
    }

    #[test]
    fn a_complete_update_makes_the_new_revision_current() {
        let pods: Vec<_> = ["0n", "1n"].into_iter().map(pod).collect();
        let revisions = Revisions { current: "old", update: "new" };
        let status = plan(&set(2, json!({})), &pods, revisions, at(10)).status;
        assert_eq!(status.current_revision.as_deref(), Some("new"));
        assert_eq!((status.current_replicas, status.ready_replicas), (Some(2), Some(2)));
    }

    #[test]
    fn ordinals_may_start_elsewhere() {
        let shifted = set(2, json!({"ordinals": {"start": 5}}));
        check(&shifted, "", "+5n");
        check(&shifted, "4n 5n 6n", "-4");
    }
}
