//! Telling the API what was decided: a binding, or why there is none.

use api::k8s_openapi::api::core::v1::Pod;
use api::typed::Kind as _;
use base::clock::{Timestamp, rfc3339_seconds};
use reconcile::{Failure, Key, Patch, Writer};
use serde_json::json;

use crate::framework::{Nomination, PodInfo};

/// Binds a pod to a node.
pub(crate) async fn bind(writer: &Writer, pod: &PodInfo, node: &str) -> Result<(), Failure> {
    let meta = &pod.pod.metadata;
    let key = Key::of(meta);
    let body = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": meta.name, "namespace": meta.namespace, "uid": meta.uid },
        "target": { "apiVersion": "v1", "kind": "Node", "name": node },
    });
    let path = Pod::resource().object_path(&key.namespace, &key.name, "binding");
    writer.raw("POST", &path, body.to_string().into_bytes()).await.map(drop)
}

/// The node that a pod is promised, as its status shall say: nothing when that stays as it is.
#[expect(clippy::option_option, reason = "as it is, no node, or a node")]
fn promised<'a>(pod: &Pod, nomination: &'a Nomination) -> Option<Option<&'a str>> {
    let old = pod.status.as_ref().and_then(|status| status.nominated_node_name.as_deref());
    let new = match nomination {
        Nomination::Keep => return None,
        Nomination::Clear => None,
        Nomination::Node { node, .. } => Some(node.as_str()),
    };
    (old.filter(|name| !name.is_empty()) != new).then_some(new)
}

/// Whether the pod's condition says already that it has no node for this reason.
pub(crate) fn is_told(pod: &Pod, message: &str, nomination: &Nomination) -> bool {
    if promised(pod, nomination).is_some() {
        return false;
    }
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|own| own.type_ == "PodScheduled").any(|own| {
        own.status == "False"
            && own.reason.as_deref() == Some("Unschedulable")
            && own.message.as_deref() == Some(message)
    })
}

/// Says in the pod's condition `PodScheduled` why it has no node, and which one it is promised.
pub(crate) async fn tell_unschedulable(
    writer: &Writer,
    pod: &PodInfo,
    message: &str,
    nomination: &Nomination,
    now: Timestamp,
) -> Result<(), Failure> {
    let was_false = pod
        .pod
        .status
        .iter()
        .flat_map(|status| status.conditions.iter().flatten())
        .find(|own| own.type_ == "PodScheduled" && own.status == "False");
    let mut condition = json!({
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": message,
    });
    if was_false.is_none() {
        condition["lastTransitionTime"] = rfc3339_seconds(now).into();
    }
    let mut status = json!({ "conditions": [condition] });
    if let Some(node) = promised(&pod.pod, nomination) {
        status["nominatedNodeName"] = node.into();
    }
    let patch = Patch::Strategic(json!({
        "metadata": { "uid": pod.pod.metadata.uid },
        "status": status,
    }));
    let key = Key::of(&pod.pod.metadata);
    writer.patch_raw(&Pod::resource(), &key, "status", patch).await.map(drop)
}
