//! The scheduling framework: what plugins implement and what they are shown.
//!
//! Extension points are those of upstream's framework (KEP-624), one small trait each. Everything a
//! plugin sees is an immutable snapshot, so that deciding is pure: no I/O, no clock. To add a plugin:
//! one file in `plugins/`, its line in `plugins::all()`.

mod node_info;
mod nominated;
mod pod_info;
mod resources;
mod state;

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::sync::Arc;

use api::k8s_openapi::api::policy::v1::PodDisruptionBudget;

pub use node_info::{NodeInfo, Snapshot};
pub use nominated::Nominated;
pub use pod_info::PodInfo;
pub use resources::{Resources, ScoredRequests};
pub use state::CycleState;

/// Why a node was refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// The text that users read, counted over nodes: `Insufficient cpu`.
    pub reasons: Vec<Cow<'static, str>>,
    /// Whether evicting other pods could not help either.
    pub is_unresolvable: bool,
}

impl Rejection {
    /// A refusal that preemption may lift.
    #[must_use]
    pub fn resolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reasons: vec![reason.into()], is_unresolvable: false }
    }

    /// A refusal that only a change of the node or the pod lifts.
    #[must_use]
    pub fn unresolvable(reason: impl Into<Cow<'static, str>>) -> Self {
        Self { reasons: vec![reason.into()], is_unresolvable: true }
    }
}

/// What PreFilter says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PreFilterResult {
    /// Go on with every node.
    All,
    /// Only these nodes can be right (`NodeName`, node affinity by name).
    Nodes(Vec<String>),
    /// The plugin has nothing to say for this pod; its Filter is not called.
    Skip,
    /// The pod cannot be scheduled at all.
    Reject(Rejection),
}

/// A plugin: its name and the extension points that it has.
pub trait Plugin: Send + Sync {
    /// Upstream's name, `NodeResourcesFit`.
    fn name(&self) -> &'static str;

    /// Its PreFilter.
    fn as_pre_filter(&self) -> Option<&dyn PreFilter> {
        None
    }

    /// Its Filter.
    fn as_filter(&self) -> Option<&dyn Filter> {
        None
    }

    /// Its PostFilter.
    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        None
    }

    /// Its Score.
    fn as_score(&self) -> Option<&dyn Score> {
        None
    }

    /// Which changes of the cluster may make a pod schedulable that this plugin refused.
    fn events(&self) -> &'static [ClusterEvent] {
        &[]
    }
}

/// Looks at the pod once, before any node: computes what Filter needs, or ends the cycle.
pub trait PreFilter: Send + Sync {
    /// Looks at the pod and all nodes.
    fn pre_filter(
        &self,
        state: &mut CycleState,
        pod: &PodInfo,
        nodes: &Snapshot,
    ) -> PreFilterResult;

    /// Brings what was computed up to date with one node whose pods are other ones than before.
    fn node_changed(
        &self,
        _state: &mut CycleState,
        _pod: &PodInfo,
        _before: &NodeInfo,
        _after: &NodeInfo,
    ) {
    }
}

/// What a cycle looks at, at one moment.
#[derive(Clone, Copy)]
pub struct World<'a> {
    /// The nodes.
    pub nodes: &'a Snapshot,
    /// The pods that wait for the end of others, each on the node that it was promised.
    pub nominated: &'a Nominated,
    /// Which pods may be disrupted; asked only where that counts.
    pub budgets: &'a dyn Fn() -> Vec<Arc<PodDisruptionBudget>>,
}

/// What a plugin may try when no node will do.
pub trait Trial {
    /// Whether the pod would fit on a node if it had these pods.
    ///
    /// # Errors
    /// Why it would not.
    fn fits(&self, node: &NodeInfo) -> Result<(), Rejection>;

    /// A number below `count`, for where to begin.
    fn offset(&self, count: usize) -> usize;
}

/// What is to become of a pod for which no node will do.
#[derive(Debug, Clone, Default)]
pub enum Nomination {
    /// What it was promised before, if anything, stands.
    #[default]
    Keep,
    /// It is promised nothing.
    Clear,
    /// It is promised a node, and these pods there have to make room.
    Node {
        /// The node.
        node: String,
        /// The pods.
        victims: Vec<Arc<PodInfo>>,
    },
}

/// Looks for another way when no node will do.
pub trait PostFilter: Send + Sync {
    /// What is to be done, and what users read about it. `candidates`: the nodes where the end of
    /// other pods may help.
    fn post_filter(
        &self,
        pod: &PodInfo,
        candidates: &BTreeSet<&str>,
        world: &World<'_>,
        trial: &dyn Trial,
    ) -> (Nomination, String);
}

/// Whether a pod may run on a node.
pub trait Filter: Send + Sync {
    /// `Ok` when it may.
    ///
    /// # Errors
    /// Why it may not.
    fn filter(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> Result<(), Rejection>;
}

/// How well a pod would do on a node.
pub trait Score: Send + Sync {
    /// The weight of this plugin's score in the sum.
    fn weight(&self) -> i64;

    /// Computes what `score` needs, for the nodes that passed. `false`: nothing to say for this pod.
    fn pre_score(&self, _state: &mut CycleState, _pod: &PodInfo, _nodes: &[&NodeInfo]) -> bool {
        true
    }

    /// The raw score of a node.
    fn score(&self, state: &CycleState, pod: &PodInfo, node: &NodeInfo) -> i64;

    /// Brings raw scores into 0..=100.
    fn normalize(&self, _state: &CycleState, _pod: &PodInfo, _scores: &mut [i64]) {}
}

/// The best score.
pub const SCORE_MAX: i64 = 100;

/// Scales scores so that the greatest becomes 100; turned round when less is better.
pub fn normalize_to_max(scores: &mut [i64], reverse: bool) {
    let max = scores.iter().copied().max().unwrap_or_default();
    for score in scores {
        let scaled = if max == 0 { 0 } else { *score * SCORE_MAX / max };
        *score = if reverse { SCORE_MAX - scaled } else { scaled };
    }
}

/// A change of the cluster, as the queue hears of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ClusterEvent {
    /// A node came.
    NodeAdded,
    /// A node's allocatable changed.
    NodeAllocatable,
    /// A node's labels changed.
    NodeLabels,
    /// A node's taints or `unschedulable` changed.
    NodeTaints,
    /// A pod that had a node went, or ended.
    PodDeleted,
    /// A pod came onto a node, or its labels or requests changed.
    PodAdded,
    /// A pod asks for less than before.
    PodScaledDown,
}
