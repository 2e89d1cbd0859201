//! The probes of one pod: starts a task for each probe of each running container, keeps verdicts.
//!
//! Invariant: a task belongs to one container id and ends with it; verdicts of a container that is
//! gone are forgotten.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use base::clock::{SharedClock, Timestamp};
use container_runtime::{ContainerState, ContainerStatus, RuntimeService};
use k8s_openapi::api::core::v1::{Container, Pod, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::state::{ProbeKind, ProbeState, Settings};
use super::{Outcome, exec, grpc, http, tcp};
use crate::events::PodEvents;
use crate::pod::{self, ContainerKind};
use crate::worker::plan::Verdicts;
use crate::worker::view::PodView;

/// A probe that could not be asked is asked again this often before that counts.
const TRIES: usize = 3;

type Kept = Arc<Mutex<HashMap<(ProbeKind, String), bool>>>;

/// The probes of one pod.
pub(crate) struct Probes {
    runtime: Arc<dyn RuntimeService>,
    clock: SharedClock,
    agent: String,
    wake: Arc<Notify>,
    verdicts: Kept,
    tasks: BTreeMap<(String, ProbeKind), AbortHandle>,
}

impl Drop for Probes {
    fn drop(&mut self) {
        self.tasks.values().for_each(AbortHandle::abort);
    }
}

impl Probes {
    /// No probes yet. `wake` is told when a verdict changes.
    pub(crate) fn new(
        runtime: Arc<dyn RuntimeService>,
        clock: SharedClock,
        agent: String,
        wake: Arc<Notify>,
    ) -> Self {
        Self { runtime, clock, agent, wake, verdicts: Kept::default(), tasks: BTreeMap::new() }
    }

    /// Starts probes of containers that run, ends those of containers that do not. With `stopping`
    /// only readiness is still asked: a pod on its way out is not restarted.
    pub(crate) fn follow(
        &mut self,
        pod: &Pod,
        view: &PodView,
        host: IpAddr,
        events: &PodEvents,
        stopping: bool,
    ) {
        let mut wanted = BTreeMap::new();
        for (kind, container) in pod::containers(pod) {
            if matches!(kind, ContainerKind::Init | ContainerKind::Ephemeral) {
                continue;
            }
            let latest = view.latest(&container.name);
            let Some(status) = latest.filter(|one| one.state == ContainerState::Running) else {
                continue;
            };
            for (probe_kind, probe) in probes_of(&container) {
                if !(stopping && probe_kind != ProbeKind::Readiness) {
                    wanted.insert(
                        (status.id.clone(), probe_kind),
                        (container.clone().into_owned(), probe, status.clone()),
                    );
                }
            }
        }
        self.tasks.retain(|key, task| {
            let keep = wanted.contains_key(key);
            if !keep {
                task.abort();
            }
            keep
        });
        let verdicts = &self.verdicts;
        verdicts.lock().retain(|(_, id), _| view.containers.iter().any(|one| one.id == *id));
        for (key, (container, probe, status)) in wanted {
            if !self.tasks.contains_key(&key) {
                let task = self.task(pod, container, probe, key.1, &status, host, events);
                self.tasks.insert(key, tokio::spawn(task.run()).abort_handle());
            }
        }
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a task is made of all that it works with, in one place"
    )]
    fn task(
        &self,
        pod: &Pod,
        container: Container,
        probe: Probe,
        kind: ProbeKind,
        status: &ContainerStatus,
        host: IpAddr,
        events: &PodEvents,
    ) -> Task {
        let key = (kind, status.id.clone());
        if let Some(initially) = known_before(pod, kind, &status.id).or(kind.initially()) {
            self.verdicts.lock().entry(key).or_insert(initially);
        }
        Task {
            settings: Settings::of(&probe),
            waits_for_startup: kind != ProbeKind::Startup && container.startup_probe.is_some(),
            runtime: self.runtime.clone(),
            clock: self.clock.clone(),
            agent: self.agent.clone(),
            wake: self.wake.clone(),
            verdicts: self.verdicts.clone(),
            events: events.clone(),
            container_id: status.id.clone(),
            started_at: Timestamp::from_nanosecond(status.started_at.into())
                .unwrap_or(Timestamp::UNIX_EPOCH),
            container,
            probe,
            kind,
            host,
        }
    }

    /// What a probe of a container says.
    pub(crate) fn verdict(&self, kind: ProbeKind, container_id: &str) -> Option<bool> {
        self.verdicts.lock().get(&(kind, container_id.to_owned())).copied()
    }

    /// A copy of the verdicts, for planning.
    pub(crate) fn snapshot(&self) -> Snapshot {
        Snapshot(self.verdicts.lock().clone())
    }
}

/// Verdicts of one moment.
pub(crate) struct Snapshot(HashMap<(ProbeKind, String), bool>);

impl Verdicts for Snapshot {
    fn alive(&self, id: &str) -> Option<bool> {
        self.0.get(&(ProbeKind::Liveness, id.to_owned())).copied()
    }

    fn started(&self, id: &str) -> Option<bool> {
        self.0.get(&(ProbeKind::Startup, id.to_owned())).copied()
    }
}

/// The probes that a container has.
fn probes_of(container: &Container) -> Vec<(ProbeKind, Probe)> {
    let all = [
        (ProbeKind::Startup, &container.startup_probe),
        (ProbeKind::Liveness, &container.liveness_probe),
        (ProbeKind::Readiness, &container.readiness_probe),
    ];
    all.into_iter().filter_map(|(kind, probe)| Some((kind, probe.clone()?))).collect()
}

