//! The objects that benchmarks write: ConfigMaps of a size, Pods of 2.4 KB, hollow Nodes.

use anyhow::{Context as _, Result};
use cli::{Api, Failure};
use futures::{AsyncBufReadExt as _, StreamExt as _};
use serde_json::{Value, json};

/// Where they are.
pub(super) const NAMESPACE: &str = "ferry-bench";
/// The label of everything that benchmarks leave outside their namespace.
pub(super) const LABEL: &str = "ferry.local/bench";

/// What is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// ConfigMaps with data of this many bytes.
    ConfigMap(usize),
    /// Pods of 2.4 KB that nobody schedules.
    Pod,
}

impl Kind {
    /// The path of all of them.
    pub(super) fn collection(self) -> String {
        let plural = match self {
            Self::ConfigMap(_) => "configmaps",
            Self::Pod => "pods",
        };
        format!("/api/v1/namespaces/{NAMESPACE}/{plural}")
    }

    /// The path of one.
    pub(super) fn path(self, number: u64) -> String {
        format!("{}/bench-{number}", self.collection())
    }

    /// One of them.
    pub(super) fn object(self, number: u64) -> Value {
        match self {
            Self::ConfigMap(bytes) => json!({
                "apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata(number),
                "data": { "data": "x".repeat(bytes) },
            }),
            Self::Pod => pod(number, "nobody"),
        }
    }
}

fn metadata(number: u64) -> Value {
    json!({
        "name": format!("bench-{number}"), "namespace": NAMESPACE, "labels": { "app": "bench" },
    })
}

/// A Pod of 2.4 KB as the server stores it, for a scheduler, onto the hollow nodes only.
pub(super) fn pod(number: u64, scheduler: &str) -> Value {
    let env: Vec<_> = (0..16)
        .map(|at| {
            json!({ "name": format!("SETTING_{at}"), "value": format!("value-{at}-of-a-usual-length") })
        })
        .collect();
    json!({
        "apiVersion": "v1", "kind": "Pod", "metadata": metadata(number),
        "spec": {
            "schedulerName": scheduler, "automountServiceAccountToken": false,
            // As admission would set them, so that an update of the same object changes neither.
            "serviceAccountName": "default", "serviceAccount": "default",
            "nodeSelector": { LABEL: "node" },
            "containers": [{
                "name": "main", "image": "registry.example.com/team/application:1.2.3", "env": env,
                "ports": [{ "containerPort": 8080, "name": "http" }],
                "resources": {
                    "requests": { "cpu": "100m", "memory": "128Mi" },
                    "limits": { "memory": "256Mi" },
                },
            }],
        },
    })
}

/// A Node that nobody runs, ready and with room. `now` is its heartbeat, RFC 3339.
pub(super) fn node(number: u64, now: &str) -> Value {
    let room =
        json!({ "cpu": "32", "memory": "128Gi", "pods": "110", "ephemeral-storage": "200Gi" });
    json!({
        "apiVersion": "v1", "kind": "Node",
        "metadata": {
            "name": format!("bench-{number}"),
            "labels": {
                LABEL: "node", "kubernetes.io/hostname": format!("bench-{number}"),
                "topology.kubernetes.io/zone": format!("zone-{}", number % 3),
            },
        },
        "status": {
            "capacity": room, "allocatable": room,
            "conditions": [{
                "type": "Ready", "status": "True", "reason": "KubeletReady",
                "message": "a hollow node", "lastHeartbeatTime": now, "lastTransitionTime": now,
            }],
        },
    })
}

/// The path of the hollow nodes.
pub(super) fn nodes_path() -> String {
    format!("/api/v1/nodes?labelSelector={LABEL}%3Dnode")
}

/// Makes the namespace, empty or left from an earlier run.
pub(super) async fn make_namespace(api: &Api) -> Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": NAMESPACE },
    });
    match api.send("POST", "/api/v1/namespaces", &namespace).await {
        Err(error) if !is_conflict(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Takes everything away, and waits until the namespace is gone: the next benchmark makes it anew.
pub(super) async fn remove_all(api: &Api) -> Result<()> {
    let path = format!("/api/v1/namespaces?watch=1&fieldSelector=metadata.name%3D{NAMESPACE}");
    // Begun before the deletion, so that its end cannot be missed.
    let mut changes = api.stream(&path, "application/json").await?.lines();
    let now = json!({ "gracePeriodSeconds": 0 });
    api.send("DELETE", &Kind::Pod.collection(), &now).await?;
    api.send("DELETE", &nodes_path(), &Value::Null).await?;
    api.send("DELETE", &format!("/api/v1/namespaces/{NAMESPACE}"), &Value::Null).await?;
    loop {
        let change = changes.next().await.context("the server ended the watch of namespaces")??;
        if change.starts_with("{\"type\":\"DELETED\"") {
            return Ok(());
        }
    }
}

fn is_conflict(error: &anyhow::Error) -> bool {
    error.downcast_ref::<Failure>().is_some_and(|failure| failure.code == 409)
}
