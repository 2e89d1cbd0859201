//! Makes the Node object, and keeps its status current: on change, and every five minutes.

use std::sync::Arc;
use std::time::Duration;

use base::clock::Timestamp;
use base::drain::Drain;
use container_runtime::ImageFilter;
use k8s_openapi::api::core::v1::{Node, NodeSpec, NodeStatus, Taint};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use reconcile::{Failure, Key, Patch, Writer};
use serde_json::json;
use tokio::sync::Notify;

use super::machine;
use super::status::{self, Health, RuntimeSays};
use crate::context::NodeContext;

/// How often the node is looked at, without anything being sent when nothing changed.
const LOOK: Duration = Duration::from_secs(10);
/// The first looks come quicker: a node becomes ready as soon as its runtime is.
const LOOK_NOT_READY: Duration = Duration::from_millis(100);
/// How often the status is sent even when nothing changed.
const REPORT: Duration = Duration::from_secs(300);
const RETRY: Duration = Duration::from_millis(500);
/// Upstream's hard eviction thresholds.
const MEMORY_MIN_BYTES: i64 = 100 << 20;
const DISK_MIN_SHARE: u64 = 10;
const INODES_MIN_SHARE: u64 = 20;
/// A pressure lasts at least this long, so that it does not flap.
const PRESSURE_LASTS: Duration = Duration::from_secs(300);

