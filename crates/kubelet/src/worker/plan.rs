//! What has to be done for a pod to be as it should: pure, from the pod and what runs.
//!
//! The rules are upstream's (`computePodActions`, `computeInitContainerActions`): a changed sandbox
//! starts everything anew; init containers run one by one, sidecars stay beside them; app
//! containers start together and are judged by hash, probes and the restart policy.

use container_runtime::{ContainerState, ContainerStatus, PodSandboxState};
use k8s_openapi::api::core::v1::{Container, Pod};

use super::resize::{self, Need, Update};
use super::view::PodView;
use crate::allocation::Resources;
use crate::config::labels;
use crate::pod::{self, ContainerKind};

/// What probes say about running containers, by container id. `None`: nothing yet.
pub(crate) trait Verdicts {
    /// Whether the container lives.
    fn alive(&self, container_id: &str) -> Option<bool>;
    /// Whether the container has started.
    fn started(&self, container_id: &str) -> Option<bool>;
}

/// Why a running container is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum KillReason {
    /// Its definition changed.
    Changed,
    /// Its resources changed, and it must be started anew for that.
    Resized,
    /// Its liveness probe failed.
    Liveness,
    /// Its startup probe failed.
    Startup,
    /// The runtime cannot tell its state.
    Unknown,
}

/// A running container to be stopped while its pod goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Kill {
    /// The container.
    pub(crate) id: String,
    /// Its name in the pod.
    pub(crate) name: String,
    /// Why.
    pub(crate) reason: KillReason,
    /// What the event says.
    pub(crate) message: String,
}

/// What to do now. Empty when the pod is as it should be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Stop what runs, and the sandbox.
    pub(crate) kill_pod: bool,
    /// Make a sandbox, for the given time.
    pub(crate) create_sandbox: Option<u32>,
    /// Stop these first.
    pub(crate) kill: Vec<Kill>,
    /// Change the resources of these while they run.
    pub(crate) resize: Vec<Update>,
    /// Start these, in order, by name.
    pub(crate) start: Vec<String>,
}

/// The plan for a pod that shall run. `in_force`: the resources with which it runs now.
pub(crate) fn plan(
    pod: &Pod,
    view: &PodView,
    verdicts: &dyn Verdicts,
    in_force: &Resources,
) -> Plan {
    let (changed, attempt) = sandbox_changed(pod, view);
    if changed {
        return plan_anew(pod, view, attempt);
    }
    let mut plan = Plan::default();
    let containers = pod::containers(pod);
    for (_, container) in containers.iter().filter(|(kind, _)| *kind == ContainerKind::Ephemeral) {
        if view.latest(&container.name).is_none() {
            plan.start.push(container.name.clone());
        }
    }
    if !plan_init(pod, view, verdicts, in_force, &mut plan) {
        return plan;
    }
    let mut keep = 0;
    for (_, container) in containers.iter().filter(|(kind, _)| *kind == ContainerKind::App) {
        keep += usize::from(plan_app(pod, container, view, verdicts, in_force, &mut plan));
    }
    let starts_app = pod::spec(pod).containers.iter().any(|one| plan.start.contains(&one.name));
    if keep == 0 && !starts_app {
        // Every app container has ended for good: sidecars have nothing left to serve.
        return Plan { kill_pod: true, ..Plan::default() };
    }
    plan
}

/// Whether the sandbox must be made anew, and for which time. (`podSandboxChanged`)
fn sandbox_changed(pod: &Pod, view: &PodView) -> (bool, u32) {
    let Some(newest) = view.sandboxes.first() else { return (true, 0) };
    let next = newest.metadata.attempt + 1;
    let ready = view.sandboxes.iter().filter(|one| one.state == PodSandboxState::Ready).count();
    if ready > 1 || newest.state != PodSandboxState::Ready {
        return (true, next);
    }
    let on_node = newest.linux.namespaces.network == container_runtime::NamespaceMode::Node;
    if on_node != pod::is_host_network(pod) {
        return (true, next);
    }
    let no_address = !on_node && view.ips().is_empty();
    (no_address, next)
}

