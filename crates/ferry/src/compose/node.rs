//! The node: runtime, pod network, data plane, kubelet.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::k8s_openapi::api::core::v1::Node;
use async_trait::async_trait;
use auth::{UserInfo, groups, users};
use base::drain::{Drain, Drains};
use container_native::{NativeOptions, NativeRuntime, image};
use kubelet::{EndpointGate, Kubelet, KubeletOptions, NoGate, Parts, ServerOptions};
use net::pod_network::{Config, PodNetwork};
use proxy::ProxyHandle;
use reconcile::Caches;

use super::Process;
use super::control_plane::{ControlPlane, tls_config};
use super::network::NodeNetwork;
use super::parts::{self, Part};
use crate::pki::Subject;
use crate::server::reviews::Reviews;

/// The name under which the data plane reports that it is ready.
pub(crate) const PROXY_PART: &str = "proxy";
const KUBELET_PORT: u16 = 10250;
const LOG_DIR: &str = "/var/log/pods";
/// Where Debian's busybox-static puts it; without it there is no toolbox image.
const BUSYBOX: &str = "/bin/busybox";

/// Starts the node of this process.
pub(crate) async fn start(
    process: &Process,
    control_plane: &ControlPlane,
    drains: &mut Drains,
) -> Result<()> {
    let options = &process.options;
    let stage = drains.stage("node");
    let caches = control_plane.caches.clone();
    let network = Arc::new(NodeNetwork::default());
    let runtime = open_runtime(process, network.clone()).await?;
    stage.spawn(bring_up_network(
        network_config(process)?,
        options.node_name.clone(),
        caches.clone(),
        network,
        stage.token(),
    ));
    let gate: Arc<dyn EndpointGate> = if options.has("proxy") {
        Arc::new(Gate(start_proxy(process, &caches, stage.token())?))
    } else {
        Arc::new(NoGate)
    };
    let username = format!("{}{}", users::NODE_PREFIX, options.node_name);
    let user = UserInfo::named(&username, &[groups::NODES]);
    let client = control_plane.client(user, "kubelet");
    let server = kubelet_server(process, control_plane, Reviews::new(client.clone()))?;
    let kubelet = Kubelet::new(
        kubelet_options(process, server),
        Parts {
            client,
            caches,
            runtime: runtime.clone(),
            images: runtime,
            gate,
            clock: process.clock.clone(),
            rng: process.rng.clone(),
        },
    );
    stage.spawn(kubelet.run(stage.token()));
    Ok(())
}

async fn open_runtime(process: &Process, network: Arc<NodeNetwork>) -> Result<Arc<NativeRuntime>> {
    let mut settings = NativeOptions::new(&process.options.data_dir, network);
    settings.clock = process.clock.clone();
    let runtime = NativeRuntime::open(settings).await.context(
        "cannot start the container runtime; `ferry check` says what this machine lacks",
    )?;
    let store = runtime.image_store().clone();
    let builtin = image::builtin::Builtin {
        binary: std::env::current_exe().context("cannot find Ferry's own binary")?,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        busybox: Some(BUSYBOX.into()).filter(|path: &std::path::PathBuf| path.exists()),
    };
    tokio::task::spawn_blocking(move || image::builtin::register(&store, &builtin))
        .await
        .context("making the built-in images")?
        .context("cannot make the built-in images")?;
    Ok(runtime)
}

fn network_config(process: &Process) -> Result<Config> {
    let options = &process.options;
    let parse = |flag: &str, text: &str| {
        text.parse().with_context(|| format!("--{flag} {text} is no range of addresses"))
    };
    Ok(Config {
        pod_cidrs: Vec::new(),
        inside_cidrs: vec![parse("cluster-cidr", &options.cluster_cidr)?],
        service_cidrs: vec![parse("service-cidr", &options.service_cidr)?],
        mtu: 1500,
        data_dir: options.agent_dir().join("network"),
        netns: None,
    })
}

