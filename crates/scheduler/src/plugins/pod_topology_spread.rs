//! Pods of a kind spread over zones and nodes.
//!
//! A pod's own `topologySpreadConstraints` hold. A pod without any, but with a controller, spreads
//! softly from its siblings over nodes and zones, as upstream's default constraints do.

use std::collections::{BTreeMap, HashMap};

use api::k8s_openapi::api::core::v1::{Pod, TopologySpreadConstraint};
use api::selector::selects;

use super::node_affinity::matches_required;
use crate::framework::{
    ClusterEvent, CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilter, PreFilterResult,
    Rejection, SCORE_MAX, Score, Snapshot,
};
use crate::tolerations::tolerates;

/// `PodTopologySpread`.
pub(crate) struct PodTopologySpread;

const HOSTNAME: &str = "kubernetes.io/hostname";
const ZONE: &str = "topology.kubernetes.io/zone";

/// The hard constraints of a pod, with the matching pods counted in each domain.
struct Hard(Vec<Counted>);

/// The soft constraints, likewise.
struct Soft(Vec<Counted>);

#[derive(Clone)]
struct Counted {
    key: String,
    max_skew: i64,
    min_domains: usize,
    is_self_match: bool,
    by_domain: HashMap<String, i64>,
}

impl Counted {
    /// The fewest matching pods in a domain; 0 while there are fewer domains than asked for.
    fn least(&self) -> i64 {
        if self.by_domain.len() < self.min_domains {
            return 0;
        }
        self.by_domain.values().copied().min().unwrap_or_default()
    }
}

impl Plugin for PodTopologySpread {
    fn name(&self) -> &'static str {
        "PodTopologySpread"
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
        &[
            ClusterEvent::NodeAdded,
            ClusterEvent::NodeLabels,
            ClusterEvent::PodAdded,
            ClusterEvent::PodDeleted,
        ]
    }
}

fn constraints<'a>(
    pod: &'a PodInfo,
    when: &'static str,
) -> impl Iterator<Item = &'a TopologySpreadConstraint> {
    let all = pod.spec().topology_spread_constraints.iter().flatten();
    all.filter(move |own| own.when_unsatisfiable == when)
}

impl PreFilter for PodTopologySpread {
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> PreFilterResult {
        let hard: Vec<_> = constraints(pod, "DoNotSchedule")
            .map(|own| count(own, pod, nodes.nodes.iter().map(AsRef::as_ref)))
            .collect();
        if hard.is_empty() {
            return PreFilterResult::Skip;
        }
        state.write(Hard(hard));
        PreFilterResult::All
    }

    fn node_changed(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        before: &NodeInfo,
        after: &NodeInfo,
    ) {
        let Some(Hard(counted)) = state.read::<Hard>() else { return };
        let mut counted = counted.clone();
        for (constraint, own) in constraints(pod, "DoNotSchedule").zip(&mut counted) {
            let [before, after] =
                [before, after].map(|node| count(constraint, pod, std::iter::once(node)).by_domain);
            for (domain, here) in before {
                *own.by_domain.entry(domain).or_default() -= here;
            }
            for (domain, here) in after {
                *own.by_domain.entry(domain).or_default() += here;
            }
        }
        state.write(Hard(counted));
    }
}

impl Filter for PodTopologySpread {
    fn filter(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> Result<(), Rejection> {
        const TEXT: &str = "node(s) didn't match pod topology spread constraints";
        for constraint in state.read::<Hard>().iter().flat_map(|hard| &hard.0) {
            let Some(domain) = node.label(&constraint.key) else {
                return Err(Rejection::unresolvable(format!("{TEXT} (missing required label)")));
            };
            let here = constraint.by_domain.get(domain).copied().unwrap_or_default();
            let skew = here + i64::from(constraint.is_self_match) - constraint.least();
            if skew > constraint.max_skew {
                return Err(Rejection::resolvable(TEXT));
            }
        }
        Ok(())
    }
}

impl Score for PodTopologySpread {
    fn weight(&self) -> i64 {
        2
    }