fn plan_anew(pod: &Pod, view: &PodView, attempt: u32) -> Plan {
    let policy = pod::restart_policy(pod);
    let mut plan = Plan { kill_pod: true, ..Plan::default() };
    // A pod that has run and may not run again only loses what is left of it.
    if policy == "Never" && attempt != 0 && !view.containers.is_empty() {
        return plan;
    }
    let done = |container: &Container| {
        policy == "OnFailure"
            && view.latest(&container.name).is_some_and(|latest| {
                latest.state == ContainerState::Exited && latest.exit_code == 0
            })
    };
    let spec = pod::spec(pod);
    let start: Vec<String> =
        spec.containers.iter().filter(|one| !done(one)).map(|one| one.name.clone()).collect();
    if start.is_empty() {
        return plan;
    }
    plan.create_sandbox = Some(attempt);
    // Without a sandbox everything starts from the beginning, the init containers too.
    plan.start = match spec.init_containers.as_deref().unwrap_or_default().first() {
        Some(first) => vec![first.name.clone()],
        None => start,
    };
    plan
}

/// Plans the init phase; whether it is over.
fn plan_init(
    pod: &Pod,
    view: &PodView,
    verdicts: &dyn Verdicts,
    in_force: &Resources,
    plan: &mut Plan,
) -> bool {
    let spec = pod::spec(pod);
    let all = spec.init_containers.as_deref().unwrap_or_default();
    if all.is_empty() {
        return true;
    }
    // Once an app container was made, the init phase was over, whatever is still known of it.
    let over = spec.containers.iter().any(|one| view.latest(&one.name).is_some());
    let never = pod::restart_policy(pod) == "Never";
    let mut step =
        InitStep { pod, in_force, verdicts, never, passed: over, over, start: Vec::new(), plan };
    // Backwards: of containers that ended long ago the runtime may have forgotten the first ones.
    for (index, container) in all.iter().enumerate().rev() {
        match view.latest(&container.name) {
            Some(latest) => step.judge(index, index + 1 == all.len(), container, latest),
            None if step.passed && pod::is_sidecar(container) => step.start.push(index),
            None => {}
        }
        if step.plan.kill_pod {
            return false;
        }
    }
    if !step.passed {
        step.start.push(0);
    }
    let InitStep { over, mut start, plan, .. } = step;
    start.sort_unstable();
    start.dedup();
    let names = start.into_iter().filter_map(|index| all.get(index)).map(|one| one.name.clone());
    plan.start.extend(names);
    over
}

struct InitStep<'a> {
    pod: &'a Pod,
    in_force: &'a Resources,
    verdicts: &'a dyn Verdicts,
    /// Whether a failed init container ends the pod.
    never: bool,
    /// Whether a later init container was made already: those before it were through.
    passed: bool,
    /// Whether app containers may run.
    over: bool,
    start: Vec<usize>,
    plan: &'a mut Plan,
}

