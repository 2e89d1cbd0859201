//! What the machine lacks for running containers.

use std::fs;

use crate::cgroup::Cgroups;

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What, in a few words.
    pub what: &'static str,
    /// Whether containers can run as it is.
    pub ok: bool,
    /// What is there, or what is missing and what to do about it.
    pub detail: String,
}

fn finding(what: &'static str, problem: Option<String>, fine: impl Into<String>) -> Finding {
    Finding { what, ok: problem.is_none(), detail: problem.unwrap_or_else(|| fine.into()) }
}

/// Looks at everything that the runtime needs. Changes nothing.
#[must_use]
pub fn check() -> Vec<Finding> {
    let filesystems = fs::read_to_string("/proc/filesystems").unwrap_or_default();
    let overlay =
        filesystems.lines().any(|line| line.trim_start_matches("nodev").trim() == "overlay");
    let missing: Vec<&str> = ["mnt", "pid", "net", "uts", "ipc", "cgroup"]
        .into_iter()
        .filter(|kind| !std::path::Path::new(&format!("/proc/self/ns/{kind}")).exists())
        .collect();
    let needed = [
        caps::Capability::CAP_SYS_ADMIN,
        caps::Capability::CAP_NET_ADMIN,
        caps::Capability::CAP_MKNOD,
        caps::Capability::CAP_SETUID,
        caps::Capability::CAP_KILL,
    ];
    let effective = caps::read(None, caps::CapSet::Effective).unwrap_or_default();
    let lacking: Vec<String> =
        needed.iter().filter(|cap| !effective.contains(cap)).map(ToString::to_string).collect();
    let cgroups = Cgroups::detect();
    let controllers = cgroups.as_ref().map(Cgroups::missing).unwrap_or_default();
    let layout = match &cgroups {
        Ok(Cgroups::V2(_)) => "one hierarchy (v2)",
        _ => "one hierarchy a controller (v1)",
    };
    let seccomp = fs::read_to_string("/proc/self/status").unwrap_or_default().contains("Seccomp:");
    let some = |list: bool, text: String| list.then_some(text);
    vec![
        finding(
            "root",
            some(
                !nix::unistd::geteuid().is_root(),
                "containers are made by root; run as root or with sudo".to_owned(),
            ),
            "running as root",
        ),
        finding(
            "capabilities",
            some(!lacking.is_empty(), format!("missing: {}", lacking.join(", "))),
            "all that containers need",
        ),
        finding(
            "overlayfs",
            some(!overlay, "the kernel has no overlayfs; try: modprobe overlay".to_owned()),
            "available",
        ),
        finding(
            "namespaces",
            some(!missing.is_empty(), format!("the kernel lacks: {}", missing.join(", "))),
            "available",
        ),
        finding(
            "cgroups",
            some(
                !controllers.is_empty(),
                format!("controllers missing: {}; limits will not hold", controllers.join(", ")),
            ),
            layout,
        ),
        finding(
            "seccomp",
            some(!seccomp, "the kernel has no seccomp; RuntimeDefault cannot be given".to_owned()),
            "available",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_finding_says_something() {
        let findings = check();
        assert!(findings.iter().all(|finding| !finding.detail.is_empty()));
        assert!(findings.iter().any(|finding| finding.what == "overlayfs"));
    }
}