    fn pre_score(&self, state: &mut CycleState, pod: &PodInfo, nodes: &[&NodeInfo]) -> bool {
        let nodes = || nodes.iter().copied();
        let mut soft: Vec<_> =
            constraints(pod, "ScheduleAnyway").map(|own| count(own, pod, nodes())).collect();
        let has_own =
            pod.spec().topology_spread_constraints.as_ref().is_some_and(|own| !own.is_empty());
        if !has_own && let Some(owner) = controller(&pod.pod) {
            let sibling = |other: &PodInfo| controller(&other.pod) == Some(owner);
            for (key, max_skew) in [(HOSTNAME, 3), (ZONE, 5)] {
                let by_domain = domains(nodes(), key, |_| true, sibling);
                soft.push(Counted {
                    key: key.to_owned(),
                    max_skew,
                    min_domains: 1,
                    is_self_match: true,
                    by_domain,
                });
            }
        }
        let any = !soft.is_empty();
        state.write(Soft(soft));
        any
    }

    /// The more matching pods are in a node's domains, the more; turned round afterwards.
    fn score(&self, state: &CycleState, _: &PodInfo, node: &NodeInfo) -> i64 {
        let soft = state.read::<Soft>();
        soft.iter()
            .flat_map(|soft| &soft.0)
            .map(|constraint| {
                let domain = node.label(&constraint.key);
                let here = domain.and_then(|domain| constraint.by_domain.get(domain));
                // Domains in the thousand count for less each, as upstream's logarithm weights them.
                let weight = i64::from((constraint.by_domain.len() + 2).ilog2());
                here.copied().unwrap_or_default() * weight + (constraint.max_skew - 1)
            })
            .sum()
    }

    fn normalize(&self, _: &CycleState, _: &PodInfo, scores: &mut [i64]) {
        let (least, most) = (
            scores.iter().copied().min().unwrap_or_default(),
            scores.iter().copied().max().unwrap_or_default(),
        );
        for score in scores {
            *score = if most == 0 { SCORE_MAX } else { SCORE_MAX * (most + least - *score) / most };
        }
    }
}

/// The UID of a pod's controller.
fn controller(pod: &Pod) -> Option<&str> {
    let owners = pod.metadata.owner_references.iter().flatten();
    owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.as_str()).next()
}

fn count<'a>(
    constraint: &TopologySpreadConstraint,
    pod: &PodInfo,
    nodes: impl Iterator<Item = &'a NodeInfo>,
) -> Counted {
    let mut selector = constraint.label_selector.clone().unwrap_or_default();
    // matchLabelKeys: only pods with the incoming pod's own values of these keys. (KEP-3243)
    let own: BTreeMap<String, String> = constraint
        .match_label_keys
        .iter()
        .flatten()
        .filter_map(|key| Some((key.clone(), pod.label(key)?.to_owned())))
        .collect();
    selector.match_labels.get_or_insert_default().extend(own);
    let honours_taints = constraint.node_taints_policy.as_deref() == Some("Honor");
    let ignores_affinity = constraint.node_affinity_policy.as_deref() == Some("Ignore");
    let is_eligible = |node: &NodeInfo| {
        let hard = |effect: &str| matches!(effect, "NoSchedule" | "NoExecute");
        (ignores_affinity || matches_required(pod, node))
            && (!honours_taints
                || node
                    .taints()
                    .iter()
                    .all(|taint| !hard(&taint.effect) || tolerates(pod.spec(), taint)))
    };
    let is_counted = |other: &PodInfo| {
        other.namespace() == pod.namespace()
            && other.pod.metadata.deletion_timestamp.is_none()
            && selects(&selector, other.pod.metadata.labels.as_ref())
    };
    Counted {
        key: constraint.topology_key.clone(),
        max_skew: constraint.max_skew.into(),
        min_domains: constraint.min_domains.and_then(|min| usize::try_from(min).ok()).unwrap_or(1),
        is_self_match: selects(&selector, pod.pod.metadata.labels.as_ref()),
        by_domain: domains(nodes, &constraint.topology_key, is_eligible, is_counted),
    }
}

