//! The pods for which others were asked to make room: until these are gone, the room is promised.

use std::collections::HashMap;
use std::sync::Arc;

use super::PodInfo;

/// Promises of room, by node and by pod.
#[derive(Debug, Default)]
pub struct Nominated {
    by_node: HashMap<String, Vec<Arc<PodInfo>>>,
    node_of: HashMap<String, String>,
}

impl Nominated {
    /// Promises a pod room on a node, in the place of what it was promised before.
    pub fn set(&mut self, pod: Arc<PodInfo>, node: &str) {
        self.remove(&pod.key);
        self.node_of.insert(pod.key.clone(), node.to_owned());
        self.by_node.entry(node.to_owned()).or_default().push(pod);
    }

    /// Takes a promise back; `false` when there was none.
    pub fn remove(&mut self, key: &str) -> bool {
        let Some(node) = self.node_of.remove(key) else { return false };
        if let Some(pods) = self.by_node.get_mut(&node) {
            pods.retain(|pod| pod.key != key);
            if pods.is_empty() {
                self.by_node.remove(&node);
            }
        }
        true
    }

    /// The node that a pod was promised.
    #[must_use]
    pub fn node_of(&self, key: &str) -> Option<&str> {
        self.node_of.get(key).map(String::as_str)
    }

    /// Whose promises on a node go before a pod: those of others that are no less important.
    #[must_use]
    pub fn before(&self, pod: &PodInfo, node: &str) -> Vec<Arc<PodInfo>> {
        let there = self.by_node.get(node).map(Vec::as_slice).unwrap_or_default();
        let before = |other: &&Arc<PodInfo>| other.priority >= pod.priority && other.key != pod.key;
        there.iter().filter(before).cloned().collect()
    }

    /// Whose promises on a node give way to a pod.
    #[must_use]
    pub fn after(&self, pod: &PodInfo, node: &str) -> Vec<Arc<PodInfo>> {
        let there = self.by_node.get(node).map(Vec::as_slice).unwrap_or_default();
        there.iter().filter(|other| other.priority < pod.priority).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::named_pod;

    #[test]
    fn promises_hold_for_the_less_important() {
        let pod = |name: &str, priority: i32| {
            Arc::new(named_pod(name, &format!(r#"{{"containers":[],"priority":{priority}}}"#)))
        };
        let mut nominated = Nominated::default();
        nominated.set(pod("a", 5), "n");
        nominated.set(pod("b", 1), "n");
        let names = |pods: Vec<Arc<PodInfo>>| {
            pods.iter().map(|pod| pod.key.clone()).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(names(nominated.before(&pod("c", 3), "n")), "default/a");
        assert_eq!(names(nominated.after(&pod("c", 3), "n")), "default/b");
        assert_eq!(names(nominated.before(&pod("a", 5), "n")), "");
        nominated.set(pod("a", 5), "m");
        assert_eq!(nominated.node_of("default/a"), Some("m"));
        assert_eq!(names(nominated.before(&pod("c", 3), "n")), "");
        assert!(nominated.remove("default/a") && !nominated.remove("default/a"));
    }
}
