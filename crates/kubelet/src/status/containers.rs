//! Container statuses: what the runtime says, in the API's terms.
//!
//! Pure. The rules are upstream's (`convertToAPIContainerStatuses`): the newest container is the
//! state, the one before it the last state; a container that waits to be started again shows why.

use std::collections::BTreeMap;

use base::clock::Timestamp;
use container_runtime::{ContainerState as RuntimeState, ContainerStatus as RuntimeStatus};
use k8s_openapi::api::core::v1::{
    Container, ContainerState, ContainerStateRunning, ContainerStateTerminated,
    ContainerStateWaiting, ContainerStatus, ContainerUser, LinuxContainerUser, Pod,
    ResourceRequirements, VolumeMountStatus,
};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::resize::Resizing;
use crate::allocation::Resources;
use crate::config::{labels, resources};
use crate::pod::{self, ContainerKind};
use crate::quantity;
use crate::worker::plan::should_restart;
use crate::worker::view::PodView;

/// Why a container could not be started just now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Waiting {
    /// One word.
    pub(crate) reason: String,
    /// What a person can read about it.
    pub(crate) message: String,
}

/// What the node knows of a pod's containers beside the runtime.
pub(crate) trait Judgement {
    /// Whether a running container has started, by its startup probe.
    fn started(&self, kind: ContainerKind, container: &Container, status: &RuntimeStatus) -> bool;
    /// Whether a running, started container is ready.
    fn ready(&self, kind: ContainerKind, container: &Container, status: &RuntimeStatus) -> bool;
    /// The last words of a container that ended.
    fn last_words(&self, status: &RuntimeStatus) -> String;
}

/// What statuses are made from.
pub(crate) struct Inputs<'a> {
    /// The pod as it shall be, with the status that the API knows.
    pub(crate) pod: &'a Pod,
    /// What runs.
    pub(crate) view: &'a PodView,
    /// Why containers wait, by name.
    pub(crate) waiting: &'a BTreeMap<String, Waiting>,
    /// Probes and last words.
    pub(crate) judgement: &'a dyn Judgement,
    /// The scheme of container ids, `ferry`.
    pub(crate) runtime_name: &'a str,
    /// Whether the pod will run no more containers.
    pub(crate) finished: bool,
    /// How a change of its resources stands.
    pub(crate) resizing: &'a Resizing,
    /// What it runs with.
    pub(crate) in_force: &'a Resources,
}

/// The statuses of init, app and ephemeral containers.
pub(crate) type Three = [Vec<ContainerStatus>; 3];

/// All container statuses of a pod.
pub(crate) fn container_statuses(inputs: &Inputs<'_>) -> Three {
    let mut three = Three::default();
    let containers = pod::containers(inputs.pod);
    let has_init = containers.iter().any(|(kind, _)| kind.field() == "initContainers");
    for (kind, container) in &containers {
        let slot = match kind {
            ContainerKind::Init | ContainerKind::Sidecar => 0,
            ContainerKind::App => 1,
            ContainerKind::Ephemeral => 2,
        };
        let starting = if has_init { "PodInitializing" } else { "ContainerCreating" };
        if *kind == ContainerKind::Ephemeral && inputs.view.latest(&container.name).is_none() {
            if let Some(waiting) = inputs.waiting.get(&container.name) {
                let state = waiting_state(&waiting.reason, &waiting.message);
                three[slot].push(blank(container, state));
            }
            continue;
        }
        three[slot].push(one(inputs, *kind, container, starting));
    }
    three
}

fn one(
    inputs: &Inputs<'_>,
    kind: ContainerKind,
    container: &Container,
    starting: &str,
) -> ContainerStatus {
    let old = old_status(inputs.pod, &container.name);
    let mut history = inputs.view.history(&container.name);
    let mut status = match history.next() {
        Some(newest) => from_runtime(inputs, kind, container, newest),
        None => unmade(inputs, container, old, starting),
    };
    if let Some(before) = history.next() {
        status.last_state = Some(state_of(inputs, before, None));
    } else if status.last_state.is_none() {
        status.last_state = remembered_last_state(&status, old);
    }
    let done_init = kind == ContainerKind::Init
        && status
            .state
            .as_ref()
            .and_then(|state| state.terminated.as_ref())
            .is_some_and(|end| end.exit_code == 0);
    if let Some(waiting) = inputs.waiting.get(&container.name)
        && !done_init
        && !inputs.finished
        && should_restart(inputs.pod, container, inputs.view)
    {
        if let Some(state) = status.state.take().filter(|state| state.terminated.is_some()) {
            status.last_state = Some(state);
        }
        status.state = Some(waiting_state(&waiting.reason, &waiting.message));
        status.started = Some(false);
        status.ready = false;
    }
    status
}

