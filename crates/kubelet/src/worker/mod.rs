//! One task a pod: looks at what runs, plans, acts, reports; sleeps until something happens.
//!
//! Invariants: level-triggered (a wake-up says "look again", never what changed); planning is pure
//! ([`plan`]); nothing here outlives a pod. When the process ends, workers simply stop: containers
//! go on, and the next kubelet finds them by their labels.

pub(crate) mod backoff;
mod hooks;
mod last_words;
mod listening;
mod observe;
pub(crate) mod plan;
pub(crate) mod resize;
mod start;
pub(crate) mod stop;
pub(crate) mod view;

use std::collections::{BTreeMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use base::clock::Timestamp;
use base::drain::Drain;
use container_runtime::{
    ContainerState, ContainerStatus as RuntimeStatus, LinuxContainerResources,
};
use k8s_openapi::api::core::v1::{Container, Pod, PodStatus};
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use crate::allocation::Standing;
use crate::config::labels;
use crate::context::NodeContext;
use crate::events::PodEvents;
use crate::pod::{self, ContainerKind, PodRef};
use crate::probes::manager::{Probes, probe_grace};
use crate::probes::state::ProbeKind;
use crate::status::containers::{Inputs, Judgement, Waiting};
use crate::status::manager::Reporter;
use crate::status::resize::{News, Resizing};
use crate::status::{self, Verdict};
use crate::volumes::Prepared;
use backoff::Backoff;
use listening::Listening;
use plan::{Kill, KillReason, Plan};
use view::PodView;

/// After this time without any event a worker looks again: a safety net, nothing relies on it.
const RESYNC: Duration = Duration::from_secs(600);
/// The wait after the runtime did not answer.
const RUNTIME_RETRY: Duration = Duration::from_secs(1);

/// What is wanted of a pod.
#[derive(Debug, Clone)]
pub(crate) struct Desired {
    /// The pod as the API has it, or had it.
    pub(crate) pod: Arc<Pod>,
    /// Whether the API no longer has it.
    pub(crate) gone: bool,
    /// Why it must not run on this node.
    pub(crate) rejected: Option<Verdict>,
}

impl Desired {
    /// Whether the pod shall leave the node.
    pub(crate) fn leaves(&self) -> bool {
        self.gone || pod::is_deleting(&self.pod)
    }
}

/// The worker of one pod.
pub(crate) struct Worker {
    node: Arc<NodeContext>,
    id: PodRef,
    desired: watch::Receiver<Desired>,
    wake: Arc<Notify>,
    events: PodEvents,
    probes: Probes,
    listening: Listening,
    backoff: Backoff,
    waiting: BTreeMap<String, Waiting>,
    reporter: Reporter,
    last_status: watch::Sender<Option<PodStatus>>,
    volumes: BTreeMap<String, Prepared>,
    failed: Option<Verdict>,
    /// Whether everything that could run has run, and nothing is left running.
    ended: bool,
    next_wake: Option<Instant>,
    mount_wait: Duration,
    sandbox_wait: Duration,
    last_mount_error: String,
    gate_passed: bool,
    kills_begun: HashSet<String>,
    stopping_since: Option<Instant>,
    /// What the pod was given, as of the last look.
    standing: Standing,
    resizing: Resizing,
    /// The limits of the pod as a whole, as they were set last; none when an earlier kubelet did.
    pod_limits: Option<LinuxContainerResources>,
    /// Containers that were stopped for a resize: they need not wait to be started again.
    restart_at_once: HashSet<String>,
}

/// How others reach a worker.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    /// What is wanted.
    pub(crate) desired: watch::Sender<Desired>,
    /// Told when something happened to the pod's containers.
    pub(crate) wake: Arc<Notify>,
    /// The status that was generated last.
    pub(crate) status: watch::Receiver<Option<PodStatus>>,
}

