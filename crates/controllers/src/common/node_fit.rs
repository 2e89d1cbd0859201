//! Whether a node suits a pod: selector, required affinity, taints. Pure.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::{
    Node, NodeSelector, NodeSelectorRequirement, NodeSelectorTerm, PodSpec, Taint, Toleration,
};

use super::owner::name;

/// Whether a pod's node selector and required node affinity select a node.
pub(crate) fn selects(spec: &PodSpec, node: &Node) -> bool {
    let none = BTreeMap::new();
    let labels = node.metadata.labels.as_ref().unwrap_or(&none);
    let selected =
        spec.node_selector.iter().flatten().all(|(key, value)| labels.get(key) == Some(value));
    let affinity =
        spec.affinity.as_ref().and_then(|affinity| affinity.node_affinity.as_ref()).and_then(
            |affinity| affinity.required_during_scheduling_ignored_during_execution.as_ref(),
        );
    selected && affinity.is_none_or(|selector| selector_matches(selector, node, labels))
}

fn selector_matches(
    selector: &NodeSelector,
    node: &Node,
    labels: &BTreeMap<String, String>,
) -> bool {
    selector.node_selector_terms.iter().any(|term| term_matches(term, node, labels))
}

fn term_matches(term: &NodeSelectorTerm, node: &Node, labels: &BTreeMap<String, String>) -> bool {
    let expressions = term.match_expressions.as_deref().unwrap_or_default();
    let fields = term.match_fields.as_deref().unwrap_or_default();
    // A term without requirements selects nothing.
    if expressions.is_empty() && fields.is_empty() {
        return false;
    }
    let field = |key: &str| (key == "metadata.name").then(|| name(&node.metadata));
    expressions.iter().all(|one| holds(one, labels.get(&one.key).map(String::as_str)))
        && fields.iter().all(|one| holds(one, field(&one.key)))
}

fn holds(requirement: &NodeSelectorRequirement, found: Option<&str>) -> bool {
    let values = requirement.values.as_deref().unwrap_or_default();
    let contains = |found: &str| values.iter().any(|value| value == found);
    let compare = |greater: bool| {
        let found: Option<i64> = found.and_then(|found| found.parse().ok());
        let bound: Option<i64> = values.first().and_then(|value| value.parse().ok());
        matches!((found, bound), (Some(found), Some(bound))
            if if greater { found > bound } else { found < bound })
    };
    match requirement.operator.as_str() {
        "In" => found.is_some_and(contains),
        "NotIn" => !found.is_some_and(contains),
        "Exists" => found.is_some(),
        "DoesNotExist" => found.is_none(),
        "Gt" => compare(true),
        "Lt" => compare(false),
        _ => false,
    }
}

/// The first taint of these effects that is not tolerated.
pub(crate) fn untolerated<'a>(
    node: &'a Node,
    tolerations: &[Toleration],
    effects: &[&str],
) -> Option<&'a Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints
        .filter(|taint| effects.contains(&taint.effect.as_str()))
        .find(|taint| !tolerations.iter().any(|toleration| tolerates(toleration, taint)))
}

/// Whether a toleration tolerates a taint.
pub(crate) fn tolerates(toleration: &Toleration, taint: &Taint) -> bool {
    fn text(text: Option<&String>) -> &str {
        text.map(String::as_str).unwrap_or_default()
    }
    let (effect, key) = (text(toleration.effect.as_ref()), text(toleration.key.as_ref()));
    if !(effect.is_empty() || effect == taint.effect) || !(key.is_empty() || key == taint.key) {
        return false;
    }
    match text(toleration.operator.as_ref()) {
        "Exists" => true,
        "" | "Equal" => text(toleration.value.as_ref()) == text(taint.value.as_ref()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn selectors_fields_and_taints() {
        let node: Node = serde_json::from_str(
            r#"{"metadata":{"name":"n1","labels":{"disk":"ssd","cpus":"8"}},
                "spec":{"taints":[{"key":"k","effect":"NoSchedule"}]}}"#,
        )
        .unwrap();
        let check = |spec: &str, expected| {
            let spec: PodSpec = serde_json::from_str(spec).unwrap();
            assert_eq!(selects(&spec, &node), expected);
        };
        let affinity = |terms: &str| {
            format!(
                r#"{{"containers":[],"affinity":{{"nodeAffinity":
                    {{"requiredDuringSchedulingIgnoredDuringExecution":{{"nodeSelectorTerms":{terms}}}}}}}}}"#
            )
        };
        check(r#"{"containers":[]}"#, true);
        check(r#"{"containers":[],"nodeSelector":{"disk":"hdd"}}"#, false);
        check(
            &affinity(
                r#"[{"matchFields":[{"key":"metadata.name","operator":"In","values":["n1"]}]}]"#,
            ),
            true,
        );
        check(
            &affinity(r#"[{"matchExpressions":[{"key":"cpus","operator":"Gt","values":["8"]}]}]"#),
            false,
        );
        check(&affinity("[{}]"), false);
        assert!(untolerated(&node, &[], &["NoExecute"]).is_none());
        assert!(untolerated(&node, &[], &["NoSchedule"]).is_some());
        let all = Toleration { operator: Some("Exists".into()), ..Toleration::default() };
        assert!(untolerated(&node, &[all], &["NoSchedule"]).is_none());
    }
}
