//! A pod that fits nowhere may have less important ones make room.
//!
//! On each node where that could help, the fewest and least important pods are chosen, those under a
//! disruption budget that is used up last; of the nodes, the one where it hurts least.
//! (Kubernetes `plugins/defaultpreemption`, `framework/preemption`)

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use api::k8s_openapi::api::core::v1::Pod;
use api::k8s_openapi::api::policy::v1::PodDisruptionBudget;
use api::selector::selects;
use base::clock::Timestamp;

use crate::cycle::counted;
use crate::framework::{
    NodeInfo, Nomination, Plugin, PodInfo, PostFilter, Rejection, Trial, World,
};

/// `DefaultPreemption`, with upstream's default arguments.
pub(crate) struct DefaultPreemption;

/// The nodes that are tried are at least this many, and at least this part of all.
const CANDIDATES_MIN: usize = 100;
const CANDIDATES_PERCENT: usize = 10;
const NOT_HELPFUL: &str = "Preemption is not helpful for scheduling";

impl Plugin for DefaultPreemption {
    fn name(&self) -> &'static str {
        "DefaultPreemption"
    }

    fn as_post_filter(&self) -> Option<&dyn PostFilter> {
        Some(self)
    }
}

/// A node, and the pods that would have to go there, the most important ones first.
#[derive(Debug)]
struct Candidate {
    node: String,
    victims: Vec<Arc<PodInfo>>,
    /// How many of them a budget protects.
    violations: usize,
}

impl PostFilter for DefaultPreemption {
    fn post_filter(
        &self,
        pod: &PodInfo,
        candidates: &BTreeSet<&str>,
        world: &World<'_>,
        trial: &dyn Trial,
    ) -> (Nomination, String) {
        if let Some(why) = not_eligible(pod, candidates, world) {
            return (Nomination::Keep, format!("preemption: not eligible due to {why}."));
        }
        let nodes: Vec<_> =
            world.nodes.nodes.iter().filter(|node| candidates.contains(node.name())).collect();
        let budgets = if nodes.is_empty() { Vec::new() } else { (world.budgets)() };
        let enough = CANDIDATES_MIN.max(nodes.len() * CANDIDATES_PERCENT / 100);
        let offset = trial.offset(nodes.len());
        let (mut found, mut reasons) = (Vec::new(), BTreeMap::<Cow<'static, str>, usize>::new());
        let mut unharmed = 0;
        for at in 0..nodes.len() {
            let node = nodes[(offset + at) % nodes.len()];
            match victims_on(pod, node, &budgets, trial) {
                Ok(candidate) => {
                    unharmed += usize::from(candidate.violations == 0);
                    found.push(candidate);
                    if unharmed > 0 && found.len() >= enough {
                        break;
                    }
                }
                Err(why) => {
                    why.reasons.into_iter().for_each(|why| *reasons.entry(why).or_default() += 1);
                }
            }
        }
        let Some(best) = best(found) else {
            let others = world.nodes.nodes.len() - nodes.len();
            if others > 0 {
                reasons.insert(NOT_HELPFUL.into(), others);
            }
            let text = counted(world.nodes.nodes.len(), &reasons);
            return (Nomination::Clear, format!("preemption: {text}"));
        };
        (Nomination::Node { node: best.node, victims: best.victims }, String::new())
    }
}

/// Why a pod may not have others make room, if it may not.
fn not_eligible(
    pod: &PodInfo,
    candidates: &BTreeSet<&str>,
    world: &World<'_>,
) -> Option<&'static str> {
    if pod.spec().preemption_policy.as_deref() == Some("Never") {
        return Some("preemptionPolicy=Never");
    }
    let node = world.nominated.node_of(&pod.key)?;
    // What was promised where it can never be is worth nothing.
    let node = world.nodes.get(node).filter(|_| candidates.contains(node))?;
    let mut going = node.pods.iter().filter(|other| other.priority < pod.priority);
    going
        .any(|other| is_going_by_preemption(&other.pod))
        .then_some("a terminating pod on the nominated node")
}

fn is_going_by_preemption(pod: &Pod) -> bool {
    let mut conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    let target = conditions.find(|one| one.type_ == "DisruptionTarget");
    pod.metadata.deletion_timestamp.is_some()
        && target.is_some_and(|one| {
            one.status == "True" && one.reason.as_deref() == Some("PreemptionByScheduler")
        })
}

