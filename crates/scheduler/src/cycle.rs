//! One scheduling cycle: from a pod and a snapshot to a node, or to the reasons against each.
//!
//! Pure: the same pod, snapshot, start and seed give the same node.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base::rng::SharedRng;

use crate::framework::{
    CycleState, Filter, NodeInfo, Nominated, Nomination, Plugin, PodInfo, PreFilterResult,
    Rejection, Snapshot, Trial, World,
};

/// Nodes below this number are all looked at.
const SAMPLE_MIN: usize = 100;

/// Why a pod has no node.
#[derive(Debug, Clone, Default)]
pub struct Unschedulable {
    /// How many nodes there are.
    pub nodes: usize,
    /// How many nodes each reason refused.
    pub reasons: BTreeMap<Cow<'static, str>, usize>,
    /// The plugins that refused.
    pub plugins: BTreeSet<&'static str>,
    /// Nodes from which other pods might be evicted.
    pub candidates: Vec<String>,
    /// What is to become of it.
    pub nomination: Nomination,
    /// What was found where other pods might make room.
    pub post_filter: String,
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
        f.write_str(&counted(self.nodes, &self.reasons))?;
        if self.post_filter.is_empty() { Ok(()) } else { write!(f, " {}", self.post_filter) }
    }
}

/// How many of the nodes were refused for what.
pub(crate) fn counted(nodes: usize, reasons: &BTreeMap<Cow<'static, str>, usize>) -> String {
    let mut texts: Vec<_> =
        reasons.iter().map(|(reason, count)| format!("{count} {reason}")).collect();
    texts.sort();
    format!("0/{nodes} nodes are available: {}.", texts.join(", "))
}

/// The Filters that have something to say in a cycle, in the plugins' order.
type Filters<'a> = Vec<(&'static str, &'a dyn Filter)>;

/// What a cycle comes to: a node, or why there is none.
pub type Decision = Result<String, Box<Unschedulable>>;

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
    pub fn schedule(
        &mut self,
        pod: &PodInfo,
        world: &World<'_>,
    ) -> Result<String, Box<Unschedulable>> {
        let mut state = CycleState::default();
        let nodes = world.nodes;
        let mut refused = Unschedulable { nodes: nodes.nodes.len(), ..Unschedulable::default() };
        let feasible = match self.pre_filter(&mut state, pod, nodes, &mut refused) {
            Some(only) => self.feasible(&state, pod, world, only.as_ref(), &mut refused),
            None => Vec::new(),
        };
        match feasible.as_slice() {
            [] => {
                self.post_filter(&state, pod, world, &mut refused);
                Err(Box::new(refused))
            }
            [one] => Ok(one.name().to_owned()),
            many => Ok(self.best(&mut state, pod, many).name().to_owned()),
        }
    }

    /// What else can be done for a pod that fits nowhere.
    fn post_filter(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        world: &World<'_>,
        refused: &mut Unschedulable,
    ) {
        if refused.nodes == 0 {
            return;
        }
        let candidates = refused.candidates.iter().map(String::as_str).collect();
        let trial = Trying { cycle: self, filters: self.filters(state), state, pod, world };
        for plugin in self.plugins.iter().filter_map(|plugin| plugin.as_post_filter()) {
            let (nomination, text) = plugin.post_filter(pod, &candidates, world, &trial);
            let found = matches!(nomination, Nomination::Node { .. });
            (refused.nomination, refused.post_filter) = (nomination, text);
            if found {
                break;
            }
        }
    }

    /// Asks every Filter about a node, with the pods that were promised room there, and without:
    /// the one counts for what they will take, the other for what they may never be.
    /// (scheduler `RunFilterPluginsWithNominatedPods`)
    fn filter(
        &self,
        filters: &Filters<'_>,
        state: &CycleState,
        pod: &PodInfo,
        node: &NodeInfo,
        nominated: &Nominated,
    ) -> Result<(), (&'static str, Rejection)> {
        let ask = |state: &CycleState, node: &NodeInfo| {
            let refusal = filters.iter().find_map(|(plugin, filter)| {
                filter.filter(state, pod, node).err().map(|why| (*plugin, why))
            });
            refusal.map_or(Ok(()), Err)
        };
        let promised = nominated.before(pod, node.name());
        if !promised.is_empty() {
            let mut with = node.clone();
            promised.into_iter().for_each(|other| with.add_pod(other));
            ask(&self.changed(state, pod, node, &with), &with)?;
        }
        ask(state, node)
    }

    /// The notes of a cycle for a node that has other pods than before.
    fn changed(
        &self,
        state: &CycleState,
        pod: &PodInfo,
        before: &NodeInfo,
        after: &NodeInfo,
    ) -> CycleState {
        let mut state = state.clone();
        for plugin in &self.plugins {
            if let Some(point) = plugin.as_pre_filter().filter(|_| !state.is_skipped(plugin.name()))
            {
                point.node_changed(&mut state, pod, before, after);
            }
        }
        state
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
        world: &World<'n>,
        only: Option<&BTreeSet<String>>,
        refused: &mut Unschedulable,
    ) -> Vec<&'n NodeInfo> {
        let World { nodes, nominated, .. } = *world;
        let total = nodes.nodes.len();
        let wanted = sample_size(total);
        // Once a cycle, not once a node: most pods leave most plugins without anything to say.
        let filters = self.filters(state);
        let is_among = |node: &NodeInfo| only.is_none_or(|names| names.contains(node.name()));
        // A promise goes before a better place.
        if let Some(node) = nominated.node_of(&pod.key).and_then(|name| nodes.get(name))
            && is_among(node)
            && self.filter(&filters, state, pod, node, nominated).is_ok()
        {
            return vec![node];
        }
        let mut feasible = Vec::new();
        let mut looked = 0;
        for offset in 0..total {
            let node = &*nodes.nodes[(self.start + offset) % total];
            looked = offset + 1;
            if !is_among(node) {
                refused.add(
                    "NodeAffinity",
                    node.name(),
                    Rejection::unresolvable("node(s) didn't match Pod's node affinity/selector"),
                );
                continue;
            }
            match self.filter(&filters, state, pod, node, nominated) {
                Ok(()) => feasible.push(node),
                Err((plugin, why)) => refused.add(plugin, node.name(), why),
            }
            if feasible.len() >= wanted {
                break;
            }
        }
        self.start = if total == 0 { 0 } else { (self.start + looked) % total };
        feasible
    }

    fn filters(&self, state: &CycleState) -> Filters<'_> {
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

