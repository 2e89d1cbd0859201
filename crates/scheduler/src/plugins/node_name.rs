//! A pod that names its node runs on no other.

use crate::framework::{
    ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterResult,
    Rejection, Snapshot,
};

/// `NodeName`: compares `spec.nodeName` with the node's name.
pub(crate) struct NodeName;

impl Plugin for NodeName {
    fn name(&self) -> &'static str {
        "NodeName"
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn events(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded]
    }
}

impl PreFilter for NodeName {
    /// Pods that already name their node are hardly ever scheduled.
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        match pod.spec().node_name.as_deref() {
            None | Some("") => PreFilterResult::Skip,
            Some(_) => PreFilterResult::All,
        }
    }
}

impl Filter for NodeName {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        match pod.spec().node_name.as_deref() {
            None | Some("") => Ok(()),
            Some(name) if name == node.name() => Ok(()),
            Some(_) => Err(Rejection::unresolvable("node(s) didn't match the requested node name")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    fn check(spec: &str, passes: bool) {
        let got = NodeName.filter(&CycleState::default(), &pod(spec), &node("a", "{}"));
        assert_eq!(got.is_ok(), passes, "{spec}");
    }

    #[test]
    fn only_the_named_node_passes() {
        check(r#"{"containers":[]}"#, true);
        check(r#"{"containers":[],"nodeName":"a"}"#, true);
        check(r#"{"containers":[],"nodeName":"b"}"#, false);
    }
}
