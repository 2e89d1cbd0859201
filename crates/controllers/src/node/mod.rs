//! What looks after nodes, and after pods whose node is in trouble.

pub(crate) mod health;
pub(crate) mod ipam;
pub(crate) mod lifecycle;
pub(crate) mod podgc;
pub(crate) mod taint_eviction;

use k8s_openapi::api::core::v1::{Node, NodeCondition, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Cache, Ctx, Failure, Key, Patch};
use serde_json::json;

/// The index of pods by the node they are bound to.
pub(crate) const BY_NODE: &str = "spec.nodeName";

/// Adds the index of pods by node.
pub(crate) fn index_by_node(pods: &Cache<Pod>) {
    pods.add_index(BY_NODE, |pod, emit| {
        if let Some(node) = node_of(pod) {
            emit(node);
        }
    });
}

/// The node that a pod is bound to.
pub(crate) fn node_of(pod: &Pod) -> Option<&str> {
    pod.spec.as_ref()?.node_name.as_deref().filter(|node| !node.is_empty())
}

/// A condition of a node.
pub(crate) fn condition<'a>(node: &'a Node, kind: &str) -> Option<&'a NodeCondition> {
    node.status.as_ref()?.conditions.as_ref()?.iter().find(|condition| condition.type_ == kind)
}

/// `True`, `False` or `Unknown`; unknown when it was never said.
pub(crate) fn ready(node: &Node) -> &str {
    condition(node, "Ready").map_or("Unknown", |condition| condition.status.as_str())
}

/// Says on a pod why it is being disrupted, before it is deleted. (KEP-3329)
pub(crate) async fn mark_disrupted(
    ctx: &Ctx,
    pod: &Pod,
    reason: &str,
    message: &str,
    fail: bool,
) -> Result<(), Failure> {
    let condition = PodCondition {
        type_: "DisruptionTarget".to_owned(),
        status: "True".to_owned(),
        reason: Some(reason.to_owned()),
        message: Some(message.to_owned()),
        last_transition_time: Some(Time(ctx.clock.now())),
        ..PodCondition::default()
    };
    let mut status = json!({"conditions": [condition]});
    if fail {
        status["phase"] = json!("Failed");
    }
    let patch = json!({"metadata": {"uid": pod.metadata.uid}, "status": status});
    let key = Key::of(&pod.metadata);
    reconcile::or_gone(ctx.writer.patch::<Pod>(&key, "status", Patch::Strategic(patch)).await)?;
    Ok(())
}
