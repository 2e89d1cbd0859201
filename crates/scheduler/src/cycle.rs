//! One scheduling cycle: from a pod and a snapshot to a node, or to the reasons against each.
//!
//! Pure: the same pod, snapshot, start and seed give the same node.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base::rng::SharedRng;

use crate::framework::{
    CycleState, Filter, NodeInfo, Plugin, PodInfo, PreFilterResult, Rejection, Snapshot,
};

/// Nodes below this number are all looked at.
const SAMPLE_MIN: usize = 100;

/// Why a pod has no node.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Unschedulable {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many nodes each reason refused.
    pub reasons: BTreeMap<Cow<'static, str>, usize>,
    /// The plugins that refused.
    pub plugins: BTreeSet<&'static str>,
    /// Nodes from which other pods might be evicted.
    pub candidates: Vec<String>,
}

impl Unschedulable {
    fn add(&mut self, plugin: &'static str, node: &str, refused: Rejection) {
        self.plugins.insert(plugin);
        if !refused.is_unresolvable {
            self.candidates.push(node.to_owned());
        }
        for reason in refused.reasons {
            *self.reasons.entry(reason).or_default() += 1;
        }
    }
}

/// `0/3 nodes are available: 1 Insufficient cpu, 2 node(s) were unschedulable.`
impl std::fmt::Display for Unschedulable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.nodes == 0 {
            return f.write_str("no nodes available to schedule pods");
        }
        write!(f, "0/{} nodes are available:", self.nodes)?;
        let mut texts: Vec<_> =
            self.reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
        texts.sort();
        write!(f, " {}.", texts.join(", "))
    }
}

/// Decides for one pod after the other.
pub struct Cycle {
    plugins: Vec<Box<dyn Plugin>>,
    rng: SharedRng,
    /// Where the next cycle starts among the nodes, so that all get their turn.
    start: usize,
}

impl Cycle {
    /// A cycle over these plugins.
    #[must_use]
    pub fn new(plugins: Vec<Box<dyn Plugin>>, rng: SharedRng) -> Self {
        Self { plugins, rng, start: 0 }
    }

    /// The plugins.
    #[must_use]
    pub fn plugins(&self) -> &[Box<dyn Plugin>] {
        &self.plugins
    }

    /// The node for a pod.
    ///
    /// # Errors
    /// Why there is none.
    pub fn schedule(&mut self, pod: &PodInfo, nodes: &Snapshot) -> Result<String, Unschedulable> {
        let mut state = CycleState::default();
        let mut refused = Unschedulable { nodes: nodes.nodes.len(), ..Unschedulable::default() };
        let Some(only) = self.pre_filter(&mut state, pod, nodes, &mut refused) else {
            return Err(refused);
        };
        let feasible = self.feasible(&state, pod, nodes, only.as_ref(), &mut refused);
        match feasible.as_slice() {
            [] => Err(refused),
            [one] => Ok(one.name().to_owned()),
            many => Ok(self.best(&mut state, pod, many).name().to_owned()),
        }
    }

