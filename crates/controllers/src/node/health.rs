//! What follows from a node's silence and from its conditions. Pure.
//!
//! (Kubernetes `pkg/controller/nodelifecycle`)

use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{Node, NodeCondition, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::{condition, ready};

const NOT_READY: &str = "node.kubernetes.io/not-ready";
const UNREACHABLE: &str = "node.kubernetes.io/unreachable";
const UNSCHEDULABLE: &str = "node.kubernetes.io/unschedulable";
const NO_SCHEDULE: &str = "NoSchedule";
const NO_EXECUTE: &str = "NoExecute";
/// Up to this many nodes, evictions stop when most of them are in trouble.
const SMALL_CLUSTER: usize = 50;

/// How much of the cluster is in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Disruption {
    /// Few nodes, or none: pods move away from them.
    Normal,
    /// So many that the trouble is more likely ours: nothing is evicted.
    Halted,
}

/// Judges by how many nodes are ready and how many are not.
pub(crate) fn disruption(ready: usize, not_ready: usize) -> Disruption {
    let all = ready + not_ready;
    let most = not_ready > 2 && not_ready * 100 >= all * 55 && all <= SMALL_CLUSTER;
    if not_ready > 0 && (ready == 0 || most) { Disruption::Halted } else { Disruption::Normal }
}

/// The conditions of a node that has been silent for too long; `None` when they say so already.
pub(crate) fn silent(node: &Node, now: Timestamp) -> Option<Vec<NodeCondition>> {
    let mut conditions =
        node.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
    let mut changed = false;
    for kind in ["Ready", "MemoryPressure", "DiskPressure", "PIDPressure"] {
        match conditions.iter_mut().find(|condition| condition.type_ == kind) {
            Some(condition) if condition.status == "Unknown" => {}
            Some(condition) => {
                changed = true;
                condition.status = "Unknown".to_owned();
                condition.reason = Some("NodeStatusUnknown".to_owned());
                condition.message = Some("Kubelet stopped posting node status.".to_owned());
                condition.last_transition_time = Some(Time(now));
            }
            None => {
                changed = true;
                conditions.push(NodeCondition {
                    type_: kind.to_owned(),
                    status: "Unknown".to_owned(),
                    reason: Some("NodeStatusNeverUpdated".to_owned()),
                    message: Some("Kubelet never posted node status.".to_owned()),
                    last_heartbeat_time: node.metadata.creation_timestamp.clone(),
                    last_transition_time: Some(Time(now)),
                });
            }
        }
    }
    changed.then_some(conditions)
}

/// The taints that a node should have by its conditions; `None` when it has them.
pub(crate) fn taints(node: &Node, disruption: Disruption, now: Timestamp) -> Option<Vec<Taint>> {
    let current: Vec<Taint> =
        node.spec.as_ref().and_then(|spec| spec.taints.clone()).unwrap_or_default();
    let wanted = wanted(node, disruption);
    let is_wanted = |taint: &Taint| {
        wanted.iter().any(|(key, effect)| taint.key == *key && taint.effect == *effect)
    };
    let mut taints: Vec<Taint> =
        current.iter().filter(|taint| !is_ours(taint) || is_wanted(taint)).cloned().collect();
    for (key, effect) in &wanted {
        if !taints.iter().any(|taint| taint.key == *key && taint.effect == *effect) {
            taints.push(Taint {
                key: (*key).to_owned(),
                effect: (*effect).to_owned(),
                time_added: Some(Time(now)),
                value: None,
            });
        }
    }
    (taints != current).then_some(taints)
}

fn wanted(node: &Node, disruption: Disruption) -> Vec<(&'static str, &'static str)> {
    let mut wanted = Vec::new();
    let trouble = match ready(node) {
        "True" => None,
        "False" => Some(NOT_READY),
        _ => Some(UNREACHABLE),
    };
    if let Some(key) = trouble {
        wanted.push((key, NO_SCHEDULE));
        if disruption == Disruption::Normal {
            wanted.push((key, NO_EXECUTE));
        }
    }
    for (kind, key) in PRESSURES {
        if condition(node, kind).is_some_and(|condition| condition.status == "True") {
            wanted.push((key, NO_SCHEDULE));
        }
    }
    if node.spec.as_ref().and_then(|spec| spec.unschedulable) == Some(true) {
        wanted.push((UNSCHEDULABLE, NO_SCHEDULE));
    }
    wanted
}

