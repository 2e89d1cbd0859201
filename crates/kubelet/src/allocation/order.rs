//! In which order resizes that wait are looked at: pure.
//!
//! (Kubernetes `allocation.sortPendingResizes`)

use std::cmp::Reverse;

use base::clock::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use crate::{pod, quantity};

/// A resize that waits.
#[derive(Debug)]
pub(super) struct Waiting<'a> {
    /// The pod as it is now.
    pub(super) given: &'a Pod,
    /// The pod as it shall be.
    pub(super) asked: &'a Pod,
    /// Since when it has been put off; none when it is new.
    pub(super) since: Option<Timestamp>,
}

/// What sorts first goes first: who asks for no more than it has, then by priority, by quality of
/// service, and who has waited longest.
pub(super) fn rank(waiting: &Waiting<'_>) -> impl Ord + use<> {
    let grows = grows(waiting.given, waiting.asked);
    let priority = pod::spec(waiting.asked).priority.unwrap_or_default();
    let guaranteed = pod::qos_class(waiting.asked) == "Guaranteed";
    let new = waiting.since.is_none();
    (grows, Reverse(priority), !guaranteed, new, waiting.since)
}

fn grows(given: &Pod, asked: &Pod) -> bool {
    ["cpu", "memory"].into_iter().any(|resource| {
        pod::request(asked, resource, quantity::milli)
            > pod::request(given, resource, quantity::milli)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// `name from to priority class since`.
    fn check(waiting: &[&str], order: &str) {
        let pod = |name: &str, cpu: &str, priority: &str, class: &str| -> Pod {
            serde_json::from_value(json!({"metadata": {"name": name},
                "spec": {"priority": priority.parse::<i32>().unwrap(), "containers": [
                    {"name": "c", "resources": {"requests": {"cpu": cpu}}}]},
                "status": {"qosClass": class}}))
            .unwrap()
        };
        let pods: Vec<_> = waiting
            .iter()
            .map(|line| {
                let words: Vec<_> = line.split_whitespace().collect();
                let [name, from, to, priority, class, since] = words[..] else { panic!("{line}") };
                let since =
                    since.parse().ok().map(|second| Timestamp::from_second(second).unwrap());
                (pod(name, from, priority, class), pod(name, to, priority, class), since)
            })
            .collect();
        let mut waiting: Vec<_> = pods
            .iter()
            .map(|(given, asked, since)| Waiting { given, asked, since: *since })
            .collect();
        waiting.sort_by_key(rank);
        let names: Vec<_> = waiting.iter().map(|one| pod::name(one.asked)).collect();
        assert_eq!(names.join(" "), order);
    }

    #[test]
    fn shrinking_then_priority_then_class_then_patience() {
        check(
            &[
                "new 1 2 0 Burstable -",
                "late 1 2 0 Burstable 20",
                "early 1 2 0 Burstable 10",
                "class 1 2 0 Guaranteed 30",
                "high 1 2 5 Burstable 30",
                "less 2 1 0 Burstable 30",
            ],
            "less high class early late new",
        );
    }
}
