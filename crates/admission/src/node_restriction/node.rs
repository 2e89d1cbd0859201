//! The node itself: its labels and taints decide what is scheduled onto it, so that it must not
//! choose them freely.

use std::collections::BTreeSet;

use api::Value;
use api::object::{at, list_at};
use api::status::ApiResult;
use apiserver::admission::Operation;

use super::Node;

const RESTRICTED: &str = "node-restriction.kubernetes.io";

/// Labels of Kubernetes' own that a kubelet may set on its node.
const KUBELET_LABELS: [&str; 11] = [
    "kubernetes.io/hostname",
    "topology.kubernetes.io/zone",
    "topology.kubernetes.io/region",
    "failure-domain.beta.kubernetes.io/zone",
    "failure-domain.beta.kubernetes.io/region",
    "beta.kubernetes.io/instance-type",
    "node.kubernetes.io/instance-type",
    "kubernetes.io/os",
    "kubernetes.io/arch",
    "beta.kubernetes.io/os",
    "beta.kubernetes.io/arch",
];
const KUBELET_DOMAINS: [&str; 2] = ["kubelet.kubernetes.io", "node.kubernetes.io"];

impl Node<'_, '_> {
    pub(super) fn node(&self) -> ApiResult<()> {
        let (node, asked) = (self.name, self.request.name);
        if asked != node {
            return self.refuse(format!("node {node:?} is not allowed to modify node {asked:?}"));
        }
        let (new, old) = (self.object(), self.old());
        let source = |node: &Value| at(node, &["spec", "configSource"]).cloned();
        match self.request.operation {
            Operation::Create => {
                if source(new).is_some() {
                    return self.refuse(format!(
                        "node {node:?} is not allowed to create pods with a non-nil configSource"
                    ));
                }
                let forbidden = forbidden(&modified(new, &Value::Null));
                if !forbidden.is_empty() {
                    return self.refuse(format!(
                        "node {node:?} is not allowed to set the following labels: {}",
                        forbidden.join(", ")
                    ));
                }
            }
            Operation::Update => {
                if source(new).is_some() && source(new) != source(old) {
                    return self.refuse(format!(
                        "node {node:?} is not allowed to update configSource to a new non-nil configSource"
                    ));
                }
                if list_at(new, &["spec", "taints"]) != list_at(old, &["spec", "taints"]) {
                    return self.refuse(format!("node {node:?} is not allowed to modify taints"));
                }
                let forbidden = forbidden(&modified(new, old));
                if !forbidden.is_empty() {
                    return self.refuse(format!(
                        "is not allowed to modify labels: {}",
                        forbidden.join(", ")
                    ));
                }
            }
            _ => {}
        }
        Ok(())
    }
}

/// The labels that differ.
fn modified(new: &Value, old: &Value) -> BTreeSet<String> {
    let all = |node: &Value| -> BTreeSet<(String, String)> {
        api::object::labels(node).map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
    };
    all(new).symmetric_difference(&all(old)).map(|(key, _)| key.clone()).collect()
}

fn forbidden(labels: &BTreeSet<String>) -> Vec<String> {
    let of = |domain: &str, parent: &str| {
        domain == parent || domain.strip_suffix(parent).is_some_and(|rest| rest.ends_with('.'))
    };
    let is_forbidden = |label: &&String| {
        let domain = label.split_once('/').map_or("", |(domain, _)| domain);
        let is_kubernetes = of(domain, "kubernetes.io") || of(domain, "k8s.io");
        let is_kubelets = KUBELET_LABELS.contains(&label.as_str())
            || KUBELET_DOMAINS.iter().any(|parent| of(domain, parent));
        of(domain, RESTRICTED) || (is_kubernetes && !is_kubelets)
    };
    labels.iter().filter(is_forbidden).cloned().collect()
}
