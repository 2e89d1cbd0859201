//! A node with the pods on it, and all nodes at one moment.

use std::collections::HashMap;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Node, Taint};

use super::{PodInfo, Resources, ScoredRequests};

/// A node and what is on it. Changed copy-on-write: a cycle keeps the one that it began with.
#[derive(Debug, Clone)]
pub struct NodeInfo {
    /// The object.
    pub node: Arc<Node>,
    /// What pods may use.
    pub allocatable: Resources,
    /// How many pods may be there.
    pub pods_max: i64,
    /// What the pods there ask for.
    pub requested: Resources,
    /// What they count as when nodes are scored.
    pub scored: ScoredRequests,
    /// The images there by every name that they have, and their length in bytes.
    pub images: Arc<HashMap<String, i64>>,
    /// The pods there, assumed ones among them.
    pub pods: Vec<Arc<PodInfo>>,
}

/// All nodes at one moment, in the order of their coming.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    /// The nodes.
    pub nodes: Vec<Arc<NodeInfo>>,
    by_name: HashMap<String, usize>,
}

impl NodeInfo {
    /// A node without pods.
    #[must_use]
    pub fn new(node: Arc<Node>) -> Self {
        let mut info = Self {
            allocatable: Resources::default(),
            pods_max: 0,
            requested: Resources::default(),
            scored: ScoredRequests::default(),
            images: Arc::default(),
            pods: Vec::new(),
            node: node.clone(),
        };
        info.set_node(node);
        info
    }

    /// Takes a newer form of the object.
    pub fn set_node(&mut self, node: Arc<Node>) {
        let list = node.status.as_ref().and_then(|status| status.allocatable.as_ref());
        self.allocatable = Resources::from_list(list);
        self.pods_max = list
            .and_then(|list| list.get("pods"))
            .map(|amount| super::resources::parsed(amount).value())
            .unwrap_or_default();
        self.images = Arc::new(images_of(&node));
        self.node = node;
    }

    /// The node's name.
    #[must_use]
    pub fn name(&self) -> &str {
        self.node.metadata.name.as_deref().unwrap_or_default()
    }

    /// A label's value.
    #[must_use]
    pub fn label(&self, key: &str) -> Option<&str> {
        self.node.metadata.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// `spec.taints`.
    #[must_use]
    pub fn taints(&self) -> &[Taint] {
        self.node.spec.as_ref().and_then(|spec| spec.taints.as_deref()).unwrap_or_default()
    }

    /// `spec.unschedulable`.
    #[must_use]
    pub fn is_unschedulable(&self) -> bool {
        self.node.spec.as_ref().and_then(|spec| spec.unschedulable).unwrap_or_default()
    }

    /// Puts a pod here.
    pub fn add_pod(&mut self, pod: Arc<PodInfo>) {
        self.requested.add(&pod.requests);
        self.scored.add(pod.scored);
        self.pods.push(pod);
    }

    /// Takes a pod away; `false` when it was not here.
    pub fn remove_pod(&mut self, key: &str) -> bool {
        let Some(at) = self.pods.iter().position(|pod| pod.key == key) else { return false };
        let pod = self.pods.swap_remove(at);
        self.requested.subtract(&pod.requests);
        self.scored.subtract(pod.scored);
        true
    }
}

fn images_of(node: &Node) -> HashMap<String, i64> {
    let images = node.status.iter().flat_map(|status| status.images.iter().flatten());
    let mut lengths = HashMap::new();
    for image in images {
        for name in image.names.iter().flatten() {
            lengths.entry(name.clone()).or_insert(image.size_bytes.unwrap_or_default());
        }
    }
    lengths
}

impl Snapshot {
    /// A snapshot of these nodes.
    #[must_use]
    pub fn new(nodes: Vec<Arc<NodeInfo>>) -> Self {
        let by_name =
            nodes.iter().enumerate().map(|(at, node)| (node.name().to_owned(), at)).collect();
        Self { nodes, by_name }
    }

    /// A node by name.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<NodeInfo>> {
        self.nodes.get(*self.by_name.get(name)?)
    }

    /// Changes a node in place, or adds it. Cycles that hold the old form keep it.
    pub fn upsert(&mut self, name: &str, change: impl FnOnce(Option<&NodeInfo>) -> NodeInfo) {
        match self.by_name.get(name) {
            Some(at) => self.nodes[*at] = Arc::new(change(Some(&self.nodes[*at]))),
            None => {
                self.by_name.insert(name.to_owned(), self.nodes.len());
                self.nodes.push(Arc::new(change(None)));
            }
        }
    }

    /// Changes a node that is there, without copying it when nobody else holds it.
    pub fn modify(&mut self, name: &str, change: impl FnOnce(&mut NodeInfo)) {
        if let Some(at) = self.by_name.get(name) {
            change(Arc::make_mut(&mut self.nodes[*at]));
        }
    }

    /// Takes a node away.
    pub fn remove(&mut self, name: &str) {
        if let Some(at) = self.by_name.remove(name) {
            self.nodes.remove(at);
            for (index, node) in self.nodes.iter().enumerate().skip(at) {
                self.by_name.insert(node.name().to_owned(), index);
            }
        }
    }
}