fn domains<'a>(
    nodes: impl Iterator<Item = &'a NodeInfo>,
    key: &str,
    is_eligible: impl Fn(&NodeInfo) -> bool,
    is_counted: impl Fn(&PodInfo) -> bool,
) -> HashMap<String, i64> {
    let mut by_domain = HashMap::new();
    for node in nodes.filter(|node| is_eligible(node)) {
        if let Some(domain) = node.label(key) {
            let here = node.pods.iter().filter(|other| is_counted(other)).count();
            *by_domain.entry(domain.to_owned()).or_default() +=
                i64::try_from(here).unwrap_or(i64::MAX);
        }
    }
    by_domain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{labelled_pod, node};
    use std::sync::Arc;

    const SPREAD: &str = r#"{"containers":[],"topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"zone",
        "whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"app":"web"}}}]}"#;

    fn zone(name: &str, zone: &str, pods: usize) -> Arc<NodeInfo> {
        let mut info = node(name, &format!(r#"{{"metadata":{{"labels":{{"zone":"{zone}"}}}}}}"#));
        for _ in 0..pods {
            info.add_pod(Arc::new(labelled_pod(r#"{"app":"web"}"#, r#"{"containers":[]}"#)));
        }
        Arc::new(info)
    }

    #[test]
    fn the_fuller_zone_is_refused() {
        let nodes =
            Snapshot::new(vec![zone("a", "x", 1), zone("b", "y", 0), Arc::new(node("c", "{}"))]);
        let pod = labelled_pod(r#"{"app":"web"}"#, SPREAD);
        let mut state = CycleState::default();
        assert_eq!(PodTopologySpread.pre_filter(&mut state, &pod, &nodes), PreFilterResult::All);
        let passes =
            |name: &str| PodTopologySpread.filter(&state, &pod, nodes.get(name).unwrap()).is_ok();
        assert!(!passes("a"));
        assert!(passes("b"));
        assert!(!passes("c"));
    }

    #[test]
    fn counts_follow_a_node_whose_pods_change() {
        let full = zone("a", "x", 2);
        let nodes = Snapshot::new(vec![full.clone(), zone("b", "y", 1)]);
        let pod = labelled_pod(r#"{"app":"web"}"#, SPREAD);
        let mut state = CycleState::default();
        PodTopologySpread.pre_filter(&mut state, &pod, &nodes);
        for (pods, passes) in [(2, false), (1, true)] {
            let mut state = state.clone();
            let changed = zone("a", "x", pods);
            PodTopologySpread.node_changed(&mut state, &pod, &full, &changed);
            assert_eq!(PodTopologySpread.filter(&state, &pod, &changed).is_ok(), passes, "{pods}");
        }
        assert!(
            PodTopologySpread.filter(&state, &pod, &full).is_err(),
            "the original is as it was"
        );
    }

    #[test]
    fn siblings_of_a_controller_spread_by_themselves() {
        let sibling = || {
            let mut pod = labelled_pod("{}", r#"{"containers":[]}"#);
            let owner = serde_json::from_str(
                r#"{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"r","uid":"u","controller":true}"#,
            );
            Arc::make_mut(&mut pod.pod).metadata.owner_references = Some(vec![owner.unwrap()]);
            pod
        };
        let host = |name: &str| {
            node(
                name,
                &format!(r#"{{"metadata":{{"labels":{{"kubernetes.io/hostname":"{name}"}}}}}}"#),
            )
        };
        let (mut full, empty) = (host("a"), host("b"));
        full.add_pod(Arc::new(sibling()));
        let mut state = CycleState::default();
        assert!(PodTopologySpread.pre_score(&mut state, &sibling(), &[&full, &empty]));
        let mut scores =
            [&full, &empty].map(|node| PodTopologySpread.score(&state, &sibling(), node));
        PodTopologySpread.normalize(&state, &sibling(), &mut scores);
        assert!(scores[1] > scores[0], "{scores:?}");
    }
}
