//! A node takes a pod only when what is left there is enough, and better the emptier it is.

use std::borrow::Cow;

use crate::framework::{
    ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, Rejection, SCORE_MAX, Score,
};

/// `NodeResourcesFit`, with upstream's default strategy `LeastAllocated` over CPU and memory.
pub(crate) struct NodeResourcesFit;

impl Plugin for NodeResourcesFit {
    fn name(&self) -> &'static str {
        "NodeResourcesFit"
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }

    fn events(&self) -> &'static [ClusterEvent] {
        &[
            ClusterEvent::NodeAdded,
            ClusterEvent::NodeAllocatable,
            ClusterEvent::PodDeleted,
            ClusterEvent::PodScaledDown,
        ]
    }
}

impl Filter for NodeResourcesFit {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let (wanted, have, used) = (&pod.requests, &node.allocatable, &node.requested);
        let mut reasons: Vec<Cow<'static, str>> = Vec::new();
        let mut is_unresolvable = false;
        let pods = i64::try_from(node.pods.len()).unwrap_or(i64::MAX);
        if pods + 1 > node.pods_max {
            reasons.push("Too many pods".into());
        }
        let mut lacks = |name: &str, wanted: i64, have: i64, used: i64| {
            if wanted > 0 && wanted > have - used {
                reasons.push(format!("Insufficient {name}").into());
                is_unresolvable |= wanted > have;
            }
        };
        lacks("cpu", wanted.cpu_milli, have.cpu_milli, used.cpu_milli);
        lacks("memory", wanted.memory_bytes, have.memory_bytes, used.memory_bytes);
        lacks(
            "ephemeral-storage",
            wanted.ephemeral_bytes,
            have.ephemeral_bytes,
            used.ephemeral_bytes,
        );
        for (name, amount) in &wanted.extended {
            let of = |list: &std::collections::BTreeMap<String, i64>| {
                list.get(name).copied().unwrap_or_default()
            };
            lacks(name, *amount, of(&have.extended), of(&used.extended));
        }
        if reasons.is_empty() { Ok(()) } else { Err(Rejection { reasons, is_unresolvable }) }
    }
}

impl Score for NodeResourcesFit {
    fn weight(&self) -> i64 {
        1
    }

    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let free = |wanted: i64, have: i64| {
            if have == 0 || wanted > have { 0 } else { (have - wanted) * SCORE_MAX / have }
        };
        let (cpu, memory) = scored_requests(pod, node);
        i64::midpoint(
            free(cpu, node.allocatable.cpu_milli),
            free(memory, node.allocatable.memory_bytes),
        )
    }
}

/// CPU and memory that would be requested on the node with the pod there.
pub(crate) fn scored_requests(pod: &PodInfo, node: &NodeInfo) -> (i64, i64) {
    let mut all = node.scored;
    all.add(pod.scored);
    (all.cpu_milli, all.memory_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};
    use std::sync::Arc;

    const NODE: &str =
        r#"{"status":{"allocatable":{"cpu":"1","memory":"1Gi","pods":"2","x.io/gpu":"1"}}}"#;

    fn wants(cpu: &str, memory: &str) -> PodInfo {
        pod(&format!(
            r#"{{"containers":[{{"name":"c","resources":{{"requests":{{"cpu":"{cpu}","memory":"{memory}"}}}}}}]}}"#
        ))
    }

    #[test]
    fn each_thing_that_lacks_is_named() {
        let mut used = node("a", NODE);
        used.add_pod(Arc::new(wants("600m", "100Mi")));
        let check = |pod: &PodInfo, expected: &[&str]| {
            let got = NodeResourcesFit.filter(&CycleState::default(), pod, &used);
            let reasons = got.map_or_else(|refused| refused.reasons, |()| Vec::new());
            assert_eq!(reasons, expected);
        };
        check(&wants("400m", "1Mi"), &[]);
        check(&wants("500m", "1Mi"), &["Insufficient cpu"]);
        check(&wants("500m", "1Gi"), &["Insufficient cpu", "Insufficient memory"]);
        let gpus =
            pod(r#"{"containers":[{"name":"c","resources":{"requests":{"x.io/gpu":"2"}}}]}"#);
        check(&gpus, &["Insufficient x.io/gpu"]);
        used.add_pod(Arc::new(wants("0", "0")));
        let got = NodeResourcesFit.filter(&CycleState::default(), &wants("0", "0"), &used);
        assert_eq!(got.unwrap_err().reasons, ["Too many pods"]);
    }

    #[test]
    fn the_emptier_node_scores_higher() {
        let (empty, mut used) = (node("a", NODE), node("b", NODE));
        used.add_pod(Arc::new(wants("500m", "512Mi")));
        let score = |node: &NodeInfo| {
            NodeResourcesFit.score(&CycleState::default(), &wants("100m", "100Mi"), node)
        };
        assert!(score(&empty) > score(&used));
    }
}
