//! Taint eviction: deletes pods that do not tolerate their node's NoExecute taints, when the time
//! that they tolerate them has passed.
//!
//! (Kubernetes `pkg/controller/tainteviction`)

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use base::clock::{SignedDuration, Timestamp};
use k8s_openapi::api::core::v1::{Node, Pod, Taint, Toleration};
use reconcile::{Action, Cache, Ctx, Delete, Error, Event, Key, Reconciler, Watches};

use super::{BY_NODE, index_by_node, mark_disrupted, node_of};
use crate::common::node_fit::tolerates;
use crate::common::owner::{name, namespace};
use crate::common::pods;
use crate::deps::Deps;

/// The controller.
pub(crate) struct Controller {
    nodes: Cache<Node>,
    pods: Cache<Pod>,
}

/// Makes the controller.
pub(crate) fn make(deps: &Deps) -> Arc<dyn Reconciler> {
    Arc::new(Controller { nodes: deps.caches.of(), pods: deps.caches.of() })
}

#[async_trait]
impl Reconciler for Controller {
    fn name(&self) -> &'static str {
        "taint-eviction-controller"
    }

    fn watches(&self, watches: &mut Watches) {
        index_by_node(&self.pods);
        let pods = self.pods.clone();
        watches.on(&self.nodes, move |event, queue| {
            let node = event.object();
            if event.old().is_some_and(|old| no_execute(old).eq(no_execute(node))) {
                return;
            }
            for pod in pods.by_index(BY_NODE, name(&node.metadata)) {
                queue.add(Key::of(&pod.metadata));
            }
        });
        let nodes = self.nodes.clone();
        watches.on(&self.pods, move |event, queue| {
            let pod = event.object();
            let moved = event.old().is_none_or(|old| {
                node_of(old) != node_of(pod) || tolerations(old) != tolerations(pod)
            });
            let Some(node) = node_of(pod).filter(|_| moved && !matches!(event, Event::Deleted(_)))
            else {
                return;
            };
            if nodes.get("", node).is_some_and(|node| no_execute(&node).next().is_some()) {
                queue.add(Key::of(&pod.metadata));
            }
        });
    }

    async fn reconcile(&self, ctx: &Ctx, key: &Key) -> Result<Action, Error> {
        let Some(pod) = self.pods.get_key(key).filter(|pod| !pods::is_deleting(pod)) else {
            return Ok(Action::Await);
        };
        let Some(node) = node_of(&pod).and_then(|node| self.nodes.get("", node)) else {
            return Ok(Action::Await);
        };
        let taints: Vec<_> = no_execute(&node).cloned().collect();
        match time_left(&taints, tolerations(&pod), ctx.clock.now()) {
            Verdict::Stay => Ok(Action::Await),
            Verdict::StayFor(left) => Ok(Action::After(left)),
            Verdict::Go => {
                evict(ctx, key, &pod).await?;
                Ok(Action::Await)
            }
        }
    }
}

async fn evict(ctx: &Ctx, key: &Key, pod: &Pod) -> Result<(), Error> {
    let text =
        format!("Marking for deletion Pod {}/{}", namespace(&pod.metadata), name(&pod.metadata));
    ctx.recorder.normal(pod, "TaintManagerEviction", text);
    let message = "Taint manager: deleting due to NoExecute taint";
    mark_disrupted(ctx, pod, "DeletionByTaintManager", message, false).await?;
    let how = Delete::uid(pod.metadata.uid.as_deref());
    reconcile::or_gone(ctx.writer.delete::<Pod>(key, how).await)?;
    Ok(())
}

fn no_execute(node: &Node) -> impl Iterator<Item = &Taint> {
    let taints = node.spec.iter().flat_map(|spec| spec.taints.iter().flatten());
    taints.filter(|taint| taint.effect == "NoExecute")
}

fn tolerations(pod: &Pod) -> &[Toleration] {
    pod.spec.as_ref().and_then(|spec| spec.tolerations.as_deref()).unwrap_or_default()
}

/// What becomes of a pod.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    /// It tolerates all taints without limit.
    Stay,
    /// It tolerates all taints, one of them for this long still.
    StayFor(Duration),
    /// It does not tolerate a taint, or not any longer.
    Go,
}

fn time_left(taints: &[Taint], tolerations: &[Toleration], now: Timestamp) -> Verdict {
    let mut verdict = Verdict::Stay;
    for taint in taints {
        let Some(seconds) = tolerated(taint, tolerations) else { return Verdict::Go };
        let Some(seconds) = seconds else { continue };
        let since = taint.time_added.as_ref().map_or(now, |time| time.0);
        let limit = SignedDuration::from_secs(seconds.max(0));
        let left = limit.saturating_sub(now.duration_since(since));
        let left = Duration::try_from(left).unwrap_or_default();
        if left.is_zero() {
            return Verdict::Go;
        }
        verdict = match verdict {
            Verdict::StayFor(other) => Verdict::StayFor(other.min(left)),
            _ => Verdict::StayFor(left),
        };
    }
    verdict
}

/// Whether a taint is tolerated, and for how long at least.
fn tolerated(taint: &Taint, tolerations: &[Toleration]) -> Option<Option<i64>> {
    let matching = tolerations.iter().filter(|toleration| tolerates(toleration, taint));
    let seconds: Vec<Option<i64>> =
        matching.map(|toleration| toleration.toleration_seconds).collect();
    if seconds.is_empty() {
        return None;
    }
    Some(seconds.into_iter().flatten().min())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::common::pods::tests::at;

    #[test]
    fn a_pod_stays_as_long_as_it_tolerates_all() {
        let check = |taints: &str, tolerations: &str, second: i64, expected: Verdict| {
            let taints: Vec<Taint> = serde_json::from_str(taints).unwrap();
            let tolerations: Vec<Toleration> = serde_json::from_str(tolerations).unwrap();
            let now = at(second);
            assert_eq!(time_left(&taints, &tolerations, now), expected);
        };
        let taint = format!(
            r#"[{{"key":"k","effect":"NoExecute","timeAdded":"{}"}}]"#,
            base::clock::rfc3339_seconds(at(0))
        );
        check("[]", "[]", 0, Verdict::Stay);
        check(&taint, "[]", 0, Verdict::Go);
        check(&taint, r#"[{"operator":"Exists"}]"#, 9_999, Verdict::Stay);
        check(&taint, r#"[{"key":"k","operator":"Equal","value":"x"}]"#, 0, Verdict::Go);
        check(&taint, r#"[{"key":"k","effect":"NoSchedule","operator":"Exists"}]"#, 0, Verdict::Go);
        let patient = r#"[{"key":"k","operator":"Exists","tolerationSeconds":300}]"#;
        check(&taint, patient, 100, Verdict::StayFor(Duration::from_secs(200)));
        check(&taint, patient, 300, Verdict::Go);
        check(
            &taint,
            r#"[{"key":"k","operator":"Exists","tolerationSeconds":-1}]"#,
            0,
            Verdict::Go,
        );
    }
}