/// Brings the pod network up as soon as the node has its range.
async fn bring_up_network(
    config: Config,
    node: String,
    caches: Caches,
    network: Arc<NodeNetwork>,
    drain: Drain,
) {
    let work = async {
        let range = pod_cidr(&caches, &node).await;
        let range = range
            .parse()
            .with_context(|| format!("the node's pod range {range} is no range of addresses"))?;
        let config = Config { pod_cidrs: vec![range], ..config };
        let started = PodNetwork::start(config).await.context("cannot bring the pod network up")?;
        network.set(started).await.map_err(anyhow::Error::msg)
    };
    tokio::select! {
        () = drain.cancelled() => {}
        done = work => if let Err(error) = done {
            let why = format!("{error:#}");
            tracing::error!(why, "pods get no addresses");
            network.fail(why);
        }
    }
}

/// The node's pod range, waited for.
async fn pod_cidr(caches: &Caches, node: &str) -> String {
    let nodes = caches.of::<Node>();
    let changed = Arc::new(tokio::sync::Notify::new());
    nodes.subscribe({
        let changed = changed.clone();
        move |_| changed.notify_one()
    });
    loop {
        let found = nodes.get("", node).and_then(|node| node.spec.as_ref()?.pod_cidr.clone());
        if let Some(range) = found {
            return range;
        }
        changed.notified().await;
    }
}

fn start_proxy(process: &Process, caches: &Caches, drain: Drain) -> Result<ProxyHandle> {
    let network = network_config(process)?;
    let plane = proxy::dataplane::DataplaneKind::Nftables.open(proxy::dataplane::Config {
        service_cidrs: network.service_cidrs,
        pod_cidrs: network.inside_cidrs,
        netns: None,
    });
    let settings = proxy::Options { node_name: process.options.node_name.clone() };
    let handle = proxy::start(settings, caches, plane, drain);
    let part = process.readiness.part(PROXY_PART);
    let synced = handle.clone();
    tokio::spawn(async move {
        synced.synced().await;
        part.ready();
    });
    Ok(handle)
}

/// The proxy as the kubelet's gate.
#[derive(Debug)]
struct Gate(ProxyHandle);

#[async_trait]
impl EndpointGate for Gate {
    async fn endpoint_removed(&self, pod_ips: &[IpAddr]) {
        for ip in pod_ips {
            self.0.endpoint_removed(*ip).await;
        }
    }
}

fn kubelet_server(
    process: &Process,
    control_plane: &ControlPlane,
    reviews: Reviews,
) -> Result<ServerOptions> {
    let node = &process.options.node_name;
    let subject = Subject {
        common_name: format!("{}{node}", users::NODE_PREFIX),
        organizations: vec![groups::NODES.to_owned()],
        dns_names: vec![node.clone()],
        addresses: vec![process.node_ip, IpAddr::from([127, 0, 0, 1])],
    };
    let certificate = control_plane.renewed(subject, process.clock.now())?;
    Ok(ServerOptions {
        address: SocketAddr::from((process.node_ip, KUBELET_PORT)),
        tls: Arc::new(tls_config(&[&*control_plane.authority], certificate)?),
        access: Arc::new(reviews),
    })
}

fn kubelet_options(process: &Process, server: ServerOptions) -> KubeletOptions {
    let options = &process.options;
    let mut parts: Vec<Arc<dyn kubelet::InProcessPart>> = Vec::new();
    for (flag, name) in parts::SHOWN {
        if options.has(flag) {
            parts.push(Arc::new(Part::new(name, process)));
        }
    }
    KubeletOptions {
        node_name: options.node_name.clone(),
        node_ips: vec![process.node_ip],
        data_dir: options.agent_dir(),
        log_dir: LOG_DIR.into(),
        cluster_dns: vec![options.cluster_dns],
        cluster_domain: options.cluster_domain.clone(),
        server: Some(server),
        parts,
        version: apiserver::VersionInfo::default().git_version,
        ..KubeletOptions::default()
    }
}
