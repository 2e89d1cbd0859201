//! Whose turn it is: pods that may be tried, pods that wait out a back-off, and pods that wait for
//! a change that may help them.
//!
//! Pure but for tokio's clock, which the caller passes in.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use api::k8s_openapi::api::core::v1::Pod;
use tokio::time::Instant;

use crate::cluster::key_of;
use crate::framework::{ClusterEvent, PodInfo};

const BACKOFF_FIRST: Duration = Duration::from_secs(1);
const BACKOFF_MAX: Duration = Duration::from_secs(10);

/// The pods without a node.
#[derive(Default)]
pub struct Queue {
    pods: HashMap<String, Waiting>,
    /// In the order of their turn: greater priority first, then who came first.
    active: BTreeSet<(std::cmp::Reverse<i32>, u64, String)>,
    /// By the moment when their back-off ends.
    backoff: BTreeMap<(Instant, u64), String>,
    /// Those that a change may concern: in flight, or refused. Not all that wait: a change costs
    /// no more when there are thousands whose turn has not come.
    listening: BTreeSet<String>,
    came: u64,
}

struct Waiting {
    pod: Arc<PodInfo>,
    came: u64,
    attempts: u32,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It may be tried now.
    Active,
    /// It is being tried, or being bound; `moved` when something changed meanwhile.
    InFlight { moved: Vec<ClusterEvent> },
    /// It waits until this moment.
    Backoff(Instant),
    /// These plugins refused it; a change that they named brings it back, at this moment at the
    /// earliest.
    Unschedulable { plugins: BTreeSet<&'static str>, not_before: Instant },
}

impl Queue {
    /// A pod without a node came or changed. A change of its own may help it.
    pub fn set(&mut self, pod: &Arc<Pod>, now: Instant) {
        let key = key_of(pod);
        let info = Arc::new(PodInfo::new(pod.clone()));
        let Some(waiting) = self.pods.get_mut(&key) else {
            self.came += 1;
            let waiting = Waiting { pod: info, came: self.came, attempts: 0, state: State::Active };
            self.pods.insert(key.clone(), waiting);
            self.activate(&key);
            return;
        };
        let may_help = waiting.pod.pod.spec != pod.spec
            || waiting.pod.pod.metadata.labels != pod.metadata.labels
            || waiting.pod.pod.metadata.uid != pod.metadata.uid;
        let is_active = waiting.state == State::Active;
        if is_active {
            let rank = rank(waiting, &key);
            self.active.remove(&rank);
        }
        let waiting = self.pods.get_mut(&key).expect("found above");
        waiting.pod = info;
        if is_active {
            let rank = rank(waiting, &key);
            self.active.insert(rank);
        } else if may_help && let State::Unschedulable { not_before, .. } = waiting.state {
            self.wake(&key, not_before, now);
        }
    }

    /// A pod needs no node any more.
    pub fn remove(&mut self, key: &str) {
        if let Some(waiting) = self.pods.remove(key) {
            self.active.remove(&rank(&waiting, key));
            if let State::Backoff(until) = waiting.state {
                self.backoff.remove(&(until, waiting.came));
            }
            self.listening.remove(key);
        }
    }

    /// The pod whose turn it is.
    pub fn pop(&mut self, now: Instant) -> Option<Arc<PodInfo>> {
        self.end_backoffs(now);
        let (_, _, key) = self.active.pop_first()?;
        let waiting = self.pods.get_mut(&key).expect("active pods are in the queue");
        waiting.attempts += 1;
        waiting.state = State::InFlight { moved: Vec::new() };
        let pod = waiting.pod.clone();
        self.listening.insert(key);
        Some(pod)
    }

    /// When the next back-off ends.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        self.backoff.keys().next().map(|(until, _)| *until)
    }

    /// A pod that was tried found no node.
    pub fn unschedulable(
        &mut self,
        key: &str,
        plugins: BTreeSet<&'static str>,
        helps: &dyn Fn(&BTreeSet<&'static str>, ClusterEvent) -> bool,
        now: Instant,
    ) {
        let Some(waiting) = self.pods.get_mut(key) else { return };
        let State::InFlight { moved } = &waiting.state else { return };
        let missed = moved.iter().any(|event| helps(&plugins, *event));
        let not_before = now + backoff(waiting.attempts);
        waiting.state = State::Unschedulable { plugins, not_before };
        if missed {
            self.wake(key, not_before, now);
        }
    }

    /// A pod that was tried must be tried again after its back-off (binding failed).
    pub fn retry(&mut self, key: &str, now: Instant) {
        let Some(waiting) = self.pods.get(key) else { return };
        let until = now + backoff(waiting.attempts);
        self.wake(key, until, now);
    }

    /// Something changed: pods that it may help come back.
    pub fn moved(
        &mut self,
        event: ClusterEvent,
        helps: &dyn Fn(&BTreeSet<&'static str>, ClusterEvent) -> bool,
        now: Instant,
    ) {
        let mut woken = Vec::new();
        for key in &self.listening {
            let Some(waiting) = self.pods.get_mut(key) else { continue };
            match &mut waiting.state {
                State::InFlight { moved } if !moved.contains(&event) => moved.push(event),
                State::Unschedulable { plugins, not_before } if helps(plugins, event) => {
                    woken.push((key.clone(), *not_before));
                }
                _ => {}
            }
        }
        for (key, not_before) in woken {
            self.wake(&key, not_before, now);
        }
    }

    /// How many pods wait, in whatever state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pods.len()
    }

    /// Whether no pod waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pods.is_empty()
    }