/// A container that ran before this kubelet did keeps what the API knows of it, so that taking
/// over does not take a serving pod out of its services.
fn known_before(pod: &Pod, kind: ProbeKind, id: &str) -> Option<bool> {
    let status = pod.status.as_ref()?;
    let lists = [&status.container_statuses, &status.init_container_statuses];
    let old = lists.into_iter().flatten().flatten().find(|one| {
        one.container_id
            .as_deref()
            .and_then(|full| full.split_once("://"))
            .is_some_and(|(_, own)| own == id)
    })?;
    match kind {
        ProbeKind::Readiness => old.ready.then_some(true),
        ProbeKind::Startup => (old.started == Some(true)).then_some(true),
        ProbeKind::Liveness => None,
    }
}

struct Task {
    runtime: Arc<dyn RuntimeService>,
    clock: SharedClock,
    agent: String,
    wake: Arc<Notify>,
    verdicts: Kept,
    events: PodEvents,
    container: Container,
    container_id: String,
    started_at: Timestamp,
    probe: Probe,
    kind: ProbeKind,
    settings: Settings,
    host: IpAddr,
    waits_for_startup: bool,
}

impl Task {
    async fn run(self) {
        let mut state = ProbeState::new(self.kind);
        if self.kind == ProbeKind::Startup && self.is(ProbeKind::Startup) == Some(true) {
            return;
        }
        let since = self.clock.now().duration_since(self.started_at);
        let since = Duration::try_from(since).unwrap_or_default();
        tokio::time::sleep(self.settings.initial_delay.saturating_sub(since)).await;
        let mut ticks = tokio::time::interval(self.settings.period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if self.waits_for_startup && self.is(ProbeKind::Startup) != Some(true) {
                continue;
            }
            let outcome = self.ask().await;
            self.tell(&outcome);
            let success = match outcome {
                Outcome::Success | Outcome::Warning(_) => true,
                Outcome::Failure(_) => false,
                Outcome::Error(_) => continue,
            };
            if let Some(verdict) = state.observe(success, &self.settings) {
                let key = (self.kind, self.container_id.clone());
                let before = self.verdicts.lock().insert(key, verdict);
                if before != Some(verdict) {
                    self.wake.notify_one();
                }
            }
            if state.is_held() {
                return;
            }
        }
    }

    fn is(&self, kind: ProbeKind) -> Option<bool> {
        self.verdicts.lock().get(&(kind, self.container_id.clone())).copied()
    }

    fn tell(&self, outcome: &Outcome) {
        let label = self.kind.label();
        let (reason, text) = match outcome {
            Outcome::Success => return,
            Outcome::Warning(text) => ("ProbeWarning", format!("{label} probe warning: {text}")),
            Outcome::Failure(text) => ("Unhealthy", format!("{label} probe failed: {text}")),
            Outcome::Error(text) => (
                "Unhealthy",
                format!("{label} probe errored and resulted in unknown state: {text}"),
            ),
        };
        self.events.container_warning(&self.container.name, reason, text);
    }

    async fn ask(&self) -> Outcome {
        let mut outcome = self.ask_once().await;
        for _ in 1..TRIES {
            if !matches!(outcome, Outcome::Error(_)) {
                break;
            }
            outcome = self.ask_once().await;
        }
        outcome
    }

    async fn ask_once(&self) -> Outcome {
        let timeout = self.settings.timeout;
        if let Some(action) = &self.probe.exec {
            let command = action.command.clone().unwrap_or_default();
            return exec::probe(&*self.runtime, &self.container_id, &command, timeout).await;
        }
        if let Some(action) = &self.probe.http_get {
            return match address(&self.container, self.host, action.host.as_deref(), &action.port) {
                Ok(address) => {
                    http::probe(&http::Target::of(action, address, &self.agent), timeout).await
                }
                Err(error) => Outcome::Error(error),
            };
        }
        if let Some(action) = &self.probe.tcp_socket {
            return match address(&self.container, self.host, action.host.as_deref(), &action.port) {
                Ok(address) => tcp::probe(address, timeout).await,
                Err(error) => Outcome::Error(error),
            };
        }
        if let Some(action) = &self.probe.grpc {
            let service = action.service.clone().unwrap_or_default();
            let port = u16::try_from(action.port).unwrap_or_default();
            return grpc::probe(SocketAddr::new(self.host, port), &service, &self.agent, timeout)
                .await;
        }
        Outcome::Error("missing probe handler".to_owned())
    }
}

/// The address of an action: its own host, or the pod's, and a port by number or name.
pub(crate) fn address(
    container: &Container,
    pod_host: IpAddr,
    host: Option<&str>,
    port: &IntOrString,
) -> Result<SocketAddr, String> {
    let host = match host.filter(|host| !host.is_empty()) {
        Some("localhost") => IpAddr::from([127, 0, 0, 1]),
        Some(host) => host.parse().map_err(|_| format!("host {host:?} is not an address"))?,
        None => pod_host,
    };
    let number = match port {
        IntOrString::Int(number) => *number,
        IntOrString::String(name) => {
            match container.ports.iter().flatten().find(|one| one.name.as_ref() == Some(name)) {
                Some(port) => port.container_port,
                None => name.parse().map_err(|_| {
                    format!("couldn't find port: {name:?} in pod container {:?}", container.name)
                })?,
            }
        }
    };
    u16::try_from(number)
        .ok()
        .filter(|port| *port > 0)
        .map(|port| SocketAddr::new(host, port))
        .ok_or_else(|| format!("invalid port number: {number}"))
}

/// The grace that a failed probe gives its container, if it gives one of its own.
pub(crate) fn probe_grace(container: &Container, startup: bool) -> Option<i64> {
    let probe = if startup { &container.startup_probe } else { &container.liveness_probe };
    probe.as_ref()?.termination_grace_period_seconds
}
