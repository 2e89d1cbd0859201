//! The composition: how the parts become a process. This file alone knows all of them.
//!
//! Started in this order, drained in the reverse: store, API server, controllers and scheduler,
//! node. Each part gets a client of its own identity and the shared caches; nothing else connects
//! them.

mod addons;
mod admission;
mod authn;
mod control_plane;
mod network;
mod node;
mod parts;

use std::net::IpAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use base::clock::SharedClock;
use base::drain::Drains;
use base::readiness::Readiness;
use base::rng::SharedRng;
use nix::mount::{MntFlags, umount2};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use crate::logs::Rings;
use crate::options::{Runtime, ServerOptions};
use control_plane::ControlPlane;

/// How long a stage may take to stop.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);

/// What every part of the process shares.
pub(crate) struct Process {
    pub(crate) options: ServerOptions,
    pub(crate) clock: SharedClock,
    pub(crate) rng: SharedRng,
    pub(crate) readiness: Readiness,
    pub(crate) rings: Rings,
    pub(crate) node_ip: IpAddr,
    pub(crate) failure: FailureReport,
}

/// Where a part says that it failed in a way that the process must not survive.
#[derive(Clone)]
pub(crate) struct FailureReport(mpsc::Sender<anyhow::Error>);

impl FailureReport {
    /// Ends the process with this error. The first report counts.
    pub(crate) fn report(&self, error: anyhow::Error) {
        if let Err(mpsc::error::TrySendError::Full(late)) = self.0.try_send(error) {
            tracing::error!(error = format!("{late:#}"), "another part failed too");
        }
    }
}

/// Runs a server until SIGTERM or SIGINT. Its pods go on.
pub(crate) async fn run(options: ServerOptions, clock: SharedClock, rings: Rings) -> Result<()> {
    rustls::crypto::ring::default_provider()
        .install_default()
        .map_err(|_| anyhow::anyhow!("TLS is set up already"))?;
    refuse_what_is_not_there(&options)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let node_ip = match options.node_ip {
        Some(ip) => ip,
        None => default_address().context("cannot find this machine's address; give --node-ip")?,
    };
    let (sender, mut failures) = mpsc::channel(1);
    let process = Process {
        failure: FailureReport(sender),
        options,
        clock,
        rng: SharedRng::from_os(),
        readiness: Readiness::default(),
        rings,
        node_ip,
    };
    name_parts(&process);
    let going = process.readiness.part("shutdown");
    going.ready();
    let mut drains = Drains::default();
    let control_plane = ControlPlane::start(&process, &mut drains).await?;
    control_plane.start_acting(&process, &mut drains);
    if process.options.has("node") {
        node::start(&process, &control_plane, &mut drains).await?;
    }
    control_plane.start_renewing(&process, &mut drains);
    tracing::info!(address = %control_plane.address, "the API server is ready");
    let failed = tokio::select! {
        _ = terminate.recv() => None,
        _ = interrupt.recv() => None,
        failed = failures.recv() => failed,
    };
    tracing::info!("stopping; pods go on");
    // Load balancers see it before the first request is refused.
    going.unready("process is shutting down");
    tokio::time::sleep(process.options.limits.shutdown_delay).await;
    for late in drains.drain(DRAIN_LIMIT).await {
        tracing::warn!(stage = late, "did not stop in time");
    }
    match failed {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Names the parts whose readiness counts before the server answers, or it would be ready, then
/// not, then ready again.
fn name_parts(process: &Process) {
    let has = |part| process.options.has(part);
    let parts = [
        (control_plane::SCHEDULER_PART, has("scheduler")),
        (control_plane::CONTROLLERS_PART, has("controllers")),
        (node::PROXY_PART, has("node") && has("proxy")),
    ];
    for (name, _) in parts.into_iter().filter(|(_, runs)| *runs) {
        let _ = process.readiness.part(name);
    }
}

/// Flags of the contract whose parts are not built yet end in words, not in silence.
fn refuse_what_is_not_there(options: &ServerOptions) -> Result<()> {
    if let Runtime::Remote(socket) = &options.container_runtime {
        bail!("--container-runtime {socket}: only the embedded runtime is there as yet");
    }
    if !options.has("apiserver") || options.kubeconfig.is_some() {
        bail!(
            "--disable apiserver and --kubeconfig: parts that run without the API server of this \
             process are not there as yet"
        );
    }
    if options.has("node") && !nix::unistd::geteuid().is_root() {
        bail!(
            "a node needs root: run this as root, or without a node (--disable node,proxy); \
             `ferry check` says what else is missing"
        );
    }
    if options.token.is_some() {
        bail!("--token: agents cannot join as yet");
    }
    Ok(())
}

/// Stops what runs and takes away everything of Ferry's on this machine but the data that it keeps.
pub(crate) fn clean(options: &ServerOptions) -> Result<()> {
    let mut left = container_native::clean(&options.data_dir, "ferry");
    let network =
        net::pod_network::PodNetwork::clean(options.agent_dir().join("network"), None, Vec::new());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    if let Err(error) = runtime.block_on(network) {
        left.push(base::error::Chain(&error).to_string());
    }
    left.extend(unmount_below(&options.agent_dir()));
    if !left.is_empty() {
        bail!("could not take everything away: {}", left.join("; "));
    }
    Ok(())
}

/// Unmounts everything below a folder (pods' volumes in memory), the deepest first; answers what
/// would not go.
fn unmount_below(dir: &Path) -> Vec<String> {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(Path::new);
    let mut below: Vec<_> = points.filter(|point| point.starts_with(dir)).collect();
    below.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    below
        .into_iter()
        .filter_map(|point| {
            let failed = umount2(point, MntFlags::MNT_DETACH).err()?;
            Some(format!("unmount {}: {failed}", point.display()))
        })
        .collect()
}

/// The address of the link that the default route goes out of; of any link that is up, otherwise.
fn default_address() -> Result<IpAddr> {
    let routes = std::fs::read_to_string("/proc/net/route").unwrap_or_default();
    let by_default = routes.lines().skip(1).find_map(|line| {
        let mut columns = line.split_whitespace();
        let (link, destination) = (columns.next()?, columns.next()?);
        (destination == "00000000").then(|| link.to_owned())
    });
    let mut others = Vec::new();
    for link in nix::ifaddrs::getifaddrs().context("cannot list this machine's addresses")? {
        let Some(address) = link.address.as_ref().and_then(|own| own.as_sockaddr_in()) else {
            continue;
        };
        let ip = IpAddr::from(address.ip());
        if Some(&link.interface_name) == by_default.as_ref() {
            return Ok(ip);
        }
        if !ip.is_loopback() {
            others.push(ip);
        }
    }
    others.into_iter().next().context("no link but loopback has an IPv4 address")
}
