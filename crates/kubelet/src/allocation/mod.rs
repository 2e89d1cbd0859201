//! Which resources the pods of this node have been given: the one place that knows, for admission and
//! for resizes.
//!
//! A pod asks in its spec; what it runs with is what it was given. A resize that does not fit waits,
//! and is looked at again when something becomes free: a pod left, ended, or was given less.
//! (KEP-1287)

mod order;
mod record;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use base::clock::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::pod;
use crate::status::Verdict;
pub(crate) use record::{Record, Resources};

/// Judges whether a pod fits beside the others, all of them with what they were given.
pub(crate) type Judge<'a> = &'a dyn Fn(&Pod, &[Arc<Pod>]) -> Option<Verdict>;

/// Why a resize waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pending {
    /// What a person can read about it.
    pub(crate) message: String,
    /// The generation that asked.
    pub(crate) generation: i64,
}

/// How a pod stands.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Standing {
    /// What it was given, and what of it is in force.
    pub(crate) record: Record,
    /// Why more, or less, was not given yet.
    pub(crate) pending: Option<Pending>,
    /// The generation of the last resize that was given; 0 when there was none.
    pub(crate) accepted: i64,
}

/// The node's allocations.
#[derive(Debug, Default)]
pub(crate) struct Allocations {
    pods: Mutex<HashMap<String, Entry>>,
}

#[derive(Debug)]
struct Entry {
    /// As it shall be.
    asked: Arc<Pod>,
    dir: PathBuf,
    wake: Arc<Notify>,
    /// Whether it takes anything: it was let in and has not ended.
    counts: bool,
    standing: Standing,
    put_off_since: Option<Timestamp>,
}

impl Entry {
    fn given(&self) -> Arc<Pod> {
        let mut pod = Pod::clone(&self.asked);
        self.standing.record.given.put_into(&mut pod);
        Arc::new(pod)
    }

    fn wants_change(&self) -> bool {
        !Resources::asked(&self.asked).same_as(&self.standing.record.given)
    }

    fn save(&self) {
        if let Err(error) = self.standing.record.write(&self.dir) {
            tracing::warn!(pod = %pod::PodRef::of(&self.asked), %error,
                "what a pod was given was not written down");
        }
    }
}

impl Allocations {
    /// A pod comes to this node: it is given what it asks for, or what an earlier kubelet gave it.
    pub(crate) fn enter(&self, pod: &Arc<Pod>, dir: PathBuf, wake: Arc<Notify>, counts: bool) {
        let record = Record::read(&dir)
            .unwrap_or_else(|| Record { given: Resources::asked(pod), ..Record::default() });
        let standing = Standing { record, ..Standing::default() };
        let entry = Entry { asked: pod.clone(), dir, wake, counts, standing, put_off_since: None };
        self.pods.lock().insert(pod::uid(pod).to_owned(), entry);
    }

    /// All pods that take something, with what they were given.
    pub(crate) fn taken(&self) -> Vec<Arc<Pod>> {
        let pods = self.pods.lock();
        pods.values().filter(|one| one.counts).map(Entry::given).collect()
    }

    /// How a pod stands, after it asked for what its spec says now.
    pub(crate) fn ask(&self, pod: &Arc<Pod>, now: Timestamp, judge: Judge<'_>) -> Standing {
        let mut pods = self.pods.lock();
        let uid = pod::uid(pod);
        let Some(entry) = pods.get_mut(uid) else {
            let record = Record { given: Resources::asked(pod), ..Record::default() };
            return Standing { record, ..Standing::default() };
        };
        let news = entry.asked.metadata.generation != pod.metadata.generation;
        entry.asked = pod.clone();
        if !entry.wants_change() {
            entry.standing.pending = None;
            entry.put_off_since = None;
        } else if news || entry.standing.pending.is_none() {
            settle(&mut pods, Some(uid), now, judge);
        }
        pods.get(uid).map(|entry| entry.standing.clone()).unwrap_or_default()
    }

    /// What a container, or the pod as a whole, now runs with.
    pub(crate) fn in_force(&self, uid: &str, change: impl FnOnce(&mut Resources)) {
        if let Some(entry) = self.pods.lock().get_mut(uid) {
            change(&mut entry.standing.record.in_force);
            entry.save();
        }
    }

    /// A pod takes nothing any more: it has ended, or is gone.
    pub(crate) fn release(&self, uid: &str, gone: bool, now: Timestamp, judge: Judge<'_>) {
        let mut pods = self.pods.lock();
        let counted = if gone {
            pods.remove(uid).is_some_and(|entry| entry.counts)
        } else {
            pods.get_mut(uid).is_some_and(|entry| std::mem::take(&mut entry.counts))
        };
        if counted {
            settle(&mut pods, None, now, judge);
        }
    }
}

