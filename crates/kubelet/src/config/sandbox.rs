//! What the runtime is asked for to make a pod's sandbox.

use std::path::Path;

use container_runtime::{
    DnsConfig, LinuxPodSandboxConfig, LinuxSandboxSecurityContext, PodSandboxConfig,
    PodSandboxMetadata, PortMapping, Protocol, SecurityProfile,
};
use k8s_openapi::api::core::v1::Pod;

use super::{hosts, labels, resources, security};
use crate::pod;

/// The folder of a pod's logs: `NS_NAME_UID`.
pub(crate) fn log_folder(pod: &pod::PodRef) -> String {
    format!("{}_{}_{}", pod.namespace, pod.name, pod.uid)
}

/// The sandbox of a pod, made for the `attempt`th time.
pub(crate) fn sandbox_config(
    pod: &Pod,
    attempt: u32,
    dns: DnsConfig,
    cluster_domain: &str,
    log_root: &Path,
) -> Result<PodSandboxConfig, String> {
    let identity = pod::PodRef::of(pod);
    let hostname = if pod::is_host_network(pod) {
        String::new()
    } else {
        hosts::host_name(pod, cluster_domain)?.kernel
    };
    Ok(PodSandboxConfig {
        metadata: PodSandboxMetadata {
            name: identity.name.clone(),
            uid: identity.uid.clone(),
            namespace: identity.namespace.clone(),
            attempt,
        },
        hostname,
        log_directory: log_root.join(log_folder(&identity)).to_string_lossy().into_owned(),
        dns_config: Some(dns),
        port_mappings: port_mappings(pod),
        labels: labels::sandbox_labels(pod),
        annotations: labels::sandbox_annotations(pod),
        linux: linux(pod),
    })
}

fn linux(pod: &Pod) -> LinuxPodSandboxConfig {
    let spec = pod::spec(pod);
    let own = spec.security_context.clone().unwrap_or_default();
    let mut groups = own.supplemental_groups.clone().unwrap_or_default();
    groups.extend(own.fs_group.filter(|group| !groups.contains(group)));
    let privileged = pod::containers(pod).iter().any(|(_, container)| {
        container.security_context.as_ref().is_some_and(|own| own.privileged == Some(true))
    });
    let sysctls = own.sysctls.iter().flatten();
    LinuxPodSandboxConfig {
        cgroup_parent: resources::cgroup_parent(pod),
        security_context: LinuxSandboxSecurityContext {
            namespace_options: security::namespaces(pod, None),
            selinux_options: own.se_linux_options.as_ref().map(security::selinux),
            run_as_user: own.run_as_user.filter(|_| !pod::is_host_network(pod)),
            run_as_group: own.run_as_group.filter(|_| !pod::is_host_network(pod)),
            readonly_rootfs: false,
            supplemental_groups: groups,
            privileged,
            // The sandbox itself is always confined: it runs nothing of the user's.
            seccomp: Some(SecurityProfile::default()),
            apparmor: None,
        },
        sysctls: sysctls.map(|one| (one.name.replace('/', "."), one.value.clone())).collect(),
        overhead: None,
        resources: Some(resources::of_pod(pod)),
    }
}

/// The host ports that the pod's containers and sidecars ask for.
pub(crate) fn port_mappings(pod: &Pod) -> Vec<PortMapping> {
    if pod::is_host_network(pod) {
        return Vec::new();
    }
    let containers = pod::containers(pod);
    let ports = containers.iter().flat_map(|(_, container)| container.ports.iter().flatten());
    ports
        .filter_map(|port| {
            let host_port = u16::try_from(port.host_port?).ok().filter(|port| *port > 0)?;
            Some(PortMapping {
                protocol: match port.protocol.as_deref() {
                    Some("UDP") => Protocol::Udp,
                    Some("SCTP") => Protocol::Sctp,
                    _ => Protocol::Tcp,
                },
                container_port: u16::try_from(port.container_port).ok()?,
                host_port,
                host_ip: port.host_ip.clone().unwrap_or_default(),
            })
        })
        .collect()
}
