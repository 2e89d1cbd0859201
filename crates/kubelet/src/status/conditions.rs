//! A pod's conditions. Pure; upstream's `pkg/kubelet/status/generate.go`.

use k8s_openapi::api::core::v1::{ContainerStatus, Pod, PodCondition};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use super::containers::Three;
use super::phase::any_app_started;
use crate::pod;

/// The conditions that the kubelet writes; all others are someone else's.
pub(crate) const OWN: [&str; 7] = [
    "PodReadyToStartContainers",
    "Initialized",
    "Ready",
    "ContainersReady",
    "PodScheduled",
    "PodResizePending",
    "PodResizeInProgress",
];

/// A condition's state: holds, or does not for a reason.
struct Verdict {
    holds: bool,
    reason: &'static str,
    message: String,
}

impl Verdict {
    fn yes() -> Self {
        Self { holds: true, reason: "", message: String::new() }
    }

    fn no(reason: &'static str, message: String) -> Self {
        Self { holds: false, reason, message }
    }
}

/// All own conditions of a pod. `network`: whether its sandbox is ready.
pub(crate) fn conditions(
    pod: &Pod,
    three: &Three,
    phase: &str,
    network: bool,
    now: &Time,
) -> Vec<PodCondition> {
    let containers = containers_ready(pod, three, phase);
    let ready = if containers.holds {
        gates(pod)
    } else {
        Verdict::no(containers.reason, containers.message.clone())
    };
    let network = if network { Verdict::yes() } else { Verdict::no("", String::new()) };
    [
        ("PodReadyToStartContainers", network),
        ("Initialized", initialized(pod, three, phase)),
        ("Ready", ready),
        ("ContainersReady", containers),
        ("PodScheduled", Verdict::yes()),
    ]
    .into_iter()
    .map(|(name, verdict)| condition(pod, name, verdict, now))
    .collect()
}

/// A condition keeps the time of its last change of status, and someone else's words while the
/// status is the same and we have none.
fn condition(pod: &Pod, name: &str, verdict: Verdict, now: &Time) -> PodCondition {
    let status = if verdict.holds { "True" } else { "False" };
    let old = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    let old = old.and_then(|all| all.iter().find(|one| one.type_ == name));
    let since =
        old.filter(|old| old.status == status).and_then(|old| old.last_transition_time.clone());
    let text = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    PodCondition {
        type_: name.to_owned(),
        status: status.to_owned(),
        reason: text(verdict.reason),
        message: text(&verdict.message),
        last_transition_time: Some(since.unwrap_or_else(|| now.clone())),
        last_probe_time: None,
        observed_generation: pod.metadata.generation,
    }
}

fn find<'a>(statuses: &'a [ContainerStatus], name: &str) -> Option<&'a ContainerStatus> {
    statuses.iter().find(|one| one.name == name)
}

/// `containers with X status: [a b]`, joined.
fn listed(unknown: &[&str], word: &str, others: &[&str]) -> Option<String> {
    let mut parts = Vec::new();
    if !unknown.is_empty() {
        parts.push(format!("containers with unknown status: [{}]", unknown.join(" ")));
    }
    if !others.is_empty() {
        parts.push(format!("containers with {word} status: [{}]", others.join(" ")));
    }
    (!parts.is_empty()).then(|| parts.join(", "))
}

fn containers_ready(pod: &Pod, three: &Three, phase: &str) -> Verdict {
    let spec = pod::spec(pod);
    let sidecars = spec.init_containers.iter().flatten().filter(|one| pod::is_sidecar(one));
    let (mut unknown, mut unready) = (Vec::new(), Vec::new());
    let all = sidecars
        .map(|one| (one, find(&three[0], &one.name)))
        .chain(spec.containers.iter().map(|one| (one, find(&three[1], &one.name))));
    for (container, status) in all {
        match status {
            None => unknown.push(container.name.as_str()),
            Some(status) if !status.ready => unready.push(container.name.as_str()),
            Some(_) => {}
        }
    }
    match phase {
        "Succeeded" if unknown.is_empty() => return Verdict::no("PodCompleted", String::new()),
        "Failed" => return Verdict::no("PodFailed", String::new()),
        _ => {}
    }
    match listed(&unknown, "unready", &unready) {
        Some(message) => Verdict::no("ContainersNotReady", message),
        None => Verdict::yes(),
    }
}

fn gates(pod: &Pod) -> Verdict {
    let spec = pod::spec(pod);
    let known =
        pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    let mut messages = Vec::new();
    for gate in spec.readiness_gates.iter().flatten() {
        let name = &gate.condition_type;
        match known.iter().find(|one| one.type_ == *name) {
            None => messages.push(format!(
                "corresponding condition of pod readiness gate \"{name}\" does not exist."
            )),
            Some(one) if one.status != "True" => messages.push(format!(
                "the status of pod readiness gate \"{name}\" is not \"True\", but {}",
                one.status
            )),
            Some(_) => {}
        }
    }
    if messages.is_empty() {
        Verdict::yes()
    } else {
        Verdict::no("ReadinessGatesNotReady", messages.join(", "))
    }
}

fn initialized(pod: &Pod, three: &Three, phase: &str) -> Verdict {
    let spec = pod::spec(pod);
    let (mut unknown, mut incomplete) = (Vec::new(), Vec::new());
    for container in spec.init_containers.iter().flatten() {
        match find(&three[0], &container.name) {
            None => unknown.push(container.name.as_str()),
            Some(status) => {
                let done = if pod::is_sidecar(container) {
                    status.started == Some(true)
                } else {
                    status.ready
                };
                if !done {
                    incomplete.push(container.name.as_str());
                }
            }
        }
    }
    if phase == "Succeeded" && unknown.is_empty() {
        return Verdict { holds: true, reason: "PodCompleted", message: String::new() };
    }
    if any_app_started(three) {
        return Verdict::yes();
    }
    match listed(&unknown, "incomplete", &incomplete) {
        Some(message) => Verdict::no("ContainersNotInitialized", message),
        None => Verdict::yes(),
    }
}
