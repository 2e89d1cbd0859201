//! Which pods stand behind a Service, on which ports. Pure, but for the watch.

use std::sync::Arc;

use k8s_openapi::api::core::v1::{ContainerPort, ObjectReference, Pod, Service, ServicePort};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use reconcile::{Cache, Event, Key, Queue};

use crate::common::owner::{name, namespace};
use crate::common::{pods, selector};

/// Names the Service that a slice belongs to.
pub(crate) const SERVICE_NAME: &str = "kubernetes.io/service-name";
/// Marks the endpoints of a Service without a cluster IP.
pub(crate) const HEADLESS: &str = "service.kubernetes.io/headless";
/// When the change happened that led to the newest state.
pub(crate) const TRIGGER_TIME: &str = "endpoints.kubernetes.io/last-change-trigger-time";

/// Whether controllers make a Service's endpoints: it has a selector and stands for pods.
pub(crate) fn is_selecting(service: &Service) -> bool {
    service.spec.as_ref().is_some_and(|spec| {
        spec.type_.as_deref() != Some("ExternalName")
            && spec.selector.as_ref().is_some_and(|selector| !selector.is_empty())
    })
}

/// Whether a Service selects a pod.
pub(crate) fn selects(service: &Service, pod: &Pod) -> bool {
    is_selecting(service)
        && service
            .spec
            .as_ref()
            .and_then(|spec| spec.selector.as_ref())
            .is_some_and(|map| selector::map_matches(map, pod.metadata.labels.as_ref()))
}

/// The pods behind a Service, ended ones and those without an address left out.
pub(crate) fn of(service: &Service, pods: &Cache<Pod>) -> Vec<Arc<Pod>> {
    pods.list_in(namespace(&service.metadata))
        .into_iter()
        .filter(|pod| !pods::is_terminal(pod) && address(pod).is_some() && selects(service, pod))
        .collect()
}

/// A pod's first address.
pub(crate) fn address(pod: &Pod) -> Option<&str> {
    pod.status.as_ref()?.pod_ip.as_deref().filter(|ip| !ip.is_empty())
}

/// A pod's address of a family.
pub(crate) fn address_of(pod: &Pod, ipv6: bool) -> Option<&str> {
    let of_family = |ip: &&str| ip.contains(':') == ipv6 && !ip.is_empty();
    let status = pod.status.as_ref()?;
    let all = status.pod_ips.iter().flatten().map(|ip| ip.ip.as_str());
    all.into_iter().find(of_family).or_else(|| status.pod_ip.as_deref().filter(of_family))
}

/// Whether a Service has no cluster IP of its own.
pub(crate) fn is_headless(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.cluster_ip.as_deref()) == Some("None")
}

/// Whether pods that are not ready are published as if they were.
pub(crate) fn publishes_not_ready(service: &Service) -> bool {
    service.spec.as_ref().and_then(|spec| spec.publish_not_ready_addresses).unwrap_or_default()
}

/// The number of the port that a Service's port leads to on a pod.
pub(crate) fn target_port(port: &ServicePort, pod: &Pod) -> Option<i32> {
    match &port.target_port {
        None => Some(port.port),
        Some(IntOrString::Int(0)) => Some(port.port),
        Some(IntOrString::Int(number)) => Some(*number),
        Some(IntOrString::String(wanted)) => {
            let protocol = port.protocol.as_deref().unwrap_or("TCP");
            container_ports(pod)
                .find(|found| {
                    found.name.as_ref() == Some(wanted)
                        && found.protocol.as_deref().unwrap_or("TCP") == protocol
                })
                .map(|found| found.container_port)
        }
    }
}

fn container_ports(pod: &Pod) -> impl Iterator<Item = &ContainerPort> {
    let spec = pod.spec.as_ref();
    let main = spec.into_iter().flat_map(|spec| &spec.containers);
    let sidecars = spec
        .into_iter()
        .flat_map(|spec| spec.init_containers.iter().flatten())
        .filter(|container| container.restart_policy.as_deref() == Some("Always"));
    main.chain(sidecars).flat_map(|container| container.ports.iter().flatten())
}

/// The host name under which a pod is known in a headless Service's zone.
pub(crate) fn hostname(pod: &Pod, service: &Service) -> Option<String> {
    let spec = pod.spec.as_ref()?;
    let in_subdomain = spec.subdomain.as_deref() == Some(name(&service.metadata));
    spec.hostname.clone().filter(|hostname| !hostname.is_empty() && in_subdomain)
}

/// The reference by which an endpoint names its pod.
pub(crate) fn reference(pod: &Pod) -> ObjectReference {
    ObjectReference {
        kind: Some("Pod".to_owned()),
        namespace: pod.metadata.namespace.clone(),
        name: pod.metadata.name.clone(),
        uid: pod.metadata.uid.clone(),
        ..ObjectReference::default()
    }
}

/// The latest moment at which one of the pods, or the Service, became what it is.
pub(crate) fn trigger_time(service: &Service, pods: &[Arc<Pod>]) -> Option<String> {
    let ready = pods.iter().filter_map(|pod| {
        pods::condition(pod, "Ready")?.last_transition_time.as_ref().map(|time| time.0)
    });
    let made = service.metadata.creation_timestamp.as_ref().map(|time| time.0);
    ready.chain(made).max().map(base::clock::rfc3339_seconds)
}

/// Queues the Services that a pod's change concerns.
pub(crate) fn pod_changed(services: &Cache<Service>, event: &Event<Pod>, queue: &Queue) {
    let pod = event.object();
    let relabelled = event.old().filter(|old| old.metadata.labels != pod.metadata.labels);
    if let Some(old) = event.old()
        && relabelled.is_none()
        && look(old) == look(pod)
    {
        return;
    }
    for service in services.list_in(namespace(&pod.metadata)) {
        if selects(&service, pod) || relabelled.is_some_and(|old| selects(&service, old)) {
            queue.add(Key::of(&service.metadata));
        }
    }
}

/// What of a pod shows in its endpoints.
fn look(pod: &Pod) -> impl PartialEq + '_ {
    let spec = pod.spec.as_ref();
    let status = pod.status.as_ref();
    (
        status.and_then(|status| status.pod_ip.as_ref()),
        status.and_then(|status| status.pod_ips.as_ref()),
        pods::is_ready(pod),
        pods::is_terminal(pod),
        pods::is_deleting(pod),
        spec.and_then(|spec| spec.node_name.as_ref()),
        spec.and_then(|spec| spec.hostname.as_ref()),
        spec.and_then(|spec| spec.subdomain.as_ref()),
    )
}
