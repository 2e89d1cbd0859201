//! The kubelet as a whole: what it is made of and what runs beside what.

use std::sync::Arc;
use std::time::Duration;

use base::clock::SharedClock;
use base::drain::Drain;
use base::rng::SharedRng;
use container_runtime::{ImageService, RuntimeConfig, RuntimeService};
use reconcile::recorder::Recorder;
use reconcile::{Caches, Writer};
use tokio::sync::Notify;

use crate::allocation::Allocations;
use crate::config::dns;
use crate::context::NodeContext;
use crate::dispatch::Dispatch;
use crate::images::Images;
use crate::node::machine::Machine;
use crate::objects::Objects;
use crate::options::KubeletOptions;
use crate::seams::EndpointGate;
use crate::volumes::token::Tokens;
use crate::{gc, logs, node, part_pods, server, static_pods};

const RUNTIME_RETRY: Duration = Duration::from_millis(100);

/// What a kubelet is given to work with.
#[derive(Clone)]
pub struct Parts {
    /// The API, under the node's identity.
    pub client: kube::Client,
    /// The process' shared caches.
    pub caches: Caches,
    /// The container runtime.
    pub runtime: Arc<dyn RuntimeService>,
    /// Its images.
    pub images: Arc<dyn ImageService>,
    /// The data planes of the node.
    pub gate: Arc<dyn EndpointGate>,
    /// Wall time.
    pub clock: SharedClock,
    /// Randomness.
    pub rng: SharedRng,
}

/// A kubelet that has not started yet.
pub struct Kubelet {
    options: KubeletOptions,
    parts: Parts,
}

impl Kubelet {
    /// A kubelet with its settings and the parts around it.
    #[must_use]
    pub fn new(options: KubeletOptions, parts: Parts) -> Self {
        Self { options, parts }
    }

    /// Runs until the drain fires. Containers go on afterwards; the next kubelet takes them over.
    pub async fn run(self, drain: Drain) {
        let Self { options, parts } = self;
        let Some(runtime_name) = runtime_name(&*parts.runtime, &drain).await else { return };
        if let Some(pod_cidr) = options.pod_cidr.clone() {
            let told = parts.runtime.update_runtime_config(&RuntimeConfig { pod_cidr }).await;
            if let Err(error) = told {
                tracing::warn!(%error, "the runtime did not take the node's pod range");
            }
        }
        let writer = Writer::new(parts.client.clone(), "kubelet");
        let recorder = Recorder::start(
            writer.clone(),
            "kubelet",
            &options.node_name,
            parts.clock.clone(),
            drain.clone(),
        );
        let machine = Machine::read();
        let node = Arc::new(NodeContext {
            host_dns: dns::parse_resolv_conf(&machine.resolv_conf),
            objects: Objects::start(
                &parts.caches,
                writer.clone(),
                &options.node_name,
                options.own_scope,
            ),
            images: Images::new(parts.images.clone(), parts.clock.clone()),
            allocations: Allocations::default(),
            tokens: Tokens::new(writer.clone()),
            runtime: parts.runtime.clone(),
            runtime_name,
            writer: Some(writer.clone()),
            recorder,
            gate: parts.gate.clone(),
            clock: parts.clock.clone(),
            rng: parts.rng.clone(),
            may_mount: options.may_mount && nix::unistd::geteuid().is_root(),
            machine,
            options,
        });
        let dispatch = Dispatch::new(node.clone());
        let look = Notify::new();
        let lives = async {
            node.objects.nodes.synced().await;
            let register = node::register::run(&node, &*parts.images, &writer, &look, &drain);
            tokio::join!(register, node::lease::run(&node, &writer, &drain));
        };
        let works = async {
            // Static pods wait for nobody: they may be what the API server needs.
            let api_pods = async {
                node.objects.synced().await;
                dispatch.run(&drain).await;
            };
            tokio::join!(api_pods, static_pods::run(&node, &dispatch, &writer, &drain));
        };
        let keeps = async {
            tokio::join!(
                gc::run(&node, &*parts.images, &drain),
                logs::rotate::run(&node, &drain),
                part_pods::run(&node, &writer, &drain),
                server::run(&node, &dispatch, &drain),
            );
        };
        // Each part watches the drain itself; the node's own tasks may stop at any await.
        let all = async { tokio::join!(lives, works, keeps) };
        tokio::pin!(all);
        tokio::select! {
            _ended = &mut all => {}
            () = drain.cancelled() => {
                let _late = tokio::time::timeout(Duration::from_secs(2), &mut all).await;
            }
        }
    }
}

/// The runtime's name, as soon as it answers.
async fn runtime_name(runtime: &dyn RuntimeService, drain: &Drain) -> Option<String> {
    let mut said = false;
    loop {
        match runtime.version().await {
            Ok(version) => return Some(version.runtime_name),
            Err(error) if !std::mem::replace(&mut said, true) => {
                tracing::warn!(%error, "waiting for the container runtime");
            }
            Err(_) => {}
        }
        tokio::select! {
            () = drain.cancelled() => return None,
            () = tokio::time::sleep(RUNTIME_RETRY) => {}
        }
    }
}
