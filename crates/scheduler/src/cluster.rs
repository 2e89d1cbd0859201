//! What the scheduler believes of the cluster: nodes, the pods on them, and pods that it has just
//! assigned and not seen bound yet.
//!
//! Pure bookkeeping: each method takes one piece of news and says what kind of change it was.

use std::collections::HashMap;
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::{Node, Pod};

use crate::framework::{ClusterEvent, NodeInfo, PodInfo, Snapshot};

/// The scheduler's belief.
#[derive(Default)]
pub struct Cluster {
    nodes: Snapshot,
    /// Where each pod is counted, by its key.
    placed: HashMap<String, Placed>,
    /// Pods seen on nodes that have not been seen yet, by node.
    waiting: HashMap<String, Vec<Arc<PodInfo>>>,
}

struct Placed {
    node: String,
    uid: String,
    /// Not seen bound yet.
    is_assumed: bool,
}

impl Cluster {
    /// The nodes, to decide on.
    #[must_use]
    pub fn nodes(&self) -> &Snapshot {
        &self.nodes
    }

    /// A node came or changed.
    pub fn node_set(&mut self, node: Arc<Node>) -> Vec<ClusterEvent> {
        let name = node.metadata.name.clone().unwrap_or_default();
        let mut events = Vec::new();
        match self.nodes.get(&name) {
            None => events.push(ClusterEvent::NodeAdded),
            Some(old) => {
                let new = NodeInfo::new(node.clone());
                if old.allocatable != new.allocatable || old.pods_max != new.pods_max {
                    events.push(ClusterEvent::NodeAllocatable);
                }
                if old.node.metadata.labels != node.metadata.labels {
                    events.push(ClusterEvent::NodeLabels);
                }
                if old.taints() != new.taints() || old.is_unschedulable() != new.is_unschedulable()
                {
                    events.push(ClusterEvent::NodeTaints);
                }
            }
        }
        self.nodes.upsert(&name, |old| match old {
            Some(old) => {
                let mut info = old.clone();
                info.set_node(node);
                info
            }
            None => NodeInfo::new(node),
        });
        for pod in self.waiting.remove(&name).unwrap_or_default() {
            self.nodes.modify(&name, |info| info.add_pod(pod));
        }
        events
    }

    /// A node went. Its pods are remembered until they go too.
    pub fn node_removed(&mut self, name: &str) {
        if let Some(info) = self.nodes.get(name) {
            self.waiting.insert(name.to_owned(), info.pods.clone());
        }
        self.nodes.remove(name);
    }

    /// A pod was seen on a node.
    pub fn pod_bound(&mut self, pod: &Arc<Pod>) -> Vec<ClusterEvent> {
        let info = PodInfo::new(pod.clone());
        let node = info.spec().node_name.clone().unwrap_or_default();
        let before = self.placed.get(&info.key);
        let mut events = Vec::new();
        match before {
            Some(placed) if placed.node == node && !placed.is_assumed => {
                let old = self.find(&info.key, &node);
                let same = old.is_some_and(|old| {
                    old.requests == info.requests
                        && old.pod.metadata.labels == info.pod.metadata.labels
                });
                if !same {
                    events.push(ClusterEvent::PodAdded);
                }
                if old.is_some_and(|old| old.requests.exceeds(&info.requests)) {
                    events.push(ClusterEvent::PodScaledDown);
                }
            }
            _ => events.push(ClusterEvent::PodAdded),
        }
        self.take_off(&info.key.clone());
        self.put(info, &node, false);
        events
    }

    /// A pod went, or came to its end.
    pub fn pod_removed(&mut self, pod: &Pod) -> Option<ClusterEvent> {
        let key = key_of(pod);
        // Another pod of the same name may have been placed since.
        let uid = pod.metadata.uid.as_deref().unwrap_or_default();
        if self.placed.get(&key).is_some_and(|placed| placed.uid != uid) {
            return None;
        }
        self.take_off(&key).then_some(ClusterEvent::PodDeleted)
    }

    /// Counts a pod on a node before it is bound there.
    pub fn assume(&mut self, pod: &PodInfo, node: &str) {
        self.put(pod.clone(), node, true);
    }

    /// Takes an assumed pod back, when binding failed. `true` when it was still assumed.
    pub fn forget(&mut self, key: &str) -> bool {
        if self.placed.get(key).is_some_and(|placed| placed.is_assumed) {
            return self.take_off(key);
        }
        false
    }

    /// Whether a pod is counted on a node, assumed or bound.
    #[must_use]
    pub fn is_placed(&self, key: &str) -> bool {
        self.placed.contains_key(key)
    }

    fn find(&self, key: &str, node: &str) -> Option<&Arc<PodInfo>> {
        self.nodes.get(node)?.pods.iter().find(|pod| pod.key == key)
    }

