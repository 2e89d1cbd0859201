//! Node lifecycle: notices nodes that have fallen silent, and taints those in trouble.
//!
//! A node speaks by renewing its Lease or changing its status. How long it has been silent is
//! measured by our own clock, from when we saw it speak, so that clocks need not agree.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::{Node, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use parking_lot::Mutex;
use reconcile::{
    Action, Cache, Ctx, Error, Event, Failure, Key, Patch, Reconciler, Scope, Watches,
};
use serde_json::json;
use tokio::time::Instant;

use super::health::{self, Disruption};
use super::{BY_NODE, condition, index_by_node, ready};
use crate::common::owner::name;
use crate::common::pods;
use crate::deps::Deps;

/// The namespace of the nodes' Leases.
const LEASES: &str = "kube-node-lease";

/// The controller.
pub(crate) struct Controller {
    nodes: Cache<Node>,
    leases: Cache<Lease>,
    pods: Cache<Pod>,
    grace: Duration,
    heard: Arc<Mutex<HashMap<Key, Instant>>>,
    tally: Arc<Mutex<Tally>>,
}

/// How many nodes are ready and how many are not, kept while they come, change and go.
#[derive(Debug, Default)]
struct Tally {
    is_ready: HashMap<Key, bool>,
    ready: usize,
}

impl Tally {
    /// Notes a node as it is now, or that it is gone; `true` when that changes what is done with
    /// all others.
    fn note(&mut self, node: &Key, is_ready: Option<bool>) -> bool {
        let before = self.disruption();
        let old = match is_ready {
            Some(now) => self.is_ready.insert(node.clone(), now),
            None => self.is_ready.remove(node),
        };
        self.ready =
            self.ready + usize::from(is_ready == Some(true)) - usize::from(old == Some(true));
        self.disruption() != before
    }

    fn disruption(&self) -> Disruption {
        health::disruption(self.ready, self.is_ready.len() - self.ready)
    }
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    let scope = Scope { namespace: LEASES.to_owned(), ..Scope::default() };
    Arc::new(Controller {
        nodes: deps.caches.of(),
        leases: deps.caches.scoped(scope),
        pods: deps.caches.of(),
        grace: deps.options.node_grace,
        heard: Arc::default(),
        tally: Arc::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "node-lifecycle-controller"
    }

    fn component(&self) -> &'static str {
        "node-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        index_by_node(&self.pods);
        watches.reads(&self.pods);
        let (heard, nodes) = (self.heard.clone(), self.nodes.clone());
        let tally = self.tally.clone();
        watches.on(&self.nodes, move |event, queue| {
            let key = Key::of(&event.object().metadata);
            match event {
                Event::Deleted(_) => {
                    heard.lock().remove(&key);
                }
                Event::Updated { old, new } if !has_spoken(old, new) => {}
                _ => {
                    heard.lock().insert(key.clone(), Instant::now());
                }
            }
            let is_ready = ready(event.object()) == "True";
            let is_ready = (!matches!(event, Event::Deleted(_))).then_some(is_ready);
            if tally.lock().note(&key, is_ready) {
                for node in nodes.list() {
                    queue.add(Key::of(&node.metadata));
                }
            }
            queue.add(key);
        });
        let (heard, grace) = (self.heard.clone(), self.grace);
        watches.on(&self.leases, move |event, queue| {
            let key = Key::new("", name(&event.object().metadata));
            if !matches!(event, Event::Deleted(_)) {
                // A healthy node is no work: its timer, when it goes off, finds that it spoke.
                let before = heard.lock().insert(key.clone(), Instant::now());
                if before.is_none_or(|before| before.elapsed() >= grace) {
                    queue.add(key);
                }
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(node) = self.nodes.get_key(key) else { return Ok(Action::Await) };
        let heard = *self.heard.lock().entry(key.clone()).or_insert_with(Instant::now);
        let left = self.grace.saturating_sub(heard.elapsed());
        let now = ctx.clock.now();
        let mut current = (*node).clone();
        if left.is_zero()
            && let Some(conditions) = health::silent(&node, now)
        {
            let patch = json!({"metadata": {"uid": node.metadata.uid}, "status": {"conditions": conditions}});
            let written = ctx.writer.patch::<Node>(key, "status", Patch::Strategic(patch)).await;
            let Some(written) = reconcile::or_gone(written)? else { return Ok(Action::Await) };
            current = written;
            self.unready_pods(ctx, &current).await?;
        } else if ready(&node) == "False" {
            self.unready_pods(ctx, &current).await?;
        }
        let disruption = self.tally.lock().disruption();
        if let Some(taints) = health::taints(&current, disruption, now) {
            // The version makes sure that nobody else's taint is lost.
            let patch = json!({
                "metadata": {"resourceVersion": current.metadata.resource_version},
                "spec": {"taints": taints},
            });
            let written = ctx.writer.patch::<Node>(key, "", Patch::Merge(patch)).await;
            reconcile::or_gone(written)?;
        }
        // A silent node wakes us when it speaks; until then there is nothing to wait for.
        Ok(if left.is_zero() { Action::Await } else { Action::After(left) })
    }
}

impl Controller {
    /// The kubelet cannot say any more that its pods are not ready, so it is said for it.
    async fn unready_pods(&self, ctx: &Ctx, node: &Node) -> Result<(), Failure> {
        let unready: Vec<_> = self
            .pods
            .by_index(BY_NODE, name(&node.metadata))
            .into_iter()
            .filter(|pod| pods::is_ready(pod))
            .collect();
        for pod in unready {
            let condition = PodCondition {
                type_: "Ready".to_owned(),
                status: "False".to_owned(),
                last_transition_time: Some(Time(ctx.clock.now())),
                ..PodCondition::default()
            };
            let patch = json!({
                "metadata": {"uid": pod.metadata.uid},
                "status": {"conditions": [condition]},
            });
            let key = Key::of(&pod.metadata);
            let patched = ctx.writer.patch::<Pod>(&key, "status", Patch::Strategic(patch)).await;
            reconcile::or_gone(patched)?;
            ctx.recorder.warning(&*pod, "NodeNotReady", "Node is not ready");
        }
        Ok(())
    }
}

/// Whether a change of a node came from its kubelet: a heartbeat or a condition that it sets.
/// What this controller writes itself is no sign of life.
fn has_spoken(old: &Node, new: &Node) -> bool {
    let beat = |node: &Node| {
        condition(node, "Ready").and_then(|condition| condition.last_heartbeat_time.clone())
    };
    beat(old) != beat(new) || (ready(old) != ready(new) && ready(new) != "Unknown")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_looked_at_when_the_judgement_changes_and_not_with_each_node() {
        let mut tally = Tally::default();
        let mut note = |node: &str, is_ready| {
            let changed = tally.note(&Key::new("", node), is_ready);
            (changed, tally.disruption())
        };
        assert_eq!(note("a", Some(true)), (false, Disruption::Normal));
        assert_eq!(note("b", Some(true)), (false, Disruption::Normal));
        assert_eq!(note("b", Some(false)), (false, Disruption::Normal));
        assert_eq!(note("a", Some(false)), (true, Disruption::Halted));
        assert_eq!(note("a", Some(false)), (false, Disruption::Halted));
        assert_eq!(note("a", None), (false, Disruption::Halted));
        assert_eq!(note("b", None), (true, Disruption::Normal));
        assert_eq!(note("b", None), (false, Disruption::Normal));
    }
}
