//! The checks of `baseline`: known ways out of a container.
//!
//! (Kubernetes `k8s.io/pod-security-admission/policy`)

use std::collections::BTreeSet;

use api::Value;
use api::object::{at, int_at, list_at, str_at};

use super::checks::{Subject, Violation, containers, plural, quoted, setters, violation};

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";

/// What runtimes give a container that asks for nothing.
const CAPABILITIES: [&str; 13] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// The sysctls that are a pod's own; the first five are in every release's list, and four, nine, …
/// of the rest since.
const SYSCTLS: [&str; 12] = [
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
];

fn context<'a>(of: &'a Value, path: &[&str]) -> Option<&'a Value> {
    at(&of["securityContext"], path)
}

fn is_true(value: Option<&Value>) -> bool {
    value == Some(&Value::Bool(true))
}

fn annotations(subject: Subject<'_>) -> impl Iterator<Item = (&String, &str)> {
    let map = at(subject.metadata, &["annotations"]).and_then(Value::as_object);
    map.into_iter().flatten().filter_map(|(key, value)| Some((key, value.as_str()?)))
}

pub(super) fn app_armor_profile(subject: Subject<'_>) -> Option<Violation> {
    let mut bad = BTreeSet::new();
    let mut is_bad = |of| {
        let own = context(of, &["appArmorProfile", "type"]).and_then(Value::as_str);
        let own = own.filter(|own| !matches!(*own, "RuntimeDefault" | "Localhost"));
        own.map(|own| bad.insert(own.to_owned())).is_some()
    };
    let pod = is_bad(subject.spec);
    let names = subject.which(&mut is_bad);
    let allowed = |profile: &str| {
        matches!(profile, "" | "runtime/default") || profile.starts_with("localhost/")
    };
    let old: BTreeSet<String> = annotations(subject)
        .filter(|(key, value)| key.starts_with(APP_ARMOR) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    let mut who: Vec<String> = setters(pod, &names).into_iter().collect();
    if !old.is_empty() {
        who.push(plural("annotation", "annotations", old.len()).to_owned());
    }
    if who.is_empty() {
        return None;
    }
    let values: Vec<String> = bad.into_iter().chain(old).collect();
    let reason = plural("forbidden AppArmor profile", "forbidden AppArmor profiles", values.len());
    let who = who.join(" and ");
    let detail = format!("{who} must not set AppArmor profile type to {}", quoted(&values));
    violation(reason, detail)
}

pub(super) fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    let mut added = BTreeSet::new();
    let names = subject.which(|container| {
        let list = context(container, &["capabilities", "add"]).and_then(Value::as_array);
        let more = list.into_iter().flatten().filter_map(Value::as_str);
        let more: Vec<_> = more.filter(|one| !CAPABILITIES.contains(one)).collect();
        added.extend(more.iter().copied());
        !more.is_empty()
    });
    if names.is_empty() {
        return None;
    }
    let added: Vec<_> = added.into_iter().collect();
    let (who, what) = (containers(&names), quoted(&added));
    let detail = format!("{who} must not include {what} in securityContext.capabilities.add");
    violation("non-default capabilities", detail)
}

pub(super) fn host_namespaces(subject: Subject<'_>) -> Option<Violation> {
    let shared: Vec<_> = ["hostNetwork", "hostPID", "hostIPC"]
        .into_iter()
        .filter(|field| is_true(subject.spec.get(*field)))
        .map(|field| format!("{field}=true"))
        .collect();
    if shared.is_empty() { None } else { violation("host namespaces", shared.join(", ")) }
}

pub(super) fn host_path_volumes(subject: Subject<'_>) -> Option<Violation> {
    let names: Vec<_> = list_at(subject.spec, &["volumes"])
        .iter()
        .filter(|volume| at(volume, &["hostPath"]).is_some())
        .map(|volume| str_at(volume, &["name"]))
        .collect();
    if names.is_empty() {
        return None;
    }
    let word = plural("volume", "volumes", names.len());
    violation("hostPath volumes", format!("{word} {}", quoted(&names)))
}

