//! Two containers of a node cannot have the same host port.

use crate::framework::{
    ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterResult,
    Rejection, Snapshot,
};

/// `NodePorts`: compares host ports by protocol, address and number.
pub(crate) struct NodePorts;

impl Plugin for NodePorts {
    fn name(&self) -> &'static str {
        "NodePorts"
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn events(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::PodDeleted]
    }
}

impl PreFilter for NodePorts {
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        if pod.host_ports.is_empty() { PreFilterResult::Skip } else { PreFilterResult::All }
    }
}

impl Filter for NodePorts {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        let taken = node.pods.iter().flat_map(|other| &other.host_ports);
        for other in taken {
            if pod.host_ports.iter().any(|own| own.conflicts_with(other)) {
                return Err(Rejection::resolvable(
                    "node(s) didn't have free ports for the requested pod ports",
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};
    use std::sync::Arc;

    fn check(port: &str, passes: bool) {
        let with =
            |port: &str| pod(&format!(r#"{{"containers":[{{"name":"c","ports":[{port}]}}]}}"#));
        let mut full = node("a", "{}");
        full.add_pod(Arc::new(with(r#"{"containerPort":80,"hostPort":80,"hostIP":"10.0.0.1"}"#)));
        let got = NodePorts.filter(&CycleState::default(), &with(port), &full);
        assert_eq!(got.is_ok(), passes, "{port}");
    }

    #[test]
    fn every_address_conflicts_with_one_address() {
        check(r#"{"containerPort":80,"hostPort":80}"#, false);
        check(r#"{"containerPort":80,"hostPort":80,"hostIP":"10.0.0.2"}"#, true);
        check(r#"{"containerPort":80,"hostPort":80,"protocol":"UDP"}"#, true);
        check(r#"{"containerPort":80}"#, true);
    }
}