impl InitStep<'_> {
    /// Judges one init container that was made before, the last ones first.
    fn judge(&mut self, index: usize, last: bool, container: &Container, latest: &ContainerStatus) {
        let decides = !std::mem::replace(&mut self.passed, true);
        if pod::is_sidecar(container) {
            self.judge_sidecar(index, last, decides, container, latest);
            return;
        }
        if !decides {
            return;
        }
        match latest.state {
            ContainerState::Created => self.start.push(index),
            ContainerState::Running => self.size(index, container, latest),
            ContainerState::Exited if latest.exit_code == 0 && latest.reason != "OOMKilled" => {
                self.go_on(index, last);
            }
            ContainerState::Exited | ContainerState::Unknown => {
                if latest.state == ContainerState::Unknown {
                    self.kill(container, latest, KillReason::Unknown, "is in unknown state");
                }
                self.plan.kill_pod = self.never;
                self.start.push(index);
            }
        }
    }

    fn judge_sidecar(
        &mut self,
        index: usize,
        last: bool,
        decides: bool,
        container: &Container,
        latest: &ContainerStatus,
    ) {
        match latest.state {
            ContainerState::Running => {}
            ContainerState::Unknown => {
                self.kill(container, latest, KillReason::Unknown, "is in unknown state");
                self.start.push(index);
                return;
            }
            ContainerState::Created | ContainerState::Exited => {
                self.start.push(index);
                return;
            }
        }
        if container.startup_probe.is_some() {
            match self.verdicts.started(&latest.id) {
                None => return,
                Some(false) => {
                    self.kill(container, latest, KillReason::Startup, "failed startup probe");
                    self.start.push(index);
                    return;
                }
                Some(true) => {}
            }
        }
        if decides {
            self.go_on(index, last);
        }
        if container.liveness_probe.is_some() && self.verdicts.alive(&latest.id) == Some(false) {
            self.kill(container, latest, KillReason::Liveness, "failed liveness probe");
            self.start.push(index);
            return;
        }
        self.size(index, container, latest);
    }

    /// A running one gets the resources that it was given.
    fn size(&mut self, index: usize, container: &Container, latest: &ContainerStatus) {
        match resize::need(self.pod, container, &latest.id, self.in_force) {
            Need::Nothing => {}
            Need::Update(update) => self.plan.resize.push(update),
            Need::Restart => {
                self.plan.kill.push(Kill {
                    id: latest.id.clone(),
                    name: container.name.clone(),
                    reason: KillReason::Resized,
                    message: format!("Container {} resize requires restart", container.name),
                });
                self.start.push(index);
            }
        }
    }

    fn go_on(&mut self, index: usize, last: bool) {
        if last {
            self.over = true;
        } else {
            self.start.push(index + 1);
        }
    }

    fn kill(
        &mut self,
        container: &Container,
        latest: &ContainerStatus,
        reason: KillReason,
        why: &str,
    ) {
        self.plan.kill.push(Kill {
            id: latest.id.clone(),
            name: container.name.clone(),
            reason,
            message: format!("Init container {} {why}", container.name),
        });
    }
}

/// Plans one app container; whether it goes on as it is.
fn plan_app(
    pod: &Pod,
    container: &Container,
    view: &PodView,
    verdicts: &dyn Verdicts,
    in_force: &Resources,
    plan: &mut Plan,
) -> bool {
    let restarts = pod::restart_policy(pod) != "Never";
    let name = &container.name;
    let Some(latest) = view.latest(name) else {
        plan.start.push(name.clone());
        return false;
    };
    if latest.state != ContainerState::Running {
        if should_restart(pod, container, view) {
            if latest.state == ContainerState::Unknown {
                let message =
                    format!("Container {name} is in unknown state, try killing it before restart");
                plan.kill.push(Kill {
                    id: latest.id.clone(),
                    name: name.clone(),
                    reason: KillReason::Unknown,
                    message,
                });
            }
            plan.start.push(name.clone());
        }
        return false;
    }
    let hash = latest.annotations.get(labels::HASH);
    let (why, reason, again) = if hash.is_some_and(|hash| *hash != pod::container_hash(container)) {
        ("definition changed", KillReason::Changed, true)
    } else if verdicts.alive(&latest.id) == Some(false) {
        ("failed liveness probe", KillReason::Liveness, restarts)
    } else if verdicts.started(&latest.id) == Some(false) {
        ("failed startup probe", KillReason::Startup, restarts)
    } else {
        match resize::need(pod, container, &latest.id, in_force) {
            Need::Restart => ("resize requires restart", KillReason::Resized, true),
            Need::Update(update) => {
                plan.resize.push(update);
                return true;
            }
            Need::Nothing => return true,
        }
    };
    let mut message = format!("Container {name} {why}");
    if again {
        if reason != KillReason::Resized {
            message.push_str(", will be restarted");
        }
        plan.start.push(name.clone());
    }
    plan.kill.push(Kill { id: latest.id.clone(), name: name.clone(), reason, message });
    false
}

/// Whether a container that does not run shall run again. (`ShouldContainerBeRestarted`)
pub(crate) fn should_restart(pod: &Pod, container: &Container, view: &PodView) -> bool {
    if pod::is_deleting(pod) {
        return false;
    }
    let Some(latest) = view.latest(&container.name) else { return true };
    match (latest.state, pod::restart_policy(pod)) {
        (ContainerState::Running, _) => false,
        // Made, not started: the start failed on the way.
        (ContainerState::Unknown | ContainerState::Created, _) => true,
        _ if pod::is_sidecar(container) => true,
        (_, "Never") => false,
        (_, "OnFailure") => latest.exit_code != 0,
        _ => true,
    }
}

#[cfg(test)]
#[path = "plan_tests.rs"]
mod tests;