impl Worker {
    /// A worker, and how to reach it.
    pub(crate) fn new(node: Arc<NodeContext>, desired: Desired) -> (Self, Handle) {
        let id = PodRef::of(&desired.pod);
        let events = PodEvents::new(&node.recorder, &desired.pod);
        let is_static = pod::is_static(&desired.pod);
        let wake = Arc::new(Notify::new());
        let counts = desired.rejected.is_none() && !desired.gone && !pod::is_terminal(&desired.pod);
        node.allocations.enter(&desired.pod, node.pod_dir(&id.uid), wake.clone(), counts);
        let resizing = Resizing::of(&desired.pod);
        let (sender, receiver) = watch::channel(desired);
        let (last_status, status) = watch::channel(None);
        let probes =
            Probes::new(node.runtime.clone(), node.clock.clone(), node.probe_agent(), wake.clone());
        // A static pod's status goes to its mirror, which has a UID of its own.
        let writer = node.writer.clone().filter(|_| !is_static);
        let reporter = Reporter::start(id.clone(), node.objects.pods.clone(), writer);
        let handle = Handle { desired: sender, wake: wake.clone(), status };
        let worker = Self {
            node,
            id,
            desired: receiver,
            wake,
            events,
            probes,
            listening: Listening::default(),
            backoff: Backoff::default(),
            waiting: BTreeMap::new(),
            reporter,
            last_status,
            volumes: BTreeMap::new(),
            failed: None,
            ended: false,
            next_wake: None,
            mount_wait: Duration::from_millis(500),
            sandbox_wait: Duration::from_millis(500),
            last_mount_error: String::new(),
            gate_passed: false,
            kills_begun: HashSet::new(),
            stopping_since: None,
            standing: Standing::default(),
            resizing,
            pod_limits: None,
            restart_at_once: HashSet::new(),
        };
        (worker, handle)
    }

    /// Works until the pod is gone, or the process ends.
    pub(crate) async fn run(mut self, drain: Drain) {
        loop {
            let desired = self.desired.borrow_and_update().clone();
            self.next_wake = None;
            if desired.leaves() {
                tokio::select! {
                    () = self.terminate(&desired) => {}
                    () = drain.cancelled() => {}
                }
                return;
            }
            tokio::select! {
                () = self.sync(&desired) => {}
                () = drain.cancelled() => return,
            }
            let until = self.next_wake.unwrap_or_else(|| Instant::now() + RESYNC);
            tokio::select! {
                changed = self.desired.changed() => if changed.is_err() { return },
                () = self.wake.notified() => {}
                () = tokio::time::sleep_until(until) => {}
                () = drain.cancelled() => return,
            }
        }
    }

    /// Asks to be woken after a time, at the latest.
    fn wake_in(&mut self, wait: Duration) {
        let at = Instant::now() + wait;
        self.next_wake = Some(self.next_wake.map_or(at, |next| next.min(at)));
    }

