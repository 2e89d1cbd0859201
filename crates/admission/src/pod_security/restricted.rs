//! The checks of `restricted`: what hardened pods do.
//!
//! (Kubernetes `k8s.io/pod-security-admission/policy`)

use std::collections::BTreeSet;

use api::Value;
use api::object::{at, list_at, str_at};

use super::baseline::bad_seccomp;
use super::checks::{Subject, Violation, containers, plural, quoted, setters, violation};

/// Volumes that bring nothing of the node's or the network's but through a PersistentVolume.
const VOLUMES: [&str; 9] = [
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
];

fn context<'a>(of: &'a Value, path: &[&str]) -> Option<&'a Value> {
    at(&of["securityContext"], path)
}

pub(super) fn privilege_escalation(subject: Subject<'_>) -> Option<Violation> {
    let names = subject.which(|container| {
        context(container, &["allowPrivilegeEscalation"]) != Some(&Value::Bool(false))
    });
    if names.is_empty() {
        return None;
    }
    let who = containers(&names);
    let detail = format!("{who} must set securityContext.allowPrivilegeEscalation=false");
    violation("allowPrivilegeEscalation != false", detail)
}

pub(super) fn privilege_escalation_1_25(subject: Subject<'_>) -> Option<Violation> {
    if subject.is_windows() { None } else { privilege_escalation(subject) }
}

pub(super) fn capabilities(subject: Subject<'_>) -> Option<Violation> {
    let list = |container, field| {
        let list = context(container, &["capabilities", field]).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_str)
    };
    let keeping = subject.which(|container| !list(container, "drop").any(|one| one == "ALL"));
    let mut added = BTreeSet::new();
    let adding = subject.which(|container| {
        let more: Vec<_> =
            list(container, "add").filter(|one| *one != "NET_BIND_SERVICE").collect();
        added.extend(more.iter().copied());
        !more.is_empty()
    });
    let mut details = Vec::new();
    if !keeping.is_empty() {
        let who = containers(&keeping);
        details.push(format!("{who} must set securityContext.capabilities.drop=[\"ALL\"]"));
    }
    if !adding.is_empty() {
        let added: Vec<_> = added.into_iter().collect();
        let (who, what) = (containers(&adding), quoted(&added));
        details.push(format!("{who} must not include {what} in securityContext.capabilities.add"));
    }
    if details.is_empty() {
        None
    } else {
        violation("unrestricted capabilities", details.join("; "))
    }
}

pub(super) fn capabilities_1_25(subject: Subject<'_>) -> Option<Violation> {
    if subject.is_windows() { None } else { capabilities(subject) }
}

pub(super) fn volumes(subject: Subject<'_>) -> Option<Violation> {
    let (mut names, mut kinds) = (Vec::new(), BTreeSet::new());
    for volume in list_at(subject.spec, &["volumes"]) {
        let source = volume.as_object().into_iter().flatten();
        let source = source.filter(|(key, value)| *key != "name" && !value.is_null());
        let kind = source.map(|(key, _)| key.as_str()).next().unwrap_or("unknown");
        if !VOLUMES.contains(&kind) {
            names.push(str_at(volume, &["name"]));
            kinds.insert(kind);
        }
    }
    if names.is_empty() {
        return None;
    }
    let kinds: Vec<_> = kinds.into_iter().collect();
    let detail = format!(
        "{} {} {} {} {}",
        plural("volume", "volumes", names.len()),
        quoted(&names),
        plural("uses", "use", names.len()),
        plural("restricted volume type", "restricted volume types", kinds.len()),
        quoted(&kinds)
    );
    violation("restricted volume types", detail)
}

pub(super) fn run_as_non_root(subject: Subject<'_>) -> Option<Violation> {
    let own = |of| context(of, &["runAsNonRoot"]).and_then(Value::as_bool);
    let pod = own(subject.spec);
    let explicit = subject.which(|container| own(container) == Some(false));
    if let Some(who) = setters(pod == Some(false), &explicit) {
        let detail = format!("{who} must not set securityContext.runAsNonRoot=false");
        return violation("runAsNonRoot != true", detail);
    }
    let silent = subject.which(|container| own(container).is_none());
    if pod == Some(true) || silent.is_empty() {
        return None;
    }
    let who = containers(&silent);
    let detail = format!("pod or {who} must set securityContext.runAsNonRoot=true");
    violation("runAsNonRoot != true", detail)
}

pub(super) fn run_as_non_root_1_35(subject: Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { run_as_non_root(subject) }
}

pub(super) fn run_as_user(subject: Subject<'_>) -> Option<Violation> {
    let is_root = |of| context(of, &["runAsUser"]).and_then(Value::as_i64) == Some(0);
    let who = setters(is_root(subject.spec), &subject.which(is_root))?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

pub(super) fn run_as_user_1_35(subject: Subject<'_>) -> Option<Violation> {
    if subject.has_own_users() { None } else { run_as_user(subject) }
}

pub(super) fn seccomp_profile(subject: Subject<'_>) -> Option<Violation> {
    if let Some(bad) = super::baseline::seccomp_profile(subject) {
        return Some(bad);
    }
    let has = |of| context(of, &["seccompProfile"]).is_some() && bad_seccomp(of).is_none();
    let silent = subject.which(|container| !has(container));
    if has(subject.spec) || silent.is_empty() {
        return None;
    }
    let who = containers(&silent);
    let detail = format!(
        "pod or {who} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \
         \"Localhost\""
    );
    violation("seccompProfile", detail)
}

pub(super) fn seccomp_profile_1_25(subject: Subject<'_>) -> Option<Violation> {
    if subject.is_windows() { None } else { seccomp_profile(subject) }
}
