//! A pod's phase, from its containers' statuses. Pure; upstream's `getPhase`.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use super::containers::Three;
use crate::pod;

/// What one container counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    Unknown,
    Waiting,
    Running,
    Stopped { success: bool },
}

fn counts(status: Option<&ContainerStatus>) -> Counts {
    let Some(status) = status else { return Counts::Unknown };
    let Some(state) = &status.state else { return Counts::Unknown };
    let last = status.last_state.as_ref().and_then(|last| last.terminated.as_ref());
    if state.running.is_some() {
        Counts::Running
    } else if let Some(end) = &state.terminated {
        Counts::Stopped { success: end.exit_code == 0 }
    } else if state.waiting.is_some() {
        // One that waits for its next run counts by how it ended.
        last.map_or(Counts::Waiting, |_| Counts::Stopped { success: false })
    } else {
        Counts::Unknown
    }
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|one| one.name == name)
}

/// Whether an app container was ever started.
pub(crate) fn any_app_started(three: &Three) -> bool {
    three[1]
        .iter()
        .any(|status| matches!(counts(Some(status)), Counts::Running | Counts::Stopped { .. }))
}

/// The phase. `finished`: no container will be started any more.
pub(crate) fn phase(pod: &Pod, three: &Three, finished: bool) -> &'static str {
    let spec = pod::spec(pod);
    let policy = pod::restart_policy(pod);
    let (mut unknown, mut running, mut waiting, mut stopped, mut succeeded) = (0, 0, 0, 0, 0);
    let (mut initializing, mut init_failed) = (0, 0);
    for container in spec.init_containers.iter().flatten() {
        let status = find(&three[0], &container.name);
        let last_failed = status
            .and_then(|status| status.last_state.as_ref()?.terminated.as_ref())
            .is_some_and(|end| end.exit_code != 0);
        match (counts(status), pod::is_sidecar(container)) {
            (Counts::Running, true) => {
                running += 1;
                let started = status.is_some_and(|status| status.started == Some(true));
                initializing += usize::from(!started);
            }
            // A sidecar that ended says nothing about the pod.
            (Counts::Stopped { .. }, true) => {}
            (Counts::Waiting, true) => {
                initializing += 1;
                waiting += 1;
            }
            (Counts::Unknown, true) => {
                initializing += 1;
                unknown += 1;
            }
            (Counts::Stopped { success: true }, false) => {}
            (Counts::Stopped { .. }, false) => {
                let ended = status.and_then(|status| status.state.as_ref()?.terminated.as_ref());
                if ended.is_some() || last_failed {
                    init_failed += 1;
                } else {
                    initializing += 1;
                }
            }
            (_, false) => initializing += 1,
        }
    }
    for container in &spec.containers {
        match counts(find(&three[1], &container.name)) {
            Counts::Unknown => unknown += 1,
            Counts::Waiting => waiting += 1,
            Counts::Running => running += 1,
            Counts::Stopped { success } => {
                stopped += 1;
                succeeded += usize::from(success);
            }
        }
    }
    if init_failed > 0 && policy == "Never" {
        return "Failed";
    }
    let before_apps = initializing + init_failed > 0 && !any_app_started(three);
    let ended = if stopped == succeeded { "Succeeded" } else { "Failed" };
    if before_apps && finished && init_failed > 0 {
        return "Failed";
    }
    match () {
        () if before_apps || (waiting > 0 && !finished) => "Pending",
        () if running > 0 && unknown == 0 => "Running",
        () if stopped > 0 && unknown == 0 && finished => ended,
        () if stopped > 0 && unknown == 0 => match policy {
            "Always" => "Running",
            "Never" => ended,
            _ if stopped == succeeded => "Succeeded",
            _ => "Running",
        },
        () => "Pending",
    }
}
