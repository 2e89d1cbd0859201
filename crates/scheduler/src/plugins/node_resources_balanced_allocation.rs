//! Better a node whose CPU and memory fill up evenly.

use super::node_resources_fit::scored_requests;
use crate::framework::{CycleState, NodeInfo, Plugin, PodInfo, SCORE_MAX, Score};

/// `NodeResourcesBalancedAllocation`: one less the distance of the two fractions in use.
pub(crate) struct NodeResourcesBalancedAllocation;

impl Plugin for NodeResourcesBalancedAllocation {
    fn name(&self) -> &'static str {
        "NodeResourcesBalancedAllocation"
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }
}

impl Score for NodeResourcesBalancedAllocation {
    fn weight(&self) -> i64 {
        1
    }

    /// A pod that asks for nothing does not change the balance.
    fn pre_score(&self, _: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo]) -> bool {
        pod.requests.cpu_milli > 0 || pod.requests.memory_bytes > 0
    }

    #[expect(clippy::cast_precision_loss, reason = "a score is coarser than a double")]
    #[expect(clippy::cast_possible_truncation, reason = "0..=100")]
    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let (cpu, memory) = scored_requests(pod, node);
        let fraction = |wanted: i64, have: i64| {
            if have == 0 { 1.0 } else { (wanted as f64 / have as f64).min(1.0) }
        };
        let cpu = fraction(cpu, node.allocatable.cpu_milli);
        let memory = fraction(memory, node.allocatable.memory_bytes);
        // The standard deviation of two numbers is half their distance.
        let deviation = (cpu - memory).abs() / 2.0;
        ((1.0 - deviation) * SCORE_MAX as f64) as i64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    #[test]
    fn the_balanced_node_scores_higher() {
        let wants = pod(
            r#"{"containers":[{"name":"c","resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]}"#,
        );
        let score = |cpu: &str, memory: &str| {
            let json =
                format!(r#"{{"status":{{"allocatable":{{"cpu":"{cpu}","memory":"{memory}"}}}}}}"#);
            NodeResourcesBalancedAllocation.score(&CycleState::default(), &wants, &node("a", &json))
        };
        assert_eq!(score("2", "2Gi"), 100);
        assert!(score("2", "8Gi") < score("2", "3Gi"));
    }
}