/// A cycle as a PostFilter may try it.
struct Trying<'a> {
    cycle: &'a Cycle,
    filters: Filters<'a>,
    state: &'a CycleState,
    pod: &'a PodInfo,
    world: &'a World<'a>,
}

impl Trial for Trying<'_> {
    fn fits(&self, node: &NodeInfo) -> Result<(), Rejection> {
        let Self { cycle, filters, state, pod, world } = self;
        let changed = world.nodes.get(node.name()).map(|own| cycle.changed(state, pod, own, node));
        let state = changed.as_ref().unwrap_or(state);
        cycle.filter(filters, state, pod, node, world.nominated).map_err(|(_, why)| why)
    }

    fn offset(&self, count: usize) -> usize {
        let at = self.cycle.rng.below(u64::try_from(count.max(1)).unwrap_or(1));
        usize::try_from(at).unwrap_or_default()
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

    fn schedule(pod: &PodInfo, nodes: &Snapshot) -> Decision {
        let world = World { nodes, nominated: &Nominated::default(), budgets: &Vec::new };
        cycle().schedule(pod, &world)
    }

    fn cycle() -> Cycle {
        Cycle::new(crate::plugins::all(), SharedRng::seeded(1))
    }

    #[test]
    fn a_pod_goes_where_it_fits_best() {
        let mut used = node("a", NODE);
        used.add_pod(Arc::new(pod(POD)));
        let nodes = Snapshot::new(vec![Arc::new(used), Arc::new(node("b", NODE))]);
        assert_eq!(schedule(&pod(POD), &nodes).unwrap(), "b");
    }

    #[test]
    fn the_reasons_are_counted_over_the_nodes() {
        let small = r#"{"status":{"allocatable":{"cpu":"100m","memory":"8Gi","pods":"110"}}}"#;
        let cordoned = r#"{"spec":{"unschedulable":true}}"#;
        let nodes = ["a", "b"].map(|name| Arc::new(node(name, small))).into_iter();
        let nodes = Snapshot::new(nodes.chain([Arc::new(node("c", cordoned))]).collect());
        let refused = schedule(&pod(POD), &nodes).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "0/3 nodes are available: 1 node(s) were unschedulable, 2 Insufficient cpu. \
             preemption: 0/3 nodes are available: 3 Preemption is not helpful for scheduling."
        );
        let none = schedule(&pod(POD), &Snapshot::default()).unwrap_err();
        assert_eq!(none.to_string(), "no nodes available to schedule pods");
    }

    #[test]
    fn large_clusters_are_sampled() {
        assert_eq!([10, 100, 1000, 5000].map(sample_size), [10, 100, 420, 500]);
    }
}
