//! A pod's status: generated purely from what is known, then written when it differs.

pub(crate) mod conditions;
pub(crate) mod containers;
pub(crate) mod manager;
pub(crate) mod patch;
pub(crate) mod phase;
pub(crate) mod resize;

use std::collections::BTreeMap;

use api::pod_resources::{Amounts, limits, requests};
use base::clock::Timestamp;
use k8s_openapi::api::core::v1::{HostIP, PodIP, PodStatus, ResourceRequirements};
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

use crate::pod;

/// Why a pod ended before its containers did, or was never let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// `DeadlineExceeded`, `NodePorts`, `Evicted` …
    pub(crate) reason: String,
    /// What a person can read about it.
    pub(crate) message: String,
}

/// The status of a pod.
pub(crate) fn generate(
    inputs: &containers::Inputs<'_>,
    failed: Option<&Verdict>,
    host_ips: &[String],
    now: Timestamp,
) -> PodStatus {
    let pod = inputs.pod;
    // Whole seconds, so that what we wrote and what we read again are equal.
    let now = Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    let old = pod.status.clone().unwrap_or_default();
    let three = containers::container_statuses(inputs);
    let mut phase = phase::phase(pod, &three, inputs.finished).to_owned();
    if failed.is_some() {
        phase = "Failed".to_owned();
    } else if pod::is_terminal(pod) {
        // An end is an end.
        phase = pod::phase(pod).to_owned();
    }
    let on_node = pod::is_host_network(pod);
    let ips = match inputs.view.ips() {
        ips if !ips.is_empty() => ips,
        _ if on_node && inputs.view.ready_sandbox().is_some() => host_ips.to_vec(),
        // A pod that has ended keeps the address that it had.
        _ => old.pod_ips.iter().flatten().map(|one| one.ip.clone()).collect(),
    };
    let network = inputs.view.ready_sandbox().is_some() && !ips.is_empty();
    let mut own = conditions::conditions(pod, &three, &phase, network, &now);
    if !matches!(phase.as_str(), "Succeeded" | "Failed") {
        own.extend(inputs.resizing.conditions().cloned());
    }
    let mut held = pod.clone();
    if phase == "Running" {
        inputs.in_force.put_into(&mut held);
    }
    let (spec, held) = (pod::spec(pod), pod::spec(&held));
    let resources = ResourceRequirements {
        requests: amounts(requests(&held)),
        limits: amounts(limits(&held)),
        claims: None,
    };
    let [init, app, ephemeral] = three;
    PodStatus {
        phase: Some(phase),
        reason: failed.map(|why| why.reason.clone()).or(old.reason),
        message: failed.map(|why| why.message.clone()).or(old.message),
        conditions: Some(own),
        host_ip: host_ips.first().cloned(),
        host_ips: list(host_ips.iter().map(|ip| HostIP { ip: ip.clone() }).collect()),
        pod_ip: ips.first().cloned(),
        pod_ips: list(ips.iter().map(|ip| PodIP { ip: ip.clone() }).collect()),
        qos_class: Some(pod::qos_class(pod)),
        start_time: old.start_time.or(Some(now)),
        init_container_statuses: list(init),
        container_statuses: list(app),
        ephemeral_container_statuses: list(ephemeral),
        observed_generation: pod.metadata.generation,
        allocated_resources: amounts(requests(&spec)),
        resources: Some(resources),
        ..PodStatus::default()
    }
}

fn amounts(all: Amounts) -> Option<BTreeMap<String, Quantity>> {
    let all: BTreeMap<_, _> =
        all.into_iter().map(|(name, amount)| (name, Quantity(amount.to_string()))).collect();
    (!all.is_empty()).then_some(all)
}

/// An empty list is no list.
fn list<T>(all: Vec<T>) -> Option<Vec<T>> {
    (!all.is_empty()).then_some(all)
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
