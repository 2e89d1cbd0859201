//! `spec.nodeSelector` and node affinity: a pod runs where its node's labels are as it asks.

use std::collections::BTreeSet;

use api::k8s_openapi::api::core::v1::{NodeSelector, NodeSelectorRequirement, NodeSelectorTerm};

use crate::framework::{
    ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterResult,
    Rejection, Score, Snapshot, normalize_to_max,
};

/// `NodeAffinity`.
pub(crate) struct NodeAffinity;

impl Plugin for NodeAffinity {
    fn name(&self) -> &'static str {
        "NodeAffinity"
    }

    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        Some(self)
    }

    fn as_filter(&self) -> Option<&dyn Filter> {
        Some(self)
    }

    fn as_score(&self) -> Option<&dyn Score> {
        Some(self)
    }

    fn events(&self) -> &'static [ClusterEvent] {
        &[ClusterEvent::NodeAdded, ClusterEvent::NodeLabels]
    }
}

fn required(pod: &PodInfo) -> Option<&NodeSelector> {
    pod.spec()
        .affinity
        .as_ref()?
        .node_affinity
        .as_ref()?
        .required_during_scheduling_ignored_during_execution
        .as_ref()
}

impl PreFilter for NodeAffinity {
    /// A pod that asks for its node by name (as a DaemonSet's does) needs no look at the others.
    fn pre_filter(&self, _: &mut CycleState, pod: &PodInfo, _: &Snapshot) -> PreFilterResult {
        let spec = pod.spec();
        let Some(selector) = required(pod) else {
            let plain = spec.node_selector.as_ref().is_none_or(|labels| labels.is_empty());
            return if plain { PreFilterResult::Skip } else { PreFilterResult::All };
        };
        let mut names = BTreeSet::new();
        for term in &selector.node_selector_terms {
            let by_name = term
                .match_fields
                .iter()
                .flatten()
                .find(|field| field.key == "metadata.name" && field.operator == "In");
            match by_name {
                Some(field) => names.extend(field.values.iter().flatten().cloned()),
                None => return PreFilterResult::All,
            }
        }
        PreFilterResult::Nodes(names.into_iter().collect())
    }
}

impl Filter for NodeAffinity {
    fn filter(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        if matches_required(pod, node) {
            return Ok(());
        }
        Err(Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"))
    }
}

/// Whether a node is one that the pod's selector and required affinity allow.
pub(crate) fn matches_required(pod: &PodInfo, node: &NodeInfo) -> bool {
    let labels = pod.spec().node_selector.iter().flatten();
    let mut labels = labels.map(|(key, value)| node.label(key) == Some(value.as_str()));
    labels.all(|matches| matches)
        && required(pod).is_none_or(|selector| {
            selector.node_selector_terms.iter().any(|term| term_matches(term, node))
        })
}

/// A term without any requirement matches nothing.
fn term_matches(term: &NodeSelectorTerm, node: &NodeInfo) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    (!expressions.is_empty() || !fields.is_empty())
        && expressions.iter().all(|wanted| requirement_matches(wanted, node.label(&wanted.key)))
        && fields.iter().all(|wanted| {
            wanted.key == "metadata.name" && requirement_matches(wanted, Some(node.name()))
        })
}

fn requirement_matches(wanted: &NodeSelectorRequirement, value: Option<&str>) -> bool {
    let values = wanted.values.as_deref().unwrap_or_default();
    let is_listed = |value: &str| values.iter().any(|own| own == value);
    let number = |text: &str| text.parse::<i64>().ok();
    let compared = |holds: fn(i64, i64) -> bool| {
        let bound = values.first().and_then(|text| number(text));
        matches!((value.and_then(number), bound), (Some(own), Some(bound)) if holds(own, bound))
    };
    match wanted.operator.as_str() {
        "In" => value.is_some_and(is_listed),
        "NotIn" => !value.is_some_and(is_listed),
        "Exists" => value.is_some(),
        "DoesNotExist" => value.is_none(),
        "Gt" => compared(|own, bound| own > bound),
        "Lt" => compared(|own, bound| own < bound),
        _ => false,
    }
}

impl Score for NodeAffinity {
    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(&self, _: &mut CycleState, pod: &PodInfo, _: &[&NodeInfo]) -> bool {
        preferred(pod).next().is_some()
    }

    fn score(&self, _: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64 {
        preferred(pod)
            .filter(|(_, term)| term_matches(term, node))
            .map(|(weight, _)| i64::from(weight))
            .sum()
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) {
        normalize_to_max(scores, false);
    }
}

fn preferred(pod: &PodInfo) -> impl Iterator<Item = (i32, &NodeSelectorTerm)> {
    pod.spec()
        .affinity
        .iter()
        .flat_map(|affinity| &affinity.node_affinity)
        .flat_map(|own| own.preferred_during_scheduling_ignored_during_execution.iter().flatten())
        .filter(|term| term.weight != 0)
        .map(|term| (term.weight, &term.preference))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};

    fn passes(spec: &str) -> bool {
        let ssd = node("a", r#"{"metadata":{"labels":{"disk":"ssd","cores":"8"}}}"#);
        NodeAffinity.filter(&CycleState::default(), &pod(spec), &ssd).is_ok()
    }

    fn affinity(expression: &str) -> String {
        format!(
            r#"{{"containers":[],"affinity":{{"nodeAffinity":{{"requiredDuringSchedulingIgnoredDuringExecution":
            {{"nodeSelectorTerms":[{{"matchExpressions":[{expression}]}}]}}}}}}}}"#
        )
    }

    #[test]
    fn selector_and_operators() {
        assert!(passes(r#"{"containers":[],"nodeSelector":{"disk":"ssd"}}"#));
        assert!(!passes(r#"{"containers":[],"nodeSelector":{"disk":"hdd"}}"#));
        for (expression, expected) in [
            (r#"{"key":"disk","operator":"In","values":["ssd","nvme"]}"#, true),
            (r#"{"key":"disk","operator":"NotIn","values":["ssd"]}"#, false),
            (r#"{"key":"zone","operator":"NotIn","values":["x"]}"#, true),
            (r#"{"key":"zone","operator":"Exists"}"#, false),
            (r#"{"key":"zone","operator":"DoesNotExist"}"#, true),
            (r#"{"key":"cores","operator":"Gt","values":["4"]}"#, true),
            (r#"{"key":"cores","operator":"Lt","values":["4"]}"#, false),
            ("", false),
        ] {
            assert_eq!(passes(&affinity(expression)), expected, "{expression}");
        }
    }

    #[test]
    fn a_pod_that_names_its_node_is_shown_that_node_only() {
        let spec = r#"{"containers":[],"affinity":{"nodeAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":
            {"nodeSelectorTerms":[{"matchFields":[{"key":"metadata.name","operator":"In","values":["b"]}]}]}}}}"#;
        let got =
            NodeAffinity.pre_filter(&mut CycleState::default(), &pod(spec), &Snapshot::default());
        assert_eq!(got, PreFilterResult::Nodes(vec!["b".into()]));
    }
}