fn old_status<'a>(pod: &'a Pod, name: &str) -> Option<&'a ContainerStatus> {
    let status = pod.status.as_ref()?;
    let lists = [
        &status.container_statuses,
        &status.init_container_statuses,
        &status.ephemeral_container_statuses,
    ];
    lists.into_iter().flatten().flatten().find(|one| one.name == name)
}

/// The runtime forgets dead containers before the API does.
fn remembered_last_state(
    now: &ContainerStatus,
    old: Option<&ContainerStatus>,
) -> Option<ContainerState> {
    let old = old?;
    if now.container_id == old.container_id {
        return old.last_state.clone();
    }
    old.state.clone().filter(|state| state.terminated.is_some()).or_else(|| old.last_state.clone())
}

fn blank(container: &Container, state: ContainerState) -> ContainerStatus {
    ContainerStatus {
        name: container.name.clone(),
        image: container.image.clone().unwrap_or_default(),
        image_id: String::new(),
        ready: false,
        restart_count: 0,
        started: Some(false),
        state: Some(state),
        last_state: Some(ContainerState::default()),
        volume_mounts: mounts(container),
        ..ContainerStatus::default()
    }
}

/// A container that the runtime does not know: it was not made yet, or was lost.
fn unmade(
    inputs: &Inputs<'_>,
    container: &Container,
    old: Option<&ContainerStatus>,
    starting: &str,
) -> ContainerStatus {
    let mut status = blank(container, waiting_state(starting, ""));
    let Some(old) = old else { return status };
    status.restart_count = old.restart_count;
    let old_state = old.state.clone().unwrap_or_default();
    if old_state.terminated.is_some() {
        // It ended, and its remains were collected: the API is what remembers it.
        return old.clone();
    }
    if let Some(running) = old_state.running {
        let what = if inputs.finished { "terminated" } else { "deleted" };
        let end = ContainerStateTerminated {
            exit_code: 137,
            reason: Some("ContainerStatusUnknown".to_owned()),
            message: Some(format!(
                "The container could not be located when the pod was {what}.  The container used to be Running"
            )),
            started_at: running.started_at,
            container_id: old.container_id.clone(),
            ..ContainerStateTerminated::default()
        };
        let state = ContainerState { terminated: Some(end), ..ContainerState::default() };
        if inputs.finished {
            status.state = Some(state);
            status.container_id.clone_from(&old.container_id);
            status.image_id.clone_from(&old.image_id);
        } else {
            status.last_state = Some(state);
            status.restart_count += 1;
        }
    } else {
        status.last_state.clone_from(&old.last_state);
    }
    status
}

fn from_runtime(
    inputs: &Inputs<'_>,
    kind: ContainerKind,
    container: &Container,
    runtime: &RuntimeStatus,
) -> ContainerStatus {
    let old = old_status(inputs.pod, &container.name);
    let state = state_of(inputs, runtime, old);
    let running = runtime.state == RuntimeState::Running;
    let started = running && inputs.judgement.started(kind, container, runtime);
    let ready = match kind {
        ContainerKind::Init => state.terminated.as_ref().is_some_and(|end| end.exit_code == 0),
        ContainerKind::Ephemeral => false,
        _ => started && inputs.judgement.ready(kind, container, runtime),
    };
    let sized = kind != ContainerKind::Ephemeral;
    let image = Some(&runtime.image.user_specified_image).filter(|name| !name.is_empty());
    ContainerStatus {
        name: container.name.clone(),
        image: image.cloned().unwrap_or_else(|| runtime.image.image.clone()),
        image_id: if runtime.image_ref.is_empty() {
            runtime.image_id.clone()
        } else {
            runtime.image_ref.clone()
        },
        container_id: Some(container_id(inputs.runtime_name, &runtime.id)),
        restart_count: i32::try_from(labels::restarts(runtime)).unwrap_or(i32::MAX),
        state: Some(state),
        last_state: None,
        started: Some(started),
        ready,
        allocated_resources: container.resources.as_ref().and_then(|own| own.requests.clone()),
        resources: sized.then(|| in_force(container, runtime)),
        user: runtime.user.as_ref().map(|user| ContainerUser {
            linux: Some(LinuxContainerUser {
                uid: user.linux.uid,
                gid: user.linux.gid,
                supplemental_groups: Some(user.linux.supplemental_groups.clone()),
            }),
        }),
        volume_mounts: mounts(container),
        stop_signal: Some(runtime.stop_signal.clone()).filter(|signal| !signal.is_empty()),
        ..ContainerStatus::default()
    }
}