    /// `None` when the pod cannot be scheduled; otherwise the names to which PreFilter has narrowed
    /// the nodes, if it has.
    #[expect(clippy::option_option, reason = "refused, narrowed to names, or every node")]
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
        refused: &mut Unschedulable,
    ) -> Option<Option<BTreeSet<String>>> {
        let mut only: Option<BTreeSet<String>> = None;
        for plugin in &self.plugins {
            let Some(point) = plugin.as_pre_filter() else { continue };
            match point.pre_filter(state, pod, nodes) {
                PreFilterResult::All => {}
                PreFilterResult::Skip => state.skip(plugin.name()),
                PreFilterResult::Nodes(names) => {
                    let names: BTreeSet<_> = names.into_iter().collect();
                    only = Some(match only {
                        Some(before) => before.intersection(&names).cloned().collect(),
                        None => names,
                    });
                }
                PreFilterResult::Reject(why) => {
                    for node in &nodes.nodes {
                        refused.add(plugin.name(), node.name(), why.clone());
                    }
                    return None;
                }
            }
        }
        Some(only)
    }

    fn feasible<'n>(
        &mut self,
        state: &CycleState,
        pod: &PodInfo,
        nodes: &'n Snapshot,
        only: Option<&BTreeSet<String>>,
        refused: &mut Unschedulable,
    ) -> Vec<&'n NodeInfo> {
        let total = nodes.nodes.len();
        let wanted = sample_size(total);
        // Once a cycle, not once a node: most pods leave most plugins without anything to say.
        let filters = self.filters(state);
        let mut feasible = Vec::new();
        let mut looked = 0;
        for offset in 0..total {
            let node = &*nodes.nodes[(self.start + offset) % total];
            looked = offset + 1;
            if only.is_some_and(|names| !names.contains(node.name())) {
                refused.add(
                    "NodeAffinity",
                    node.name(),
                    Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"),
                );
                continue;
            }
            let refusal = filters.iter().find_map(|(plugin, filter)| {
                filter.filter(state, pod, node).err().map(|why| (*plugin, why))
            });
            match refusal {
                None => feasible.push(node),
                Some((plugin, why)) => refused.add(plugin, node.name(), why),
            }
            if feasible.len() >= wanted {
                break;
            }
        }
        self.start = if total == 0 { 0 } else { (self.start + looked) % total };
        feasible
    }

    /// The Filters that have something to say in this cycle, in the plugins' order.
    fn filters(&self, state: &CycleState) -> Vec<(&'static str, &dyn Filter)> {
        let plugins = self.plugins.iter().filter(|plugin| !state.is_skipped(plugin.name()));
        plugins.filter_map(|plugin| Some((plugin.name(), plugin.as_filter()?))).collect()
    }

    fn best<'n>(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &[&'n NodeInfo],
    ) -> &'n NodeInfo {
        let mut sums = vec![0_i64; nodes.len()];
        for plugin in &self.plugins {
            let Some(point) = plugin.as_score() else { continue };
            if !point.pre_score(state, pod, nodes) {
                continue;
            }
            let mut scores: Vec<_> =
                nodes.iter().map(|node| point.score(state, pod, node)).collect();
            point.normalize(state, pod, &mut scores);
            for (sum, score) in sums.iter_mut().zip(scores) {
                *sum += score * point.weight();
            }
        }
        let most = sums.iter().copied().max().unwrap_or_default();
        let best: Vec<_> = nodes
            .iter()
            .zip(&sums)
            .filter(|(_, sum)| **sum == most)
            .map(|(node, _)| *node)
            .collect();
        let at = self.rng.below(best.len() as u64);
        best[usize::try_from(at).unwrap_or_default()]
    }
}

/// How many feasible nodes are enough: all of a small cluster, a shrinking part of a large one, never
/// below 5 %. (scheduler `numFeasibleNodesToFind`)
fn sample_size(nodes: usize) -> usize {
    if nodes < SAMPLE_MIN {
        return nodes;
    }
    let percent = 50_usize.saturating_sub(nodes / 125).max(5);
    (nodes * percent / 100).max(SAMPLE_MIN)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{node, pod};
    use std::sync::Arc;

    const NODE: &str = r#"{"status":{"allocatable":{"cpu":"4","memory":"8Gi","pods":"110"}}}"#;
    const POD: &str =
        r#"{"containers":[{"name":"c","resources":{"requests":{"cpu":"1","memory":"1Gi"}}}]}"#;

    fn cycle() -> Cycle {
        Cycle::new(crate::plugins::all(), SharedRng::seeded(1))
    }

    #[test]
    fn a_pod_goes_where_it_fits_best() {
        let mut used = node("a", NODE);
        used.add_pod(Arc::new(pod(POD)));
        let nodes = Snapshot::new(vec![Arc::new(used), Arc::new(node("b", NODE))]);
        assert_eq!(cycle().schedule(&pod(POD), &nodes).unwrap(), "b");
    }

    #[test]
    fn the_reasons_are_counted_over_the_nodes() {
        let small = r#"{"status":{"allocatable":{"cpu":"100m","memory":"8Gi","pods":"110"}}}"#;
        let cordoned = r#"{"spec":{"unschedulable":true}}"#;
        let nodes = ["a", "b"].map(|name| Arc::new(node(name, small))).into_iter();
        let nodes = Snapshot::new(nodes.chain([Arc::new(node("c", cordoned))]).collect());
        let refused = cycle().schedule(&pod(POD), &nodes).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu."
        );
        let none = cycle().schedule(&pod(POD), &Snapshot::default()).unwrap_err();
        assert_eq!(none.to_string(), "no nodes available to schedule pods");
    }

    #[test]
    fn large_clusters_are_sampled() {
        assert_eq!([10, 100, 1000, 5000].map(sample_size), [10, 100, 420, 500]);
    }
}