pub(super) fn host_ports(subject: Subject<'_>) -> Option<Violation> {
    let mut used = BTreeSet::new();
    let names = subject.which(|container| {
        let ports = list_at(container, &["ports"]).iter();
        let ports = ports.filter_map(|port| int_at(port, &["hostPort"]));
        let ports: Vec<_> = ports.filter(|port| *port != 0).map(|port| port.to_string()).collect();
        let uses = !ports.is_empty();
        used.extend(ports);
        uses
    });
    if names.is_empty() {
        return None;
    }
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        plural("uses", "use", names.len()),
        plural("hostPort", "hostPorts", used.len()),
        used.iter().cloned().collect::<Vec<_>>().join(", ")
    );
    violation("hostPort", detail)
}

/// A probe or a hook may not ask another host than the pod.
pub(super) fn probe_hosts(subject: Subject<'_>) -> Option<Violation> {
    const HANDLERS: [&[&str]; 5] = [
        &["livenessProbe"],
        &["readinessProbe"],
        &["startupProbe"],
        &["lifecycle", "postStart"],
        &["lifecycle", "preStop"],
    ];
    let mut hosts = BTreeSet::new();
    let names: BTreeSet<_> = subject
        .which(|container| {
            let mut found = false;
            for handler in HANDLERS.iter().filter_map(|path| at(container, path)) {
                for action in ["httpGet", "tcpSocket"] {
                    let host = str_at(handler, &[action, "host"]);
                    if !host.is_empty() {
                        hosts.insert(host);
                        found = true;
                    }
                }
            }
            found
        })
        .into_iter()
        .collect();
    if names.is_empty() {
        return None;
    }
    let (names, hosts): (Vec<_>, Vec<_>) =
        (names.into_iter().collect(), hosts.into_iter().collect());
    let detail = format!(
        "{} {} {} {}",
        containers(&names),
        plural("uses", "use", names.len()),
        plural("probe or lifecycle host", "probe or lifecycle hosts", hosts.len()),
        quoted(&hosts)
    );
    violation("probe or lifecycle host", detail)
}

pub(super) fn privileged(subject: Subject<'_>) -> Option<Violation> {
    let names = subject.which(|container| is_true(context(container, &["privileged"])));
    if names.is_empty() {
        return None;
    }
    let detail = format!("{} must not set securityContext.privileged=true", containers(&names));
    violation("privileged", detail)
}

pub(super) fn proc_mount(subject: Subject<'_>) -> Option<Violation> {
    let mut kinds = BTreeSet::new();
    let names = subject.which(|container| {
        let kind = context(container, &["procMount"]).and_then(Value::as_str);
        let kind = kind.filter(|kind| *kind != "Default");
        kinds.extend(kind);
        kind.is_some()
    });
    if names.is_empty() {
        return None;
    }
    let kinds: Vec<_> = kinds.into_iter().collect();
    let (who, what) = (containers(&names), quoted(&kinds));
    violation("procMount", format!("{who} must not set securityContext.procMount to {what}"))
}

pub(super) fn proc_mount_1_35(subject: Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { proc_mount(subject) }
}

pub(super) fn selinux_options(subject: Subject<'_>) -> Option<Violation> {
    selinux(subject, &["", "container_t", "container_init_t", "container_kvm_t"])
}