/// The resources that a container has: what it was given, and while it runs, what the runtime holds
/// it to. (`convertContainerStatusResources`)
fn in_force(container: &Container, runtime: &RuntimeStatus) -> ResourceRequirements {
    let own = container.resources.clone().unwrap_or_default();
    let mut shown = ResourceRequirements { claims: None, ..own };
    let held = runtime.resources.as_ref().map(|held| &held.linux);
    let Some(held) = held.filter(|_| runtime.state == RuntimeState::Running) else { return shown };
    // Amounts that the kernel cannot tell apart are shown as they were asked for.
    let milli = |list: &BTreeMap<String, Quantity>| list.get("cpu").and_then(quantity::milli);
    if let Some(limits) = &mut shown.limits {
        let cpu = resources::milli_of_quota(held.cpu_quota, held.cpu_period);
        let asked = milli(limits).unwrap_or_default();
        if cpu > 0 && (cpu > resources::MILLI_LIMIT_MIN || asked > resources::MILLI_LIMIT_MIN) {
            limits.insert("cpu".to_owned(), quantity::of_milli(cpu));
        }
        if held.memory_limit_in_bytes > 0 {
            let memory = quantity::of_bytes(held.memory_limit_in_bytes);
            limits.insert("memory".to_owned(), memory);
        }
    }
    if let Some(requests) = &mut shown.requests {
        let cpu = resources::milli_of_shares(held.cpu_shares);
        let asked = milli(requests).unwrap_or_default();
        if cpu > 0 && (cpu > resources::SHARES_MIN || asked > resources::SHARES_MIN) {
            requests.insert("cpu".to_owned(), quantity::of_milli(cpu));
        }
    }
    shown
}

fn mounts(container: &Container) -> Option<Vec<VolumeMountStatus>> {
    let all: Vec<_> = container
        .volume_mounts
        .iter()
        .flatten()
        .map(|mount| VolumeMountStatus {
            name: mount.name.clone(),
            mount_path: mount.mount_path.clone(),
            read_only: mount.read_only,
            recursive_read_only: mount.read_only.filter(|read_only| *read_only).map(|_| {
                if mount.recursive_read_only.as_deref() == Some("Enabled") {
                    "Enabled"
                } else {
                    "Disabled"
                }
                .to_owned()
            }),
            ..VolumeMountStatus::default()
        })
        .collect();
    (!all.is_empty()).then_some(all)
}

/// `ferry://ID`.
pub(crate) fn container_id(runtime_name: &str, id: &str) -> String {
    format!("{runtime_name}://{id}")
}

fn waiting_state(reason: &str, message: &str) -> ContainerState {
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    let waiting = ContainerStateWaiting { reason: text(reason), message: text(message) };
    ContainerState { waiting: Some(waiting), ..ContainerState::default() }
}

fn state_of(
    inputs: &Inputs<'_>,
    runtime: &RuntimeStatus,
    old: Option<&ContainerStatus>,
) -> ContainerState {
    let id = container_id(inputs.runtime_name, &runtime.id);
    match runtime.state {
        RuntimeState::Running => ContainerState {
            running: Some(ContainerStateRunning { started_at: time(runtime.started_at) }),
            ..ContainerState::default()
        },
        RuntimeState::Exited => {
            // The last words are read once: the file may be gone with the next container.
            let known = old.and_then(|old| {
                [&old.state, &old.last_state].into_iter().flatten().find_map(|state| {
                    state.terminated.clone().filter(|end| end.container_id.as_ref() == Some(&id))
                })
            });
            let words = match &known {
                Some(end) => end.message.clone().unwrap_or_default(),
                None => inputs.judgement.last_words(runtime),
            };
            let reason = match runtime.reason.as_str() {
                "" if runtime.exit_code == 0 => "Completed",
                "" => "Error",
                reason => reason,
            };
            let end = ContainerStateTerminated {
                exit_code: runtime.exit_code,
                reason: Some(reason.to_owned()),
                message: Some(words).filter(|words| !words.is_empty()),
                started_at: time(runtime.started_at),
                finished_at: time(runtime.finished_at),
                container_id: Some(id),
                signal: None,
            };
            ContainerState { terminated: Some(end), ..ContainerState::default() }
        }
        RuntimeState::Created | RuntimeState::Unknown => waiting_state("ContainerCreating", ""),
    }
}

/// The runtime's nanoseconds as the API's time, in whole seconds as the API keeps it.
pub(crate) fn time(nanoseconds: i64) -> Option<Time> {
    if nanoseconds == 0 {
        return None;
    }
    Timestamp::from_second(nanoseconds.div_euclid(1_000_000_000)).ok().map(Time)
}
