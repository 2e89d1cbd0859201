//! Pod garbage: pods of nodes that are gone, pods that were deleted before they had a node, and
//! the oldest of too many that have ended.
//!
//! (Kubernetes `pkg/controller/podgc`)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Node, Pod};
use parking_lot::Mutex;
use reconcile::{
    Action, Cache, Ctx, Delete, Error, Event, Failure, Key, Patch, Reconciler, Watches, or_gone,
};
use serde_json::json;
use tokio::time::Instant;

use super::{BY_NODE, index_by_node, mark_disrupted, node_of, ready};
use crate::common::owner::name;
use crate::common::pods;
use crate::deps::Deps;

/// A node may only be re-registering; its pods get this long.
const QUARANTINE: Duration = Duration::from_secs(40);
const OUT_OF_SERVICE: &str = "node.kubernetes.io/out-of-service";
/// The key under which ended pods are counted.
const ENDED: &str = "";

/// The controller.
pub(crate) struct Controller {
    nodes: Cache<Node>,
    pods: Cache<Pod>,
    keep: usize,
    /// Since when each pod's node is known to be missing.
    missing: Mutex<std::collections::HashMap<Key, Instant>>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller {
        nodes: deps.caches.of(),
        pods: deps.caches.of(),
        keep: deps.options.terminated_pods_max,
        missing: Mutex::default(),
    })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "pod-garbage-collector-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        index_by_node(&self.pods);
        let pods = self.pods.clone();
        watches.on(&self.nodes, move |event, queue| {
            let node = event.object();
            if matches!(event, Event::Deleted(_)) || is_out_of_service(node) {
                for pod in pods.by_index(BY_NODE, name(&node.metadata)) {
                    queue.add(Key::of(&pod.metadata));
                }
            }
        });
        let nodes = self.nodes.clone();
        watches.on(&self.pods, move |event, queue| {
            let pod = event.object();
            if matches!(event, Event::Deleted(_)) {
                return;
            }
            let node = node_of(pod).map(|node| nodes.get("", node));
            let doubtful = match node {
                None => pods::is_deleting(pod),
                Some(None) => true,
                Some(Some(node)) => is_out_of_service(&node),
            };
            if doubtful {
                queue.add(Key::of(&pod.metadata));
            }
            let was_terminal = event.old().is_some_and(|old| pods::is_terminal(old));
            if pods::is_terminal(pod) && !was_terminal {
                queue.add(Key::new("", ENDED));
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        if &*key.name == ENDED {
            self.too_many(ctx).await?;
            return Ok(Action::Await);
        }
        let Some(pod) = self.pods.get_key(key) else {
            self.missing.lock().remove(key);
            return Ok(Action::Await);
        };
        let Some(node) = node_of(&pod) else {
            if pods::is_deleting(&pod) {
                let text = "PodGC: pod was deleted before it was scheduled";
                finish(ctx, &pod, text, false).await?;
            }
            return Ok(Action::Await);
        };
        if let Some(node) = self.nodes.get("", node) {
            self.missing.lock().remove(key);
            if pods::is_deleting(&pod) && is_out_of_service(&node) {
                finish(ctx, &pod, "PodGC: node is out of service", true).await?;
            }
            return Ok(Action::Await);
        }
        let since = *self.missing.lock().entry(key.clone()).or_insert_with(Instant::now);
        let left = QUARANTINE.saturating_sub(since.elapsed());
        if !left.is_zero() {
            return Ok(Action::After(left));
        }
        if or_gone(ctx.writer.get::<Node>(&Key::new("", node)).await)?.is_none() {
            finish(ctx, &pod, "PodGC: node no longer exists", true).await?;
        }
        Ok(Action::Await)
    }
}

impl Controller {
    async fn too_many(&self, ctx: &Ctx) -> Result<(), Failure> {
        if self.keep == 0 {
            return Ok(());
        }
        let mut ended: Vec<_> =
            self.pods.list().into_iter().filter(|pod| pods::is_terminal(pod)).collect();
        let excess = ended.len().saturating_sub(self.keep);
        ended.sort_by_key(|pod| {
            (pod.metadata.creation_timestamp.as_ref().map(|time| time.0), pod.metadata.name.clone())
        });
        for pod in ended.into_iter().take(excess) {
            finish(ctx, &pod, "PodGC: too many terminated pods", false).await?;
        }
        Ok(())
    }
}

/// A node that its operator has given up: it is not coming back by itself.
fn is_out_of_service(node: &Node) -> bool {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    ready(node) != "True" && taints.into_iter().any(|taint| taint.key == OUT_OF_SERVICE)
}

/// Nobody will ever end this pod in order, so it is taken away at once.
async fn finish(ctx: &Ctx, pod: &Pod, why: &str, disrupted: bool) -> Result<(), Failure> {
    if !pods::is_terminal(pod) {
        if disrupted {
            mark_disrupted(ctx, pod, "DeletionByPodGC", why, true).await?;
        } else {
            let patch =
                json!({"metadata": {"uid": pod.metadata.uid}, "status": {"phase": "Failed"}});
            let key = Key::of(&pod.metadata);
            or_gone(ctx.writer.patch::<Pod>(&key, "status", Patch::Merge(patch)).await)?;
        }
    }
    let how = Delete { grace_seconds: Some(0), ..Delete::uid(pod.metadata.uid.as_deref()) };
    or_gone(ctx.writer.delete::<Pod>(&Key::of(&pod.metadata), how).await)?;
    Ok(())
}