pub(super) fn selinux_options_1_31(subject: Subject<'_>) -> Option<Violation> {
    let types = ["", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"];
    selinux(subject, &types)
}

fn selinux(subject: Subject<'_>, allowed: &[&str]) -> Option<Violation> {
    let (mut types, mut user, mut role) = (BTreeSet::new(), false, false);
    let mut is_bad = |of| {
        let Some(options) = context(of, &["seLinuxOptions"]) else { return false };
        let kind = str_at(options, &["type"]);
        let bad_type = !allowed.contains(&kind);
        if bad_type {
            types.insert(kind.to_owned());
        }
        let sets = |field| !str_at(options, &[field]).is_empty();
        user |= sets("user");
        role |= sets("role");
        bad_type || sets("user") || sets("role")
    };
    let pod = is_bad(subject.spec);
    let names = subject.which(&mut is_bad);
    let who = setters(pod, &names)?;
    let types: Vec<_> = types.into_iter().collect();
    let mut bad = Vec::new();
    if !types.is_empty() {
        bad.push(format!("{} {}", plural("type", "types", types.len()), quoted(&types)));
    }
    for (set, text) in [(user, "user may not be set"), (role, "role may not be set")] {
        if set {
            bad.push(text.to_owned());
        }
    }
    let bad = bad.join("; ");
    let detail = format!("{who} set forbidden securityContext.seLinuxOptions: {bad}");
    violation("seLinuxOptions", detail)
}

/// The form that profiles had before they were fields.
pub(super) fn seccomp_annotations(subject: Subject<'_>) -> Option<Violation> {
    let allowed = |value: &str| {
        matches!(value, "runtime/default" | "docker/default") || value.starts_with("localhost/")
    };
    let names: Vec<&str> = subject.which(|_| true);
    let own = |key: &str| {
        key == SECCOMP_POD
            || key.strip_prefix(SECCOMP_CONTAINER).is_some_and(|name| names.contains(&name))
    };
    let bad: BTreeSet<_> = annotations(subject)
        .filter(|(key, value)| own(key) && !allowed(value))
        .map(|(key, value)| format!("{key}={value:?}"))
        .collect();
    if bad.is_empty() {
        return None;
    }
    let word = plural("annotation", "annotations", bad.len());
    let bad: Vec<_> = bad.into_iter().collect();
    violation("seccompProfile", format!("forbidden {word} {}", bad.join(", ")))
}

/// The type of a profile that is neither the runtime's nor a file of the node.
pub(super) fn bad_seccomp(of: &Value) -> Option<&str> {
    let own = context(of, &["seccompProfile"])?;
    Some(str_at(own, &["type"])).filter(|own| !matches!(*own, "RuntimeDefault" | "Localhost"))
}

pub(super) fn seccomp_profile(subject: Subject<'_>) -> Option<Violation> {
    let mut types = BTreeSet::new();
    types.extend(bad_seccomp(subject.spec));
    let pod = !types.is_empty();
    let names = subject.which(|container| {
        let bad = bad_seccomp(container);
        types.extend(bad);
        bad.is_some()
    });
    let who = setters(pod, &names)?;
    let types: Vec<_> = types.into_iter().collect();
    let types = quoted(&types);
    let detail = format!("{who} must not set securityContext.seccompProfile.type to {types}");
    violation("seccompProfile", detail)
}

fn sysctls_of(subject: Subject<'_>, allowed: usize) -> Option<Violation> {
    let list = context(subject.spec, &["sysctls"]).and_then(Value::as_array);
    let bad: Vec<_> = list
        .into_iter()
        .flatten()
        .map(|sysctl| str_at(sysctl, &["name"]))
        .filter(|name| !SYSCTLS[..allowed].contains(name))
        .collect();
    if bad.is_empty() { None } else { violation("forbidden sysctls", bad.join(", ")) }
}

pub(super) fn sysctls(subject: Subject<'_>) -> Option<Violation> {
    sysctls_of(subject, 5)
}

pub(super) fn sysctls_1_27(subject: Subject<'_>) -> Option<Violation> {
    sysctls_of(subject, 6)
}

pub(super) fn sysctls_1_29(subject: Subject<'_>) -> Option<Violation> {
    sysctls_of(subject, 10)
}

pub(super) fn sysctls_1_32(subject: Subject<'_>) -> Option<Violation> {
    sysctls_of(subject, 12)
}

pub(super) fn windows_host_process(subject: Subject<'_>) -> Option<Violation> {
    let is_host = |of| is_true(context(of, &["windowsOptions", "hostProcess"]));
    let who = setters(is_host(subject.spec), &subject.which(is_host))?;
    let detail = format!("{who} must not set securityContext.windowsOptions.hostProcess=true");
    violation("hostProcess", detail)
}
