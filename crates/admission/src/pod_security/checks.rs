//! The checks of the Pod Security Standards, in the order in which violations are told.
//!
//! A check has a version for each release that changed it. Some checks of `restricted` say more than
//! one of `baseline` and are asked instead of it. To add one: its function, its line in [`CHECKS`].

use api::Value;
use api::object::{at, list_at, str_at};

use super::policy::{Level, LevelVersion, Version};
use super::{baseline, restricted};

/// The newest release that changed a check; later ones have its checks.
const NEWEST: u32 = 35;

/// A pod, or what a workload would make its pods from.
#[derive(Clone, Copy)]
pub(super) struct Subject<'a> {
    pub(super) metadata: &'a Value,
    pub(super) spec: &'a Value,
}

/// What a check has against a pod.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Violation {
    /// What it is, in a word or two.
    pub(super) reason: String,
    /// Where it is and what to do.
    pub(super) detail: String,
}

type CheckFn = fn(Subject<'_>) -> Option<Violation>;

struct Check {
    id: &'static str,
    level: Level,
    /// From which release on, what is checked; the oldest first.
    versions: &'static [(u32, CheckFn)],
    /// The check of `baseline` that this one replaces.
    replaces: Option<&'static str>,
}

const fn baseline(id: &'static str, versions: &'static [(u32, CheckFn)]) -> Check {
    Check { id, level: Level::Baseline, versions, replaces: None }
}

const fn restricted(
    id: &'static str,
    versions: &'static [(u32, CheckFn)],
    replaces: Option<&'static str>,
) -> Check {
    Check { id, level: Level::Restricted, versions, replaces }
}

/// All checks: those of `baseline` by name, then those of `restricted` by name.
const CHECKS: &[Check] = &[
    baseline("appArmorProfile", &[(0, baseline::app_armor_profile)]),
    baseline("capabilities_baseline", &[(0, baseline::capabilities)]),
    baseline("hostNamespaces", &[(0, baseline::host_namespaces)]),
    baseline("hostPathVolumes", &[(0, baseline::host_path_volumes)]),
    baseline("hostPorts", &[(0, baseline::host_ports)]),
    baseline("hostProbesAndHostLifecycle", &[(34, baseline::probe_hosts)]),
    baseline("privileged", &[(0, baseline::privileged)]),
    baseline("procMount", &[(0, baseline::proc_mount), (35, baseline::proc_mount_1_35)]),
    baseline(
        "seLinuxOptions",
        &[(0, baseline::selinux_options), (31, baseline::selinux_options_1_31)],
    ),
    baseline(
        "seccompProfile_baseline",
        &[(0, baseline::seccomp_annotations), (19, baseline::seccomp_profile)],
    ),
    baseline(
        "sysctls",
        &[
            (0, baseline::sysctls),
            (27, baseline::sysctls_1_27),
            (29, baseline::sysctls_1_29),
            (32, baseline::sysctls_1_32),
        ],
    ),
    baseline("windowsHostProcess", &[(0, baseline::windows_host_process)]),
    restricted(
        "allowPrivilegeEscalation",
        &[(8, restricted::privilege_escalation), (25, restricted::privilege_escalation_1_25)],
        None,
    ),
    restricted(
        "capabilities_restricted",
        &[(22, restricted::capabilities), (25, restricted::capabilities_1_25)],
        Some("capabilities_baseline"),
    ),
    restricted("procMount_restricted", &[(35, baseline::proc_mount)], Some("procMount")),
    restricted("restrictedVolumes", &[(0, restricted::volumes)], Some("hostPathVolumes")),
    restricted(
        "runAsNonRoot",
        &[(0, restricted::run_as_non_root), (35, restricted::run_as_non_root_1_35)],
        None,
    ),
    restricted(
        "runAsUser",
        &[(23, restricted::run_as_user), (35, restricted::run_as_user_1_35)],
        None,
    ),
    restricted(
        "seccompProfile_restricted",
        &[(19, restricted::seccomp_profile), (25, restricted::seccomp_profile_1_25)],
        Some("seccompProfile_baseline"),
    ),
];

impl Check {
    fn at(&self, minor: u32) -> Option<CheckFn> {
        self.versions.iter().rev().find(|(since, _)| *since <= minor).map(|(_, check)| *check)
    }
}

/// What a policy has against a pod.
pub(super) fn violations(policy: LevelVersion, subject: Subject<'_>) -> Vec<Violation> {
    let minor = match policy.version {
        Version::Latest => NEWEST,
        Version::Minor(minor) => minor.min(NEWEST),
    };
    let asked = |check: &&Check| check.level <= policy.level;
    let replaced = |check: &Check| {
        let by = CHECKS.iter().filter(asked).find(|other| other.replaces == Some(check.id));
        by.is_some_and(|other| other.at(minor).is_some())
    };
    let checks = CHECKS.iter().filter(asked).filter(|check| !replaced(check));
    checks.filter_map(|check| check.at(minor)?(subject)).collect()
}

/// `reason (detail), reason (detail)`.
pub(super) fn in_detail(violations: &[Violation]) -> String {
    let texts: Vec<_> = violations
        .iter()
        .map(|one| match one.detail.as_str() {
            "" => one.reason.clone(),
            detail => format!("{} ({detail})", one.reason),
        })
        .collect();
    texts.join(", ")
}

/// `reason, reason`.
pub(super) fn in_short(violations: &[Violation]) -> String {
    let texts: Vec<_> = violations.iter().map(|one| one.reason.as_str()).collect();
    texts.join(", ")
}

impl<'a> Subject<'a> {
    /// Every container, those that start first first.
    pub(super) fn containers(self) -> impl Iterator<Item = &'a Value> {
        ["initContainers", "containers", "ephemeralContainers"]
            .into_iter()
            .flat_map(move |list| list_at(self.spec, &[list]))
    }

    /// The names of the containers of which something holds.
    pub(super) fn which(self, mut holds: impl FnMut(&'a Value) -> bool) -> Vec<&'a str> {
        self.containers()
            .filter(|container| holds(container))
            .map(|container| str_at(container, &["name"]))
            .collect()
    }

    /// Whether the pod's users are not the node's. (KEP-127)
    pub(super) fn has_own_users(self) -> bool {
        at(self.spec, &["hostUsers"]) == Some(&Value::Bool(false))
    }

    /// Whether the pod is for Windows nodes, which know nothing of some fields.
    pub(super) fn is_windows(self) -> bool {
        str_at(self.spec, &["os", "name"]) == "windows"
    }
}

/// `"a", "b"`.
pub(super) fn quoted<T: AsRef<str>>(items: &[T]) -> String {
    let texts: Vec<_> = items.iter().map(AsRef::as_ref).collect();
    format!("\"{}\"", texts.join("\", \""))
}

/// The word for one or the one for several.
pub(super) fn plural<'a>(one: &'a str, several: &'a str, count: usize) -> &'a str {
    if count == 1 { one } else { several }
}

/// `container "a"`, `containers "a", "b"`.
pub(super) fn containers(names: &[&str]) -> String {
    format!("{} {}", plural("container", "containers", names.len()), quoted(names))
}

/// Those who set something: `pod and containers "a", "b"`; `None` when nobody does.
pub(super) fn setters(pod: bool, names: &[&str]) -> Option<String> {
    let mut parts: Vec<String> = Vec::new();
    if pod {
        parts.push("pod".to_owned());
    }
    if !names.is_empty() {
        parts.push(containers(names));
    }
    (!parts.is_empty()).then(|| parts.join(" and "))
}

/// A violation.
pub(super) fn violation(reason: &str, detail: String) -> Option<Violation> {
    Some(Violation { reason: reason.to_owned(), detail })
}
