//! Having a pod leave its node for a more important one, by the API.

use api::k8s_openapi::api::core::v1::Pod;
use api::typed::Kind as _;
use base::clock::{Timestamp, rfc3339_seconds};
use reconcile::{Delete, Failure, Key, Patch, Writer};
use serde_json::json;

use crate::framework::PodInfo;

/// Says of a pod why it goes, and deletes it, with the grace that it asks for. `false` when it goes
/// already, or is gone.
pub(crate) async fn preempt(
    writer: &Writer,
    pod: &PodInfo,
    victim: &PodInfo,
    scheduler: &str,
    now: Timestamp,
) -> Result<bool, Failure> {
    let meta = &victim.pod.metadata;
    if meta.deletion_timestamp.is_some() {
        return Ok(false);
    }
    let key = Key::of(meta);
    let patch = Patch::Strategic(json!({
        "metadata": { "uid": meta.uid },
        "status": { "conditions": [{
            "type": "DisruptionTarget",
            "status": "True",
            "reason": "PreemptionByScheduler",
            "message": format!("{scheduler}: preempting to accommodate a higher priority pod"),
            "lastTransitionTime": rfc3339_seconds(now),
            "observedGeneration": meta.generation,
        }] },
    }));
    tracing::debug!(pod = victim.key, by = pod.key, "a pod makes room for another one");
    let told = writer.patch_raw(&Pod::resource(), &key, "status", patch).await;
    let gone = |failure: &Failure| failure.is_not_found() || failure.is_conflict();
    match told {
        Err(failure) if gone(&failure) => return Ok(false),
        told => drop(told?),
    }
    match writer.delete::<Pod>(&key, Delete::uid(meta.uid.as_deref())).await {
        Ok(()) => Ok(true),
        Err(failure) if gone(&failure) => Ok(false),
        Err(failure) => Err(failure),
    }
}

/// Takes back what a pod was promised.
pub(crate) async fn clear_nomination(writer: &Writer, pod: &PodInfo) -> Result<(), Failure> {
    let meta = &pod.pod.metadata;
    let patch = Patch::Strategic(json!({
        "metadata": { "uid": meta.uid },
        "status": { "nominatedNodeName": null },
    }));
    writer.patch_raw(&Pod::resource(), &Key::of(meta), "status", patch).await.map(drop)
}