    /// Returns when the pod shall leave.
    fn asked_to_stop(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut desired = self.desired.clone();
        async move {
            if desired.wait_for(Desired::leaves).await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    /// The address at which the pod's containers are asked.
    fn pod_host(&self, pod: &Pod, view: &PodView) -> IpAddr {
        let own = view.ips().first().and_then(|ip| ip.parse().ok());
        let node = self.node.options.node_ips.first().copied();
        let on_node = pod::is_host_network(pod).then_some(()).and(node);
        own.or(on_node).unwrap_or(IpAddr::from([127, 0, 0, 1]))
    }

    /// One look at a pod that shall run.
    async fn sync(&mut self, desired: &Desired) {
        let asked = &desired.pod;
        let node = self.node.clone();
        let now = node.clock.now();
        self.standing = node.allocations.ask(asked, now, &|pod, others| node.judge(pod, others));
        let mut pod = self.with_own_status(asked);
        self.standing.record.given.put_into(&mut pod);
        let view = match observe::observe(&*self.node.runtime, &self.id.uid).await {
            Ok(view) => view,
            Err(error) => {
                tracing::warn!(pod = %self.id, %error, "the runtime did not say how a pod is");
                self.wake_in(RUNTIME_RETRY);
                return;
            }
        };
        self.follow(&pod, &view);
        self.follow_resize(asked, &pod, &view);
        if self.failed.is_none() {
            self.failed = desired.rejected.clone().or_else(|| self.past_deadline(&pod));
        }
        if self.ended || self.failed.is_some() || pod::is_terminal(&pod) {
            return self.end(&pod, &view).await;
        }
        self.report(&pod, &view, false);
        self.collect_dead(&view).await;
        let plan = plan::plan(&pod, &view, &self.probes.snapshot(), &self.standing.record.in_force);
        if plan.kill_pod && plan.create_sandbox.is_none() {
            return self.end(&pod, &view).await;
        }
        if self.act(&pod, &view, plan).await
            && let Ok(view) = observe::observe(&*self.node.runtime, &self.id.uid).await
        {
            self.follow(&pod, &view);
            self.follow_resize(asked, &pod, &view);
            self.report(&pod, &view, false);
        }
    }

    /// Brings the conditions of a resize up to date, and tells what is new.
    fn follow_resize(&mut self, asked: &Pod, pod: &Pod, view: &PodView) {
        let now = self.node.clock.now();
        let mut news = self.resizing.follow(&self.standing, now);
        let under_way = resize::in_progress(pod, view, &self.standing.record.in_force);
        let generation = pod.metadata.generation.unwrap_or_default();
        news.extend(self.resizing.progress(under_way, generation, now));
        for one in news {
            match one {
                News::Pending(why, generation) => self.events.warning(
                    "ResizeDeferred",
                    resize::said("Pod resize Deferred", asked, generation, &why),
                ),
                News::Started(generation) => self.events.normal(
                    "ResizeStarted",
                    resize::said("Pod resize started", pod, generation, ""),
                ),
                News::Completed(generation) => self.events.normal(
                    "ResizeCompleted",
                    resize::said("Pod resize completed", pod, generation, ""),
                ),
            }
        }
    }

    /// The pod with the status that this worker generated last, where the API may lag behind.
    fn with_own_status(&self, pod: &Arc<Pod>) -> Pod {
        let mut pod = Pod::clone(pod);
        let Some(own) = self.last_status.borrow().clone() else { return pod };
        let mut status = own;
        let theirs = pod.status.take().and_then(|status| status.conditions).unwrap_or_default();
        let theirs =
            theirs.into_iter().filter(|one| !status::conditions::OWN.contains(&one.type_.as_str()));
        status.conditions.get_or_insert_default().extend(theirs);
        pod.status = Some(status);
        pod
    }

    /// Does what is planned; whether anything was done.
    async fn act(&mut self, pod: &Pod, view: &PodView, plan: Plan) -> bool {
        let needs_volumes = plan.create_sandbox.is_some() || !plan.start.is_empty();
        for kill in &plan.kill {
            self.kill(pod, view, kill).await;
        }
        let resized = plan.create_sandbox.is_none() && self.resize(pod, view, &plan.resize).await;
        // Also when nothing starts: contents of volumes follow their objects.
        let ready = self.set_up_volumes(pod, view).await;
        if !needs_volumes {
            return resized || !plan.kill.is_empty();
        }
        if !ready {
            return false;
        }
        if let Some(attempt) = plan.create_sandbox {
            if !view.sandboxes.is_empty() {
                self.events.normal(
                    "SandboxChanged",
                    "Pod sandbox changed, it will be killed and re-created.",
                );
                let grace = Duration::from_secs(start::grace_of_spec(pod));
                if !self.stop_once(pod, Instant::now() + grace).await {
                    self.wake_in(RUNTIME_RETRY);
                    return true;
                }
                self.remove_old_sandboxes(view).await;
            }
            if !self.create_sandbox(pod, attempt).await {
                return true;
            }
        }
        self.start_all(pod, &plan.start).await;
        true
    }

    async fn remove_old_sandboxes(&self, view: &PodView) {
        // The containers go with their sandbox, so the newest one stays: its containers are the
        // last states that people ask for.
        for sandbox in view.sandboxes.iter().skip(1) {
            if let Err(error) = self.node.runtime.remove_pod_sandbox(&sandbox.id).await {
                tracing::warn!(pod = %self.id, %error, "an old sandbox was not removed");
            }
        }
    }

    async fn start_all(&mut self, pod: &Pod, names: &[String]) {
        let Ok(view) = observe::observe(&*self.node.runtime, &self.id.uid).await else {
            return self.wake_in(RUNTIME_RETRY);
        };
        let attempt = view.ready_sandbox().map_or(0, |sandbox| sandbox.metadata.attempt);
        let config = match self.sandbox_config(pod, attempt) {
            Ok(config) => config,
            Err(error) => {
                self.events.warning("FailedCreatePodSandBox", error);
                return self.wake_in(RUNTIME_RETRY);
            }
        };
        // Addresses are known now: downward API volumes and status show them.
        self.report(pod, &view, false);
        for name in names {
            let latest = self.desired.borrow().clone();
            if latest.leaves() {
                return;
            }
            match self.start_container(pod, &view, name, &config).await {
                Ok(()) => {
                    self.waiting.remove(name);
                    self.wake_in(Duration::ZERO);
                }
                Err(failure) => {
                    self.waiting.insert(name.clone(), failure.waiting);
                    if let Some(wait) = failure.retry_in {
                        self.wake_in(wait);
                    }
                    // An init container that does not start holds the others back anyway.
                }
            }
        }
    }

    async fn kill(&mut self, pod: &Pod, view: &PodView, kill: &Kill) {
        let container =
            pod::container(pod, &kill.name).map(|(_, container)| container.into_owned());
        let own = container.as_ref().and_then(|container| match kill.reason {
            KillReason::Liveness => probe_grace(container, false),
            KillReason::Startup => probe_grace(container, true),
            KillReason::Changed | KillReason::Resized | KillReason::Unknown => None,
        });
        let grace = own.and_then(|seconds| u64::try_from(seconds).ok());
        let grace = Duration::from_secs(grace.unwrap_or_else(|| start::grace_of_spec(pod)));
        let deadline = Instant::now() + grace;
        let (name, id, why) = (&kill.name, &kill.id, kill.message.clone());
        let asked_to_stop = self.asked_to_stop();
        tokio::select! {
            () = self.kill_container(pod, view, name, id, &why, deadline) => {
                if kill.reason == KillReason::Resized {
                    self.restart_at_once.insert(name.clone());
                }
            }
            // Going away is done by other rules, and begins now.
            () = asked_to_stop => {}
        }
    }

    /// The pod has run all that it will: stops what is left, reports, lets go of the volumes.
    async fn end(&mut self, pod: &Pod, view: &PodView) {
        if self.ended {
            // What ended can still be looked at: its generation moves on, others write to it.
            self.report(pod, view, true);
            return;
        }
        self.report(pod, view, false);
        if !view.is_stopped() {
            let grace = Duration::from_secs(start::grace_of_spec(pod).max(1));
            if !self.stop_once(pod, Instant::now() + grace).await {
                return self.wake_in(RUNTIME_RETRY);
            }
        }
        let Ok(view) = observe::observe(&*self.node.runtime, &self.id.uid).await else {
            return self.wake_in(RUNTIME_RETRY);
        };
        self.report(pod, &view, true);
        self.follow(pod, &view);
        self.remove_volumes().await;
        self.node.tokens.forget(&self.id.uid);
        self.ended = true;
    }

    /// Of each container the newest dead one is kept, for its last state and its log.
    async fn collect_dead(&self, view: &PodView) {
        let mut seen = HashSet::new();
        for status in view.containers.iter().filter(|one| one.state == ContainerState::Exited) {
            if seen.insert(labels::container_name(status).to_owned()) {
                continue;
            }
            match self.node.runtime.remove_container(&status.id).await {
                Ok(()) => crate::logs::remove(std::path::Path::new(&status.log_path)),
                Err(error) => {
                    tracing::debug!(pod = %self.id, %error, "a dead container was not removed");
                }
            }
        }
    }

    /// `activeDeadlineSeconds`, counted from the pod's start on this node.
    fn past_deadline(&mut self, pod: &Pod) -> Option<Verdict> {
        let seconds = pod.spec.as_ref()?.active_deadline_seconds?;
        let start = pod.status.as_ref()?.start_time.as_ref()?.0;
        let left = seconds - self.node.clock.now().duration_since(start).as_secs();
        if let Ok(left @ 1..) = u64::try_from(left) {
            self.wake_in(Duration::from_secs(left));
            return None;
        }
        let message = "Pod was active on the node longer than the specified deadline";
        self.events.normal("DeadlineExceeded", message);
        Some(Verdict { reason: "DeadlineExceeded".to_owned(), message: message.to_owned() })
    }

    /// Probes and port checks follow what runs.
    fn follow(&mut self, pod: &Pod, view: &PodView) {
        let host = self.pod_host(pod, view);
        self.events = PodEvents::new(&self.node.recorder, pod);
        self.probes.follow(pod, view, host, &self.events, false);
        self.listening.keep(|id| view.containers.iter().any(|one| one.id == id));
        self.kills_begun.retain(|id| view.containers.iter().any(|one| one.id == *id));
        for (kind, container) in pod::containers(pod) {
            let watched = matches!(kind, ContainerKind::App | ContainerKind::Sidecar);
            let running =
                view.latest(&container.name).filter(|one| one.state == ContainerState::Running);
            if let Some(status) = running.filter(|_| watched && container.readiness_probe.is_none())
            {
                let started =
                    Timestamp::from_nanosecond(status.started_at.into()).unwrap_or(Timestamp::MIN);
                let age = Duration::try_from(self.node.clock.now().duration_since(started))
                    .unwrap_or_default();
                self.listening.ask(&container, &status.id, host, age, &self.wake);
            }
        }
    }

    /// Generates the status and hands it to the reporter.
    fn report(&mut self, pod: &Pod, view: &PodView, finished: bool) {
        let judgement = Judge { probes: &self.probes, listening: &self.listening };
        let inputs = Inputs {
            pod,
            view,
            waiting: &self.waiting,
            judgement: &judgement,
            runtime_name: &self.node.runtime_name,
            finished,
            resizing: &self.resizing,
            in_force: &self.standing.record.in_force,
        };
        let status = status::generate(
            &inputs,
            self.failed.as_ref(),
            &self.node.host_ips(),
            self.node.clock.now(),
        );
        if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
            // Before anybody reads of it: who comes in its place must find the room.
            self.resizing.clear();
            self.node.release(&self.id.uid, false);
        }
        let same = self.last_status.borrow().as_ref() == Some(&status);
        self.reporter.report(status.clone());
        if same {
            // Someone else may have written to the object: compare with what it says now.
            self.reporter.again();
        } else {
            self.last_status.send_replace(Some(status));
        }
    }
}

/// Probes and port checks as the status sees them.
struct Judge<'a> {
    probes: &'a Probes,
    listening: &'a Listening,
}

impl Judgement for Judge<'_> {
    fn started(&self, kind: ContainerKind, container: &Container, status: &RuntimeStatus) -> bool {
        match kind {
            ContainerKind::Init | ContainerKind::Ephemeral => false,
            _ if container.startup_probe.is_none() => true,
            _ => self.probes.verdict(ProbeKind::Startup, &status.id) == Some(true),
        }
    }

    fn ready(&self, _kind: ContainerKind, container: &Container, status: &RuntimeStatus) -> bool {
        if container.readiness_probe.is_some() {
            self.probes.verdict(ProbeKind::Readiness, &status.id) == Some(true)
        } else {
            self.listening.is_done(container, &status.id)
        }
    }

    fn last_words(&self, status: &RuntimeStatus) -> String {
        last_words::last_words(status)
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