    fn wake(&mut self, key: &str, not_before: Instant, now: Instant) {
        if not_before <= now {
            return self.activate(key);
        }
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.state = State::Backoff(not_before);
            self.backoff.insert((not_before, waiting.came), key.to_owned());
            self.listening.remove(key);
        }
    }

    fn activate(&mut self, key: &str) {
        if let Some(waiting) = self.pods.get_mut(key) {
            waiting.state = State::Active;
            let rank = rank(waiting, key);
            self.active.insert(rank);
            self.listening.remove(key);
        }
    }

    fn end_backoffs(&mut self, now: Instant) {
        while let Some(entry) = self.backoff.first_entry() {
            if entry.key().0 > now {
                break;
            }
            let key = entry.remove();
            self.activate(&key);
        }
    }
}

fn rank(waiting: &Waiting, key: &str) -> (std::cmp::Reverse<i32>, u64, String) {
    (std::cmp::Reverse(waiting.pod.priority), waiting.came, key.to_owned())
}

/// 1 s, 2 s, 4 s, 8 s, then 10 s.
fn backoff(attempts: u32) -> Duration {
    BACKOFF_FIRST.saturating_mul(2_u32.saturating_pow(attempts.saturating_sub(1))).min(BACKOFF_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pod(name: &str, priority: i32) -> Arc<Pod> {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"d"}},"spec":{{"containers":[],"priority":{priority}}}}}"#
        );
        Arc::new(serde_json::from_str(&json).unwrap())
    }

    fn helps(plugins: &BTreeSet<&'static str>, event: ClusterEvent) -> bool {
        plugins.contains("Fit") && event == ClusterEvent::PodDeleted
    }

    fn pop(queue: &mut Queue, now: Instant) -> Option<String> {
        queue.pop(now).map(|pod| pod.key.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn greater_priority_first_then_first_come() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        for (name, priority) in [("a", 0), ("b", 10), ("c", 0)] {
            queue.set(&pod(name, priority), now);
        }
        let order: Vec<_> = std::iter::from_fn(|| pop(&mut queue, now)).collect();
        assert_eq!(order, ["d/b", "d/a", "d/c"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_pod_comes_back_when_something_helps_and_its_backoff_is_over() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.set(&pod("a", 0), start);
        pop(&mut queue, start).unwrap();
        queue.unschedulable("d/a", BTreeSet::from(["Fit"]), &helps, start);
        queue.moved(ClusterEvent::NodeLabels, &helps, start);
        assert_eq!(queue.next_deadline(), None, "labels do not help");
        queue.moved(ClusterEvent::PodDeleted, &helps, start);
        assert_eq!(queue.next_deadline(), Some(start + BACKOFF_FIRST));
        assert_eq!(pop(&mut queue, start), None);
        assert_eq!(pop(&mut queue, start + BACKOFF_FIRST).as_deref(), Some("d/a"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_during_the_attempt_is_not_missed() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        queue.set(&pod("a", 0), start);
        pop(&mut queue, start).unwrap();
        queue.moved(ClusterEvent::PodDeleted, &helps, start);
        queue.unschedulable("d/a", BTreeSet::from(["Fit"]), &helps, start);
        assert!(queue.next_deadline().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_change_concerns_those_that_it_may_help_and_no_others() {
        let (mut queue, start) = (Queue::default(), Instant::now());
        for name in ["flies", "refused", "waits"] {
            queue.set(&pod(name, 0), start);
        }
        assert_eq!(pop(&mut queue, start).as_deref(), Some("d/flies"));
        pop(&mut queue, start).unwrap();
        queue.unschedulable("d/refused", BTreeSet::from(["Fit"]), &helps, start);
        assert_eq!(queue.listening.iter().collect::<Vec<_>>(), ["d/flies", "d/refused"]);
        queue.moved(ClusterEvent::PodDeleted, &helps, start);
        assert_eq!(queue.listening.iter().collect::<Vec<_>>(), ["d/flies"]);
        queue.remove("d/flies");
        assert!(queue.listening.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_removed_pod_is_gone_from_every_state() {
        let (mut queue, now) = (Queue::default(), Instant::now());
        queue.set(&pod("a", 0), now);
        queue.remove("d/a");
        assert_eq!(pop(&mut queue, now), None);
        queue.set(&pod("b", 0), now);
        pop(&mut queue, now).unwrap();
        queue.retry("d/b", now);
        queue.remove("d/b");
        assert_eq!(queue.next_deadline(), None);
        assert!(queue.is_empty());
    }
}