/// Whom a pod would have make room on a node: everybody who is less important leaves, and comes back
/// one after the other as long as the pod still fits. (`SelectVictimsOnNode`)
fn victims_on(
    pod: &PodInfo,
    node: &NodeInfo,
    budgets: &[Arc<PodDisruptionBudget>],
    trial: &dyn Trial,
) -> Result<Candidate, Rejection> {
    let mut without = node.clone();
    let mut lesser: Vec<_> =
        node.pods.iter().filter(|other| other.priority < pod.priority).cloned().collect();
    if lesser.is_empty() {
        return Err(Rejection::unresolvable("No preemption victims found for incoming pod"));
    }
    lesser.sort_by_key(|one| importance(one));
    for one in &lesser {
        without.remove_pod(&one.key);
    }
    trial.fits(&without)?;
    let (protected, others) = by_budgets(lesser, budgets);
    let (mut victims, mut violations) = (Vec::new(), 0);
    for (is_protected, one) in protected
        .into_iter()
        .map(|one| (true, one))
        .chain(others.into_iter().map(|one| (false, one)))
    {
        without.add_pod(one.clone());
        if trial.fits(&without).is_err() {
            without.remove_pod(&one.key);
            violations += usize::from(is_protected);
            victims.push(one);
        }
    }
    if victims.is_empty() {
        let text = format!("expected at least one victim pod on node \"{}\"", node.name());
        return Err(Rejection::resolvable(text));
    }
    victims.sort_by_key(|one| importance(one));
    Ok(Candidate { node: node.name().to_owned(), victims, violations })
}

/// What sorts first is more important: the greater priority, then who has run longer.
fn importance(pod: &PodInfo) -> (Reverse<i32>, Timestamp) {
    (Reverse(pod.priority), started(pod))
}

/// When a pod started; one that has not, after all others.
fn started(pod: &PodInfo) -> Timestamp {
    let start = pod.pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    start.map_or(Timestamp::MAX, |time| time.0)
}

/// Those whose end a budget forbids, and the others, both in the order in which they come.
fn by_budgets(
    pods: Vec<Arc<PodInfo>>,
    budgets: &[Arc<PodDisruptionBudget>],
) -> (Vec<Arc<PodInfo>>, Vec<Arc<PodInfo>>) {
    let allowed = |budget: &PodDisruptionBudget| {
        budget.status.as_ref().and_then(|status| status.disruptions_allowed).unwrap_or_default()
    };
    let mut left: Vec<i32> = budgets.iter().map(|budget| allowed(budget)).collect();
    pods.into_iter().partition(|pod| {
        let mut is_protected = false;
        for (budget, left) in budgets.iter().zip(&mut left) {
            if protects(budget, pod) {
                *left -= 1;
                is_protected |= *left < 0;
            }
        }
        is_protected
    })
}

fn protects(budget: &PodDisruptionBudget, pod: &PodInfo) -> bool {
    let labels = pod.pod.metadata.labels.as_ref().filter(|labels| !labels.is_empty());
    let selector = budget.spec.as_ref().and_then(|spec| spec.selector.as_ref());
    // A selector that says nothing selects nothing here.
    let selector = selector.filter(|one| {
        one.match_labels.as_ref().is_some_and(|all| !all.is_empty())
            || one.match_expressions.as_ref().is_some_and(|all| !all.is_empty())
    });
    let name = pod.pod.metadata.name.as_deref().unwrap_or_default();
    // Whose end is known to the budget already is not counted again.
    let is_known = budget
        .status
        .as_ref()
        .and_then(|status| status.disrupted_pods.as_ref())
        .is_some_and(|pods| pods.contains_key(name));
    budget.metadata.namespace.as_deref() == Some(pod.namespace())
        && labels.is_some()
        && selector.is_some_and(|selector| selects(selector, labels))
        && !is_known
}

/// The node where it hurts least. (`pickOneNodeForPreemption`)
fn best(candidates: Vec<Candidate>) -> Option<Candidate> {
    candidates.into_iter().min_by_key(|candidate| {
        let victims = &candidate.victims;
        let highest = victims.first().map_or(i32::MIN, |pod| pod.priority);
        // Moved above zero, so that fewer pods of a negative priority are less, too.
        let sum: i64 =
            victims.iter().map(|pod| i64::from(pod.priority) + i64::from(i32::MAX) + 1).sum();
        let earliest = victims.iter().filter(|pod| pod.priority == highest).map(|pod| started(pod));
        (candidate.violations, highest, sum, victims.len(), Reverse(earliest.min()))
    })
}

#[cfg(test)]
#[path = "default_preemption_tests.rs"]
mod tests;