/// Registers the node and keeps its status until the drain fires. `wake`: look now.
pub(crate) async fn run(
    node: &Arc<NodeContext>,
    images: &dyn container_runtime::ImageService,
    writer: &Writer,
    wake: &Notify,
    drain: &Drain,
) {
    let mut keeper = Keeper {
        node: node.clone(),
        writer: writer.clone(),
        sent: None,
        sent_at: None,
        pressure: [None; 3],
        was_ready: None,
    };
    loop {
        let wait = match keeper.look(images).await {
            Ok(true) => LOOK,
            Ok(false) => LOOK_NOT_READY,
            Err(failure) => {
                tracing::debug!(%failure, "the node's status was not written, trying again");
                RETRY
            }
        };
        tokio::select! {
            () = drain.cancelled() => return,
            () = wake.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

struct Keeper {
    node: Arc<NodeContext>,
    writer: Writer,
    sent: Option<NodeStatus>,
    sent_at: Option<tokio::time::Instant>,
    /// When memory, disk and processes were last short.
    pressure: [Option<tokio::time::Instant>; 3],
    was_ready: Option<bool>,
}

impl Keeper {
    /// One look; whether the node is ready.
    async fn look(
        &mut self,
        images: &dyn container_runtime::ImageService,
    ) -> Result<bool, Failure> {
        let says = self.ask(images).await;
        let health = self.health(&says);
        let name = self.node.options.node_name.clone();
        let known = self.node.objects.nodes.get("", &name);
        let now = self.node.clock.now();
        let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
        let options = &self.node.options;
        let machine = &self.node.machine;
        let base = known.as_deref();
        let wanted = status::node_status(options, machine, &says, &health, base, &now);
        if known.is_none() {
            if options.register {
                self.register(wanted.clone()).await?;
            }
        } else if let Some(node) = &known {
            self.relabel(node).await?;
        }
        let old = known.as_ref().and_then(|node| node.status.clone()).or(self.sent.clone());
        let due = self.sent_at.is_none_or(|at| at.elapsed() >= REPORT);
        if due || old.is_none_or(|old| status::differs(&old, &wanted)) {
            self.send(&name, &wanted, known.as_deref()).await?;
            self.sent = Some(wanted);
            self.sent_at = Some(tokio::time::Instant::now());
        }
        let ready = health.not_ready.is_none();
        self.tell(ready);
        Ok(ready)
    }

    async fn ask(&self, images: &dyn container_runtime::ImageService) -> RuntimeSays {
        let runtime = &self.node.runtime;
        let mut says = RuntimeSays {
            version: runtime.version().await.unwrap_or_default(),
            images: images.list_images(&ImageFilter::default()).await.unwrap_or_default(),
            ..RuntimeSays::default()
        };
        match runtime.status().await {
            Ok(status) => says.status = status,
            Err(error) => says.status.conditions.push(container_runtime::RuntimeCondition {
                type_: "RuntimeReady".to_owned(),
                status: false,
                reason: error.code().to_owned(),
                message: error.message().to_owned(),
            }),
        }
        says
    }

    fn health(&mut self, says: &RuntimeSays) -> Health {
        let (free_pids, max_pids) = machine::processes();
        let disk_is_short = machine::disk(&self.node.options.data_dir).is_some_and(
            |[free, all, inodes, inodes_all]| {
                free * DISK_MIN_SHARE < all
                    || (inodes_all > 0 && inodes * INODES_MIN_SHARE < inodes_all)
            },
        );
        let short = [
            machine::memory_available() < MEMORY_MIN_BYTES,
            disk_is_short,
            free_pids * 20 < max_pids,
        ];
        let now = tokio::time::Instant::now();
        let mut lasts = [false; 3];
        for ((since, is_short), lasts) in self.pressure.iter_mut().zip(short).zip(&mut lasts) {
            if is_short {
                *since = Some(now);
            }
            *lasts = since.is_some_and(|since| now.duration_since(since) < PRESSURE_LASTS);
        }
        let [memory_pressure, disk_pressure, pid_pressure] = lasts;
        Health { not_ready: says.not_ready(), memory_pressure, disk_pressure, pid_pressure }
    }

    async fn register(&self, wanted: NodeStatus) -> Result<(), Failure> {
        let options = &self.node.options;
        let mut object = Node { status: Some(wanted), ..Node::default() };
        object.metadata.name = Some(options.node_name.clone());
        object.metadata.labels = Some(status::labels(options, &self.node.machine));
        let annotation = (
            "volumes.kubernetes.io/controller-managed-attach-detach".to_owned(),
            "true".to_owned(),
        );
        object.metadata.annotations = Some([annotation].into());
        // Upstream registers with this taint; the node controller takes it away once it is ready.
        let taint = Taint {
            key: "node.kubernetes.io/not-ready".to_owned(),
            effect: "NoSchedule".to_owned(),
            ..Taint::default()
        };
        let cidr = options.pod_cidr.clone();
        object.spec = Some(NodeSpec {
            taints: Some(vec![taint]),
            pod_cidrs: cidr.clone().map(|cidr| vec![cidr]),
            pod_cidr: cidr,
            ..NodeSpec::default()
        });
        match self.writer.create(&object).await {
            Ok(node) => {
                self.node.recorder.normal(&node, "Starting", "Starting kubelet.");
                Ok(())
            }
            Err(failure) if failure.is_already_exists() => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    /// A node that was there keeps its labels; ours are put right.
    async fn relabel(&self, node: &Node) -> Result<(), Failure> {
        let have = node.metadata.labels.clone().unwrap_or_default();
        let want = status::labels(&self.node.options, &self.node.machine);
        if want.iter().all(|(key, value)| have.get(key) == Some(value)) {
            return Ok(());
        }
        let patch = Patch::Strategic(json!({"metadata": {"labels": want}}));
        let key = Key::new("", &self.node.options.node_name);
        self.writer.patch::<Node>(&key, "", patch).await.map(|_| ())
    }

    async fn send(
        &self,
        name: &str,
        wanted: &NodeStatus,
        known: Option<&Node>,
    ) -> Result<(), Failure> {
        let mut body = serde_json::to_value(wanted).unwrap_or_default();
        // Addresses merge by type, of which there may be two: the list replaces what was there.
        if let Some(list) = body.get_mut("addresses").and_then(|list| list.as_array_mut()) {
            let had = known
                .and_then(|node| node.status.as_ref())
                .and_then(|status| status.addresses.as_ref());
            if had.is_some_and(|had| Some(had) != wanted.addresses.as_ref()) {
                list.push(json!({"$patch": "replace"}));
            }
        }
        if let Some(map) = body.as_object_mut() {
            // Written by others.
            for field in ["volumesAttached", "volumesInUse", "config", "phase"] {
                map.remove(field);
            }
        }
        let patch = Patch::Strategic(json!({"status": body}));
        self.writer.patch::<Node>(&Key::new("", name), "status", patch).await.map(|_| ())
    }

    fn tell(&mut self, ready: bool) {
        if self.was_ready == Some(ready) {
            return;
        }
        let first = self.was_ready.replace(ready).is_none();
        let Some(node) = self.node.objects.nodes.get("", &self.node.options.node_name) else {
            self.was_ready = None;
            return;
        };
        let name = &self.node.options.node_name;
        if ready {
            self.node.recorder.normal(
                &*node,
                "NodeReady",
                format!("Node {name} status is now: NodeReady"),
            );
        } else if !first {
            self.node.recorder.normal(
                &*node,
                "NodeNotReady",
                format!("Node {name} status is now: NodeNotReady"),
            );
        }
    }
}