/// Looks at all resizes that wait, and wakes whom it changed something for. `by`: who asks now.
fn settle(pods: &mut HashMap<String, Entry>, by: Option<&str>, now: Timestamp, judge: Judge<'_>) {
    let mut waiting: Vec<_> = pods
        .iter()
        .filter(|(_, entry)| entry.counts && entry.wants_change())
        .map(|(uid, entry)| {
            let given = entry.given();
            let waiting =
                order::Waiting { given: &given, asked: &entry.asked, since: entry.put_off_since };
            (order::rank(&waiting), uid.clone())
        })
        .collect();
    waiting.sort();
    for (_, uid) in waiting {
        let others: Vec<_> = pods
            .iter()
            .filter(|(other, entry)| **other != uid && entry.counts)
            .map(|(_, entry)| entry.given())
            .collect();
        let Some(entry) = pods.get_mut(&uid) else { continue };
        let generation = entry.asked.metadata.generation.unwrap_or_default();
        let before = entry.standing.clone();
        match judge(&entry.asked, &others) {
            None => {
                entry.standing.record.given = Resources::asked(&entry.asked);
                entry.standing.accepted = generation;
                entry.standing.pending = None;
                entry.put_off_since = None;
                entry.save();
            }
            Some(verdict) => {
                let message = verdict.message.trim_start_matches("Pod was rejected: ").to_owned();
                entry.standing.pending = Some(Pending { message, generation });
                entry.put_off_since.get_or_insert(now);
            }
        }
        if before != entry.standing && by != Some(uid.as_str()) {
            entry.wake.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quantity;
    use serde_json::json;

    /// A node of one core.
    fn judge(pod: &Pod, others: &[Arc<Pod>]) -> Option<Verdict> {
        let cpu = |pod: &Pod| pod::request(pod, "cpu", quantity::milli);
        let used: i64 = others.iter().map(|one| cpu(one)).sum();
        (used + cpu(pod) > 1000).then(|| Verdict {
            reason: "OutOfcpu".into(),
            message: format!("Pod was rejected: {used} used"),
        })
    }

    fn pod(name: &str, cpu: u32, generation: i64) -> Arc<Pod> {
        let pod = json!({"metadata": {"name": name, "uid": name, "generation": generation},
            "spec": {"containers": [{"name": "c",
                "resources": {"requests": {"cpu": format!("{cpu}m")}}}]}});
        Arc::new(serde_json::from_value(pod).unwrap())
    }

    fn given(standing: &Standing) -> String {
        let requests = standing.record.given.containers["c"].requests.clone().unwrap();
        requests["cpu"].0.clone()
    }

    #[test]
    fn what_does_not_fit_waits_until_something_is_free() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let all = Allocations::default();
        let wake = Arc::new(Notify::new());
        for name in ["a", "b"] {
            all.enter(&pod(name, 400, 1), dir.path().join(name), wake.clone(), true);
        }
        let standing = all.ask(&pod("a", 700, 2), now, &judge);
        let pending = Pending { message: "400 used".into(), generation: 2 };
        assert_eq!((standing.pending.clone(), given(&standing)), (Some(pending), "400m".into()));
        // Asking again changes nothing; giving the other one less does.
        assert_eq!(all.ask(&pod("a", 700, 2), now, &judge), standing);
        all.ask(&pod("b", 300, 2), now, &judge);
        let standing = all.ask(&pod("a", 700, 2), now, &judge);
        assert_eq!((standing.pending.clone(), standing.accepted), (None, 2));
        assert_eq!(given(&standing), "700m");
        // The next kubelet knows.
        let next = Allocations::default();
        next.enter(&pod("a", 900, 3), dir.path().join("a"), wake, true);
        let full = |_: &Pod, _: &[Arc<Pod>]| {
            Some(Verdict { reason: "OutOfcpu".into(), message: "full".into() })
        };
        assert_eq!(given(&next.ask(&pod("a", 900, 3), now, &full)), "700m");
        assert_eq!(given(&next.ask(&pod("a", 900, 4), now, &|_, _| None)), "900m");
    }

    #[test]
    fn who_ends_makes_room_and_wakes_who_waits() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::UNIX_EPOCH;
        let all = Allocations::default();
        let wakes = [Arc::new(Notify::new()), Arc::new(Notify::new())];
        for (name, wake) in ["a", "b"].into_iter().zip(&wakes) {
            all.enter(&pod(name, 500, 1), dir.path().join(name), wake.clone(), true);
        }
        assert!(all.ask(&pod("a", 600, 2), now, &judge).pending.is_some());
        all.release("b", false, now, &judge);
        assert_eq!(all.taken().len(), 1);
        // The permit is there: this does not wait.
        let woken = std::pin::pin!(wakes[0].notified());
        assert!(futures::FutureExt::now_or_never(woken).is_some());
        assert_eq!(given(&all.ask(&pod("a", 600, 2), now, &judge)), "600m");
        // A resize that is taken back waits no more.
        assert!(all.ask(&pod("a", 2000, 3), now, &judge).pending.is_some());
        assert!(all.ask(&pod("a", 600, 4), now, &judge).pending.is_none());
    }
}
