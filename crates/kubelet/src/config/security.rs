//! Security contexts of pod and container as one, in the runtime's terms.

use container_runtime::{
    Capability, Image, LinuxContainerSecurityContext, NamespaceMode, NamespaceOption,
    SeLinuxOption, SecurityProfile, SecurityProfileType, SupplementalGroupsPolicy,
};
use k8s_openapi::api::core::v1::{
    AppArmorProfile, Container, Pod, PodSecurityContext, SELinuxOptions, SeccompProfile,
    SecurityContext,
};

use crate::pod;

/// What a container must not see of the host, unless `procMount: Unmasked`.
const MASKED: [&str; 12] = [
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
];
const READ_ONLY: [&str; 5] =
    ["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// The namespaces of a pod, or of one of its containers: `target` is the id of the container whose
/// processes it shall see.
pub(crate) fn namespaces(pod: &Pod, target: Option<&str>) -> NamespaceOption {
    let spec = pod::spec(pod);
    let node_or_pod = |on_node: Option<bool>| {
        if on_node == Some(true) { NamespaceMode::Node } else { NamespaceMode::Pod }
    };
    let pid = match target {
        Some(_) => NamespaceMode::Target,
        None if spec.host_pid == Some(true) => NamespaceMode::Node,
        None if spec.share_process_namespace == Some(true) => NamespaceMode::Pod,
        None => NamespaceMode::Container,
    };
    let userns = (spec.host_users == Some(false)).then(|| container_runtime::UserNamespace {
        mode: NamespaceMode::Pod,
        ..container_runtime::UserNamespace::default()
    });
    NamespaceOption {
        network: node_or_pod(spec.host_network),
        pid,
        ipc: node_or_pod(spec.host_ipc),
        target_id: target.unwrap_or_default().to_owned(),
        userns_options: userns,
    }
}

/// The container's whole security context. `image` gives the user when the pod does not.
pub(crate) fn of_container(
    pod: &Pod,
    container: &Container,
    image: Option<&Image>,
    target: Option<&str>,
    seccomp_root: &str,
) -> Result<LinuxContainerSecurityContext, String> {
    let spec = pod::spec(pod);
    let pod_wide = spec.security_context.clone().unwrap_or_default();
    let own = container.security_context.clone().unwrap_or_default();
    let run_as_user = own.run_as_user.or(pod_wide.run_as_user);
    verify_non_root(pod, container, &own, &pod_wide, run_as_user, image)?;
    let unmasked = own.proc_mount.as_deref() == Some("Unmasked");
    let paths = |all: &[&str]| {
        if unmasked { Vec::new() } else { all.iter().map(|path| (*path).to_owned()).collect() }
    };
    let mut groups = pod_wide.supplemental_groups.clone().unwrap_or_default();
    groups.extend(pod_wide.fs_group.filter(|group| !groups.contains(group)));
    let strict = pod_wide.supplemental_groups_policy.as_deref() == Some("Strict");
    let image_user = image.filter(|_| run_as_user.is_none());
    Ok(LinuxContainerSecurityContext {
        capabilities: capabilities(&own),
        privileged: own.privileged == Some(true),
        namespace_options: namespaces(pod, target),
        selinux_options: own
            .se_linux_options
            .as_ref()
            .or(pod_wide.se_linux_options.as_ref())
            .map(selinux),
        run_as_user: run_as_user.or_else(|| image_user.and_then(|image| image.uid)),
        run_as_group: own.run_as_group.or(pod_wide.run_as_group),
        run_as_username: image_user
            .filter(|image| image.uid.is_none())
            .map(|image| image.username.clone())
            .unwrap_or_default(),
        readonly_rootfs: own.read_only_root_filesystem == Some(true),
        supplemental_groups: groups,
        supplemental_groups_policy: if strict {
            SupplementalGroupsPolicy::Strict
        } else {
            SupplementalGroupsPolicy::Merge
        },
        no_new_privs: own.allow_privilege_escalation == Some(false),
        masked_paths: paths(&MASKED),
        readonly_paths: paths(&READ_ONLY),
        seccomp: seccomp(
            own.seccomp_profile.as_ref().or(pod_wide.seccomp_profile.as_ref()),
            seccomp_root,
        ),
        apparmor: apparmor(own.app_armor_profile.as_ref().or(pod_wide.app_armor_profile.as_ref())),
    })
}

fn capabilities(own: &SecurityContext) -> Capability {
    let given = own.capabilities.clone().unwrap_or_default();
    Capability {
        add_capabilities: given.add.unwrap_or_default(),
        drop_capabilities: given.drop.unwrap_or_default(),
        add_ambient_capabilities: Vec::new(),
    }
}

/// A pod's seccomp profile in the runtime's terms. None means unconfined.
pub(crate) fn seccomp(profile: Option<&SeccompProfile>, root: &str) -> Option<SecurityProfile> {
    let profile = profile?;
    let local = profile.localhost_profile.as_deref().unwrap_or_default();
    Some(match profile.type_.as_str() {
        "RuntimeDefault" => SecurityProfile::default(),
        "Localhost" => SecurityProfile {
            profile_type: SecurityProfileType::Localhost,
            localhost_ref: format!("{}/{local}", root.trim_end_matches('/')),
        },
        _ => unconfined(),
    })
}

fn apparmor(profile: Option<&AppArmorProfile>) -> Option<SecurityProfile> {
    let profile = profile?;
    Some(match profile.type_.as_str() {
        "RuntimeDefault" => SecurityProfile::default(),
        "Localhost" => SecurityProfile {
            profile_type: SecurityProfileType::Localhost,
            localhost_ref: profile.localhost_profile.clone().unwrap_or_default(),
        },
        _ => unconfined(),
    })
}

fn unconfined() -> SecurityProfile {
    SecurityProfile { profile_type: SecurityProfileType::Unconfined, localhost_ref: String::new() }
}

/// SELinux options in the runtime's terms.
pub(crate) fn selinux(options: &SELinuxOptions) -> SeLinuxOption {
    let text = |part: &Option<String>| part.clone().unwrap_or_default();
    SeLinuxOption {
        user: text(&options.user),
        role: text(&options.role),
        type_: text(&options.type_),
        level: text(&options.level),
    }
}

/// `runAsNonRoot` is a promise that the kubelet keeps. (kubelet `verifyRunAsNonRoot`)
fn verify_non_root(
    pod: &Pod,
    container: &Container,
    own: &SecurityContext,
    pod_wide: &PodSecurityContext,
    run_as_user: Option<i64>,
    image: Option<&Image>,
) -> Result<(), String> {
    if own.run_as_non_root.or(pod_wide.run_as_non_root) != Some(true) {
        return Ok(());
    }
    let who = format!("(pod: \"{}\", container: {})", pod::PodRef::of(pod), container.name);
    match (run_as_user, image) {
        (Some(0), _) => Err(format!("container's runAsUser breaks non-root policy {who}")),
        (Some(_), _) => Ok(()),
        (None, Some(image)) => match (image.uid, image.username.as_str()) {
            (Some(0), _) | (None, "") => {
                Err(format!("container has runAsNonRoot and image will run as root {who}"))
            }
            (Some(_), _) => Ok(()),
            (None, name) => Err(format!(
                "container has runAsNonRoot and image has non-numeric user ({name}), cannot verify user is non-root {who}"
            )),
        },
        (None, None) => Err(format!("container has runAsNonRoot and image will run as root {who}")),
    }
}

/// Sysctls that cannot harm the node or other pods. (kubelet `sysctl/safe_sysctls.go`)
const SAFE_SYSCTLS: [&str; 14] = [
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
    "net.ipv4.vs.conn_reuse_mode",
    "net.ipv4.tcp_slow_start_after_idle",
];

/// The first sysctl of the pod that this node does not allow, and why.
pub(crate) fn forbidden_sysctl(pod: &Pod) -> Option<String> {
    let spec = pod::spec(pod);
    let sysctls = spec.security_context.as_ref().and_then(|own| own.sysctls.clone())?;
    sysctls.iter().find_map(|sysctl| {
        let name = sysctl.name.replace('/', ".");
        let why = if !SAFE_SYSCTLS.contains(&name.as_str()) {
            "not allowlisted"
        } else if name.starts_with("net.") && spec.host_network == Some(true) {
            "hostNetwork not allowed"
        } else if name.starts_with("kernel.") && spec.host_ipc == Some(true) {
            "hostIPC not allowed"
        } else {
            return None;
        };
        Some(format!("forbidden sysctl: \"{}\" {why}", sysctl.name))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn context(
        pod: serde_json::Value,
        own: serde_json::Value,
        image: Option<Image>,
    ) -> Result<LinuxContainerSecurityContext, String> {
        let pod: Pod = serde_json::from_value(json!({"metadata": {"name": "p", "namespace": "ns", "uid": "u"},
            "spec": {"securityContext": pod, "containers": [{"name": "c", "securityContext": own}]}}))
        .unwrap();
        of_container(&pod, &pod::spec(&pod).containers[0], image.as_ref(), None, "/seccomp")
    }

    #[test]
    fn the_containers_own_wins_over_the_pods() {
        let got = context(
            json!({"runAsUser": 1000, "runAsGroup": 2000, "fsGroup": 3000, "supplementalGroups": [4000]}),
            json!({"runAsUser": 1001, "allowPrivilegeEscalation": false, "procMount": "Unmasked"}),
            Some(Image { uid: Some(7), ..Image::default() }),
        )
        .unwrap();
        assert_eq!((got.run_as_user, got.run_as_group), (Some(1001), Some(2000)));
        assert_eq!(got.supplemental_groups, [4000, 3000]);
        assert!(got.no_new_privs && got.masked_paths.is_empty() && got.seccomp.is_none());
    }

    #[test]
    fn non_root_is_kept() {
        let non_root = json!({"runAsNonRoot": true});
        let image = |uid, username: &str| {
            Some(Image { uid, username: username.into(), ..Image::default() })
        };
        assert!(context(non_root.clone(), json!({}), image(Some(5), "")).is_ok());
        let error = context(non_root.clone(), json!({}), image(None, "")).unwrap_err();
        assert_eq!(
            error,
            "container has runAsNonRoot and image will run as root (pod: \"p_ns(u)\", container: c)"
        );
        assert!(context(non_root.clone(), json!({}), image(None, "nginx")).is_err());
        assert!(context(non_root, json!({"runAsUser": 0}), image(Some(5), "")).is_err());
    }
}
