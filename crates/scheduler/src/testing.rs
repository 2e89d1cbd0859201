//! Pods and nodes for this crate's tests.

use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Node, Pod};

use crate::framework::{NodeInfo, PodInfo};

/// A pod `default/p` with this spec (JSON).
pub(crate) fn pod(spec: &str) -> PodInfo {
    labelled_pod("{}", spec)
}

/// The same with labels (JSON).
pub(crate) fn labelled_pod(labels: &str, spec: &str) -> PodInfo {
    let pod: Pod = serde_json::from_str(&format!(
        r#"{{"metadata":{{"name":"p","namespace":"default","labels":{labels}}},"spec":{spec}}}"#
    ))
    .unwrap();
    PodInfo::new(Arc::new(pod))
}

/// A pod `default/NAME` with this spec (JSON).
pub(crate) fn named_pod(name: &str, spec: &str) -> PodInfo {
    let mut pod = Pod::clone(&pod(spec).pod);
    pod.metadata.name = Some(name.to_owned());
    PodInfo::new(Arc::new(pod))
}

/// A node with this name; the rest from JSON.
pub(crate) fn node(name: &str, json: &str) -> NodeInfo {
    let mut node: Node = serde_json::from_str(json).unwrap();
    node.metadata.name = Some(name.to_owned());
    NodeInfo::new(Arc::new(node))
}
