//! Telling the API what was decided: a binding, or why there is none.

use api::k8s_openapi::api::core::v1::Pod;
use api::typed::Kind as _;
use base::clock::{Timestamp, rfc3339_seconds};
use reconcile::{Failure, Key, Patch, Writer};
use serde_json::json;

use crate::framework::PodInfo;

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

/// Whether the pod's condition says already that it has no node for this reason.
pub(crate) fn is_told(pod: &Pod, message: &str) -> bool {
    let conditions = pod.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.filter(|own| own.type_ == "PodScheduled").any(|own| {
        own.status == "False"
            && own.reason.as_deref() == Some("Unschedulable")
            && own.message.as_deref() == Some(message)
    })
}

/// Says in the pod's condition `PodScheduled` why it has no node.
pub(crate) async fn tell_unschedulable(
    writer: &Writer,
    pod: &PodInfo,
    message: &str,
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
    let patch = Patch::Strategic(json!({
        "metadata": { "uid": pod.pod.metadata.uid },
        "status": { "conditions": [condition] },
    }));
    let key = Key::of(&pod.pod.metadata);
    writer.patch_raw(&Pod::resource(), &key, "status", patch).await.map(drop)
}