const PRESSURES: [(&str, &str); 4] = [
    ("MemoryPressure", "node.kubernetes.io/memory-pressure"),
    ("DiskPressure", "node.kubernetes.io/disk-pressure"),
    ("PIDPressure", "node.kubernetes.io/pid-pressure"),
    ("NetworkUnavailable", "node.kubernetes.io/network-unavailable"),
];

/// Whether a taint is one that this controller puts on and takes off.
fn is_ours(taint: &Taint) -> bool {
    let trouble = [NOT_READY, UNREACHABLE].contains(&taint.key.as_str())
        && [NO_SCHEDULE, NO_EXECUTE].contains(&taint.effect.as_str());
    let pressure = taint.effect == NO_SCHEDULE
        && (taint.key == UNSCHEDULABLE || PRESSURES.iter().any(|(_, key)| taint.key == *key));
    trouble || pressure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::at;

    fn node(ready: &str, taints: &[(&str, &str)]) -> Node {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "n"},
            "spec": {"taints": taints.iter().map(|(key, effect)| {
                serde_json::json!({"key": key, "effect": effect})
            }).collect::<Vec<_>>()},
            "status": {"conditions": [{"type": "Ready", "status": ready}]},
        }))
        .unwrap()
    }

    #[test]
    fn taints_follow_conditions_and_leave_those_of_others() {
        let check = |node: &Node, disruption, expected: Option<&str>| {
            let said = taints(node, disruption, at(0)).map(|taints| {
                let words: Vec<_> = taints
                    .iter()
                    .map(|taint| {
                        let key = taint.key.trim_start_matches("node.kubernetes.io/");
                        format!("{key}:{}", taint.effect)
                    })
                    .collect();
                words.join(" ")
            });
            assert_eq!(said.as_deref(), expected);
        };
        use Disruption::{Halted, Normal};
        check(&node("True", &[("gpu", "NoSchedule")]), Normal, None);
        check(
            &node("False", &[("gpu", "NoSchedule")]),
            Normal,
            Some("gpu:NoSchedule not-ready:NoSchedule not-ready:NoExecute"),
        );
        check(
            &node("Unknown", &[(NOT_READY, "NoExecute"), (NOT_READY, "NoSchedule")]),
            Normal,
            Some("unreachable:NoSchedule unreachable:NoExecute"),
        );
        check(&node("Unknown", &[]), Halted, Some("unreachable:NoSchedule"));
        check(
            &node("True", &[(UNREACHABLE, "NoExecute"), (UNREACHABLE, "NoSchedule")]),
            Normal,
            Some(""),
        );
        let mut cordoned = node("True", &[]);
        cordoned.spec.as_mut().unwrap().unschedulable = Some(true);
        check(&cordoned, Normal, Some("unschedulable:NoSchedule"));
    }

    #[test]
    fn silence_is_said_once() {
        let mut node = node("True", &[]);
        let conditions = silent(&node, at(50)).unwrap();
        let reasons: Vec<_> =
            conditions.iter().filter_map(|condition| condition.reason.as_deref()).collect();
        assert_eq!(reasons[0], "NodeStatusUnknown");
        assert_eq!(reasons[1], "NodeStatusNeverUpdated");
        node.status.as_mut().unwrap().conditions = Some(conditions);
        assert!(silent(&node, at(99)).is_none());
    }

    #[test]
    fn nothing_is_evicted_when_most_are_in_trouble() {
        let check = |ready, not_ready, expected| assert_eq!(disruption(ready, not_ready), expected);
        check(1, 0, Disruption::Normal);
        check(0, 1, Disruption::Halted);
        check(2, 1, Disruption::Normal);
        check(2, 3, Disruption::Halted);
        check(40, 60, Disruption::Normal);
    }
}
