//! Shows the parts of the control plane that run in this process as pods in `kube-system`.
//!
//! Their status is the parts' own readiness. They are mirror pods: nobody can change what runs by
//! changing them, and when one is deleted it comes back. Exec into one answers a clear error.

use std::sync::Arc;
use std::time::Duration;

use base::clock::Timestamp;
use base::drain::Drain;
use k8s_openapi::api::core::v1::{Node, Pod, PodStatus};
use reconcile::{Delete, Failure, Key, Writer};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::context::NodeContext;
use crate::pod::{self, ANNOTATION_HASH, ANNOTATION_MIRROR, ANNOTATION_SOURCE, PodRef};
use crate::seams::InProcessPart;
use crate::status::manager::Reporter;

/// Where they are shown.
pub(crate) const NAMESPACE: &str = "kube-system";
const RETRY: Duration = Duration::from_secs(1);

/// The name of a part's pod: `kube-apiserver-NODE`.
pub(crate) fn pod_name(node: &NodeContext, part: &dyn InProcessPart) -> String {
    format!("{}-{}", part.name(), node.options.node_name)
}

/// Keeps all parts' pods until the drain fires.
pub(crate) async fn run(node: &Arc<NodeContext>, writer: &Writer, drain: &Drain) {
    if node.options.parts.is_empty() {
        return;
    }
    node.objects.pods.synced().await;
    let started = node.clock.now();
    let all = node.options.parts.iter().map(|part| async {
        let changed = Arc::new(Notify::new());
        let (notify, name) = (changed.clone(), pod_name(node, &**part));
        node.objects.pods.subscribe(move |event| {
            let meta = &event.object().metadata;
            if meta.name.as_ref() == Some(&name) && meta.namespace.as_deref() == Some(NAMESPACE) {
                notify.notify_one();
            }
        });
        let mut shown = Shown { node, writer, part, started, reporter: None };
        loop {
            let wait = match shown.show().await {
                Ok(()) => None,
                Err(failure) => {
                    tracing::debug!(part = part.name(), %failure, "a part's pod was not written, trying again");
                    Some(RETRY)
                }
            };
            tokio::select! {
                () = drain.cancelled() => return,
                () = changed.notified() => {}
                () = part.changed() => {}
                () = async {
                    match wait {
                        Some(wait) => tokio::time::sleep(wait).await,
                        None => std::future::pending().await,
                    }
                } => {}
            }
        }
    });
    futures::future::join_all(all).await;
}

struct Shown<'a> {
    node: &'a NodeContext,
    writer: &'a Writer,
    part: &'a Arc<dyn InProcessPart>,
    started: Timestamp,
    reporter: Option<(String, Reporter)>,
}

impl Shown<'_> {
    async fn show(&mut self) -> Result<(), Failure> {
        let key = Key::new(NAMESPACE, &pod_name(self.node, &**self.part));
        let hash = definition_hash(self.node, &**self.part);
        let Some(node) = self.node.objects.nodes.get("", &self.node.options.node_name) else {
            // The node registers first; its pods follow.
            return Err(Failure {
                class: reconcile::Class::NotFound,
                attempt: format!("show {key}"),
                message: "the node is not registered yet".to_owned(),
                retry_after: None,
            });
        };
        let known = self.node.objects.pods.get_key(&key);
        let pod = match known {
            Some(pod)
                if pod::is_deleting(&pod)
                    || pod::annotation(&pod, ANNOTATION_MIRROR) != Some(&hash) =>
            {
                let how =
                    Delete { grace_seconds: Some(0), ..Delete::uid(pod.metadata.uid.as_deref()) };
                reconcile::or_gone(self.writer.delete::<Pod>(&key, how).await)?;
                return Ok(());
            }
            Some(pod) => pod,
            None => match self.writer.create(&self.definition(&node, &hash)?).await {
                Ok(pod) => Arc::new(pod),
                Err(failure) if failure.is_already_exists() => return Ok(()),
                Err(failure) => return Err(failure),
            },
        };
        let id = PodRef::of(&pod);
        if self.reporter.as_ref().is_none_or(|(uid, _)| *uid != id.uid) {
            let pods = self.node.objects.pods.clone();
            let reporter = Reporter::start(id.clone(), pods, Some(self.writer.clone()));
            self.reporter = Some((id.uid, reporter));
        }
        if let (Some((_, reporter)), Ok(status)) = (&self.reporter, self.status(&pod)) {
            reporter.report(status);
        }
        Ok(())
    }

    fn definition(&self, node: &Node, hash: &str) -> Result<Pod, Failure> {
        let options = &self.node.options;
        let name = self.part.name();
        let value = json!({
            "metadata": {
                "name": pod_name(self.node, &**self.part),
                "namespace": NAMESPACE,
                "labels": {"component": name, "tier": "control-plane"},
                "annotations": {ANNOTATION_SOURCE: "file", ANNOTATION_HASH: hash, ANNOTATION_MIRROR: hash},
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Node", "name": options.node_name,
                    "uid": node.metadata.uid, "controller": true,
                }],
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
        use api::typed::Kind as _;
        Pod::decode(value.to_string().as_bytes())
            .map_err(|error| Failure::decode(format!("show {name}"), &error))
    }

    /// Readiness as a status.
    fn status(&self, pod: &Pod) -> Result<PodStatus, serde_json::Error> {
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
        serde_json::from_value(value)
    }
}

fn definition_hash(node: &NodeContext, part: &dyn InProcessPart) -> String {
    pod::definition_hash(
        format!("{} {} {}", part.name(), node.options.version, node.options.node_name).as_bytes(),
    )
}
