//! Tainted nodes take only pods that tolerate the taint.

use crate::framework::{
    ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, Rejection, Score, normalize_to_max,
};
use crate::tolerations::{lifts, tolerates};

/// `TaintToleration`: refuses `NoSchedule` and `NoExecute`, prefers fewer `PreferNoSchedule`.
pub(crate) struct TaintToleration;

impl Plugin for TaintToleration {
    fn name(&self) -> &'static str {
        "TaintToleration"
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }

    fn events(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeTaints]
    }
}

impl Filter for TaintToleration {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let refused = node
            .taints()
            .iter()
            .filter(|taint| matches!(taint.effect.as_str(), "NoSchedule" | "NoExecute"))
            .find(|taint| !tolerates(pod.spec(), taint));
        match refused {
            None => Ok(()),
            Some(taint) => Err(Rejection::unresolvable(format!(
                "node(s) had untolerated taint {{{}: {}}}",
                taint.key,
                taint.value.as_deref().unwrap_or_default()
            ))),
        }
    }
}

impl Score for TaintToleration {
    fn weight(&self) -> i64 {
        3
    }

    fn pre_score(&self, _: &mut CycleState, _: &PodInfo, nodes: &[&NodeInfo]) -> bool {
        nodes
            .iter()
            .any(|node| node.taints().iter().any(|taint| taint.effect == "PreferNoSchedule"))
    }

    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        let soft = node.taints().iter().filter(|taint| taint.effect == "PreferNoSchedule");
        let refused = soft.filter(|taint| {
            !pod.spec().tolerations.iter().flatten().any(|toleration| {
                matches!(toleration.effect.as_deref(), None | Some("" | "PreferNoSchedule"))
                    && lifts(toleration, taint)
            })
        });
        i64::try_from(refused.count()).unwrap_or(i64::MAX)
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) {
        normalize_to_max(scores, true);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    #[test]
    fn the_first_taint_that_is_not_tolerated_is_named() {
        let tainted = node(
            "a",
            r#"{"spec":{"taints":[{"key":"soft","effect":"PreferNoSchedule"},{"key":"gpu","value":"yes","effect":"NoSchedule"}]}}"#,
        );
        let plain = pod(r#"{"containers":[]}"#);
        let got = TaintToleration.filter(&CycleState::default(), &plain, &tainted);
        assert_eq!(got.unwrap_err().reasons, ["node(s) had untolerated taint {gpu: yes}"]);
        assert_eq!(TaintToleration.score(&CycleState::default(), &plain, &tainted), 1);
        let tolerant = pod(r#"{"containers":[],"tolerations":[{"operator":"Exists"}]}"#);
        assert!(TaintToleration.filter(&CycleState::default(), &tolerant, &tainted).is_ok());
        assert_eq!(TaintToleration.score(&CycleState::default(), &tolerant, &tainted), 0);
    }
}
