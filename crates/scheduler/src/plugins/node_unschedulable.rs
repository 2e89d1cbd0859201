//! A cordoned node takes no new pods, but for those that tolerate it.

use crate::framework::{ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, Rejection};
use crate::tolerations::tolerates;
use api::k8s_openapi::api::core::v1::Taint;

/// `NodeUnschedulable`: `spec.unschedulable` acts as the taint
/// `node.kubernetes.io/unschedulable:NoSchedule`.
pub(crate) struct NodeUnschedulable;

impl Plugin for NodeUnschedulable {
    fn name(&self) -> &'static str {
        "NodeUnschedulable"
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn events(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeTaints]
    }
}

impl Filter for NodeUnschedulable {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if !node.is_unschedulable() {
            return Ok(());
        }
        let taint = Taint {
            key: "node.kubernetes.io/unschedulable".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        if tolerates(pod.spec(), &taint) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) were unschedulable"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    #[test]
    fn a_cordoned_node_is_refused_unless_tolerated() {
        let cordoned = node("a", r#"{"spec":{"unschedulable":true}}"#);
        let check = |spec: &str| {
            NodeUnschedulable.filter(&CycleState::default(), &pod(spec), &cordoned).is_ok()
        };
        assert!(!check(r#"{"containers":[]}"#));
        assert!(check(
            r#"{"containers":[],"tolerations":[{"key":"node.kubernetes.io/unschedulable","operator":"Exists"}]}"#
        ));
    }
}