    fn put(&mut self, pod: PodInfo, node: &str, is_assumed: bool) {
        let uid = pod.pod.metadata.uid.clone().unwrap_or_default();
        let placed = Placed { node: node.to_owned(), uid, is_assumed };
        self.placed.insert(pod.key.clone(), placed);
        let pod = Arc::new(pod);
        if self.nodes.get(node).is_some() {
            self.nodes.modify(node, |info| info.add_pod(pod));
        } else {
            self.waiting.entry(node.to_owned()).or_default().push(pod);
        }
    }

    fn take_off(&mut self, key: &str) -> bool {
        let Some(placed) = self.placed.remove(key) else { return false };
        if let Some(waiting) = self.waiting.get_mut(&placed.node) {
            waiting.retain(|pod| pod.key != key);
            if waiting.is_empty() {
                self.waiting.remove(&placed.node);
            }
        }
        self.nodes.modify(&placed.node, |info| {
            info.remove_pod(key);
        });
        true
    }
}

/// `NAMESPACE/NAME`.
#[must_use]
pub fn key_of(pod: &Pod) -> String {
    let meta = &pod.metadata;
    format!(
        "{}/{}",
        meta.namespace.as_deref().unwrap_or_default(),
        meta.name.as_deref().unwrap_or_default()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;

    fn node(name: &str, cpu: &str) -> Arc<Node> {
        let json = format!(r#"{{"status":{{"allocatable":{{"cpu":"{cpu}","pods":"9"}}}}}}"#);
        testing::node(name, &json).node
    }

    fn pod(name: &str, uid: &str, node: &str) -> Arc<Pod> {
        let json = format!(
            r#"{{"metadata":{{"name":"{name}","namespace":"d","uid":"{uid}"}},"spec":{{"nodeName":"{node}",
            "containers":[{{"name":"c","resources":{{"requests":{{"cpu":"1"}}}}}}]}}}}"#
        );
        Arc::new(serde_json::from_str(&json).unwrap())
    }

    fn used(cluster: &Cluster, node: &str) -> i64 {
        cluster.nodes().get(node).unwrap().requested.cpu_milli
    }

    #[test]
    fn an_assumed_pod_counts_once_when_it_is_seen_bound() {
        let mut cluster = Cluster::default();
        assert_eq!(cluster.node_set(node("a", "4")), [ClusterEvent::NodeAdded]);
        cluster.assume(&PodInfo::new(pod("p", "1", "")), "a");
        assert_eq!(used(&cluster, "a"), 1000);
        cluster.pod_bound(&pod("p", "1", "a"));
        assert_eq!(used(&cluster, "a"), 1000);
        assert!(!cluster.forget("d/p"), "a bound pod is not forgotten");
        assert_eq!(cluster.pod_bound(&pod("p", "1", "a")), []);
        assert_eq!(cluster.pod_removed(&pod("p", "1", "a")), Some(ClusterEvent::PodDeleted));
        assert_eq!(used(&cluster, "a"), 0);
    }

    #[test]
    fn a_pod_that_asks_for_less_leaves_room() {
        let mut cluster = Cluster::default();
        cluster.node_set(node("a", "4"));
        let with = |cpu: &str| {
            let mut pod = Pod::clone(&pod("p", "1", "a"));
            let own = pod.spec.as_mut().unwrap().containers[0].resources.as_mut().unwrap();
            own.requests.as_mut().unwrap().get_mut("cpu").unwrap().0 = cpu.to_owned();
            Arc::new(pod)
        };
        cluster.pod_bound(&with("1"));
        assert_eq!(cluster.pod_bound(&with("2")), [ClusterEvent::PodAdded]);
        let both = [ClusterEvent::PodAdded, ClusterEvent::PodScaledDown];
        assert_eq!(cluster.pod_bound(&with("1")), both);
    }

    #[test]
    fn a_failed_binding_is_taken_back() {
        let mut cluster = Cluster::default();
        cluster.node_set(node("a", "4"));
        cluster.assume(&PodInfo::new(pod("p", "1", "")), "a");
        assert!(cluster.forget("d/p"));
        assert_eq!(used(&cluster, "a"), 0);
    }

    #[test]
    fn pods_seen_before_their_node_count_when_it_comes() {
        let mut cluster = Cluster::default();
        cluster.pod_bound(&pod("p", "1", "a"));
        cluster.node_set(node("a", "4"));
        assert_eq!(used(&cluster, "a"), 1000);
        cluster.node_removed("a");
        cluster.node_set(node("a", "4"));
        assert_eq!(used(&cluster, "a"), 1000);
    }

    #[test]
    fn late_news_of_a_former_pod_does_not_hit_its_namesake() {
        let mut cluster = Cluster::default();
        cluster.node_set(node("a", "4"));
        cluster.pod_bound(&pod("p", "2", "a"));
        assert_eq!(cluster.pod_removed(&pod("p", "1", "a")), None);
        assert_eq!(used(&cluster, "a"), 1000);
    }

    #[test]
    fn what_changed_at_a_node_is_told() {
        let mut cluster = Cluster::default();
        cluster.node_set(node("a", "4"));
        assert_eq!(cluster.node_set(node("a", "8")), [ClusterEvent::NodeAllocatable]);
        assert!(cluster.node_set(node("a", "8")).is_empty());
    }
}
