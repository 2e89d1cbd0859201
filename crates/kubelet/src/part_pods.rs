//! The parts of the control plane that run in this process, as pods in `kube-system`.
//!
//! Their status is the parts' own readiness. Exec into one answers a clear error.

use std::sync::Arc;

use api::typed::Kind as _;
use base::clock::Timestamp;
use base::drain::Drain;
use futures::future::BoxFuture;
use k8s_openapi::api::core::v1::{Pod, PodStatus};
use reconcile::{Failure, Writer};
use serde_json::{Value, json};

use crate::context::NodeContext;
use crate::mirror::{self, Shown};
use crate::pod::{self, ANNOTATION_HASH, ANNOTATION_SOURCE};
use crate::seams::InProcessPart;

/// Where they are shown.
pub(crate) const NAMESPACE: &str = "kube-system";

/// The name of a part's pod: `kube-apiserver-NODE`.
pub(crate) fn pod_name(node: &NodeContext, part: &dyn InProcessPart) -> String {
    format!("{}-{}", part.name(), node.options.node_name)
}

/// Keeps all parts' pods until the drain fires.
pub(crate) async fn run(node: &Arc<NodeContext>, writer: &Writer, drain: &Drain) {
    let started = node.clock.now();
    let parts = node.options.parts.iter().map(|part| async move {
        let shown = PartPod { node, part: &**part, started };
        mirror::keep(node, writer, &shown, drain).await;
    });
    futures::future::join_all(parts).await;
}

struct PartPod<'a> {
    node: &'a NodeContext,
    part: &'a dyn InProcessPart,
    started: Timestamp,
}

impl Shown for PartPod<'_> {
    fn name(&self) -> String {
        pod_name(self.node, self.part)
    }

    fn namespace(&self) -> String {
        NAMESPACE.to_owned()
    }

    fn hash(&self) -> String {
        let options = &self.node.options;
        pod::definition_hash(
            format!("{} {} {}", self.part.name(), options.version, options.node_name).as_bytes(),
        )
    }

    fn changed(&self) -> BoxFuture<'_, ()> {
        self.part.changed()
    }

    fn definition(&self) -> Result<Pod, Failure> {
        let options = &self.node.options;
        let name = self.part.name();
        let value = json!({
            "metadata": {
                "name": self.name(),
                "namespace": NAMESPACE,
                "labels": {"component": name, "tier": "control-plane"},
                "annotations": {ANNOTATION_SOURCE: "file", ANNOTATION_HASH: self.hash()},
            },
            "spec": {
                "nodeName": options.node_name,
                "hostNetwork": true,
                "restartPolicy": "Always",
                "priorityClassName": "system-node-critical",
                "priority": pod::PRIORITY_NODE_CRITICAL,
                "tolerations": [{"operator": "Exists", "effect": "NoExecute"}],
                "containers": [{
                    "name": name,
                    "image": format!("ferry.local/ferry:{}", options.version),
                    "imagePullPolicy": "IfNotPresent",
                    "command": ["ferry", "server"],
                }],
            },
        });
        Pod::decode(value.to_string().as_bytes())
            .map_err(|error| Failure::decode(format!("show {name}"), &error))
    }

    fn status(&self, pod: &Pod) -> Option<PodStatus> {
        let ready = self.part.ready();
        let since = base::clock::rfc3339_seconds(self.started);
        let now = base::clock::rfc3339_seconds(self.node.clock.now());
        let old =
            pod.status.as_ref().and_then(|status| status.conditions.clone()).unwrap_or_default();
        let condition = |name: &str, verdict: &Result<(), String>| -> Value {
            let status = if verdict.is_ok() { "True" } else { "False" };
            let kept = old.iter().find(|one| one.type_ == name && one.status == status);
            let kept = kept.and_then(|one| one.last_transition_time.as_ref());
            let time =
                kept.map_or_else(|| now.clone(), |time| base::clock::rfc3339_seconds(time.0));
            let mut value = json!({
                "type": name, "status": status, "lastTransitionTime": time,
                "observedGeneration": pod.metadata.generation,
            });
            if let Err(why) = verdict {
                value["reason"] = json!("ContainersNotReady");
                value["message"] = json!(why);
            }
            value
        };
        let name = self.part.name();
        let ips = self.node.host_ips();
        let image = format!("ferry.local/ferry:{}", self.node.options.version);
        let addresses: Vec<Value> = ips.iter().map(|ip| json!({"ip": ip})).collect();
        let value = json!({
            "phase": "Running",
            "qosClass": "BestEffort",
            "startTime": since,
            "observedGeneration": pod.metadata.generation,
            "hostIP": ips.first(),
            "hostIPs": addresses,
            "podIP": ips.first(),
            "podIPs": addresses,
            "conditions": [
                condition("PodReadyToStartContainers", &Ok(())),
                condition("Initialized", &Ok(())),
                condition("Ready", &ready),
                condition("ContainersReady", &ready),
                condition("PodScheduled", &Ok(())),
            ],
            "containerStatuses": [{
                "name": name,
                "image": image,
                "imageID": "",
                "containerID": format!("{}://in-process-{name}", self.node.runtime_name),
                "ready": ready.is_ok(),
                "started": true,
                "restartCount": 0,
                "state": {"running": {"startedAt": since}},
                "lastState": {},
            }],
        });
        serde_json::from_value(value).ok()
    }
}
