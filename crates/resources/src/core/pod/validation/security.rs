//! Security contexts of pods and containers.

use api::field::ErrorList;
use api::validate;

use super::container::descending_path;
use crate::check::{in_range, one_of, required};
use crate::cursor::{Field, rule};

const ID_MAX: i64 = i32::MAX as i64;

/// What is wrong with the pod's security context and its sharing with the host.
pub(crate) fn pod(spec: Field<'_>, errors: &mut ErrorList) {
    let context = spec.get("securityContext");
    for name in ["fsGroup", "runAsUser", "runAsGroup"] {
        in_range(Field::get(context, name), 0, ID_MAX, errors);
    }
    for group in context.get("supplementalGroups").items() {
        in_range(group, 0, ID_MAX, errors);
    }
    one_of(context.get("fsGroupChangePolicy"), &["Always", "OnRootMismatch"], errors);
    one_of(context.get("supplementalGroupsPolicy"), &["Merge", "Strict"], errors);
    one_of(context.get("seLinuxChangePolicy"), &["MountOption", "Recursive"], errors);
    profile(context.get("seccompProfile"), errors);
    profile(context.get("appArmorProfile"), errors);
    sysctls(spec, context.get("sysctls"), errors);
    let share = spec.get("shareProcessNamespace");
    if share.bool() && spec.get("hostPID").bool() {
        let text = "ShareProcessNamespace and HostPID cannot both be enabled";
        errors.push(share.invalid(text));
    }
    if spec.get("hostUsers").value().is_some_and(|value| value == false) {
        for name in ["hostNetwork", "hostPID", "hostIPC"] {
            if spec.get(name).bool() {
                let text = "when `hostUsers` is false";
                errors.push(Field::get(spec, name).forbidden(text));
            }
        }
    }
}

fn profile(profile: Field<'_>, errors: &mut ErrorList) {
    if !profile.is_set() {
        return;
    }
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    if required(kind, errors) {
        one_of(kind, &["Localhost", "RuntimeDefault", "Unconfined"], errors);
    }
    if kind.str() == "Localhost" {
        if local.is_empty() {
            errors.push(local.required("must be set when type is Localhost"));
        } else {
            descending_path(local, errors);
        }
    } else if local.is_set() {
        errors.push(local.invalid("can only be set when type is Localhost"));
    }
}

fn is_sysctl_name(name: &str) -> bool {
    let segment = |part: &str| {
        let bytes = part.as_bytes();
        let edge = |byte: &u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
        bytes.first().is_some_and(edge)
            && bytes.last().is_some_and(edge)
            && bytes.iter().all(|byte| edge(byte) || b"-_".contains(byte))
    };
    name.len() <= 253 && name.split(['.', '/']).all(segment)
}

fn sysctls(spec: Field<'_>, list: Field<'_>, errors: &mut ErrorList) {
    let mut seen: Vec<String> = Vec::new();
    for sysctl in list.items() {
        let name = sysctl.get("name");
        if !required(name, errors) {
            continue;
        }
        if !is_sysctl_name(name.str()) {
            let text = r"must have at most 253 characters and match regex ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
            errors.push(name.invalid(text));
        }
        let dotted = name.str().replace('/', ".");
        if seen.contains(&dotted) {
            errors.push(name.duplicate());
        }
        if spec.get("hostNetwork").bool() && dotted.starts_with("net.") {
            errors.push(name.invalid("may not be specified when 'hostNetwork' is true"));
        }
        let ipc = ["kernel.shm", "kernel.msg", "fs.mqueue."];
        let shared = ipc.iter().any(|prefix| dotted.starts_with(prefix)) || dotted == "kernel.sem";
        if spec.get("hostIPC").bool() && shared {
            errors.push(name.invalid("may not be specified when 'hostIPC' is true"));
        }
        seen.push(dotted);
    }
}

/// What is wrong with a container's security context.
pub(crate) fn container(context: Field<'_>, errors: &mut ErrorList) {
    if !context.is_set() {
        return;
    }
    for name in ["runAsUser", "runAsGroup"] {
        in_range(Field::get(context, name), 0, ID_MAX, errors);
    }
    one_of(context.get("procMount"), &["Default", "Unmasked"], errors);
    profile(context.get("seccompProfile"), errors);
    profile(context.get("appArmorProfile"), errors);
    let escalation = context.get("allowPrivilegeEscalation");
    if escalation.value().is_some_and(|value| value == false) {
        let value = context.value().cloned().unwrap_or_default();
        if context.get("privileged").bool() {
            let text = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true";
            errors.push(context.invalid_as(value.clone(), text));
        }
        let admin = context
            .at(&["capabilities", "add"])
            .items()
            .any(|capability| matches!(capability.str(), "CAP_SYS_ADMIN"));
        if admin {
            let text = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN";
            errors.push(context.invalid_as(value, text));
        }
    }
    let windows = context.get("windowsOptions");
    rule(windows.get("gmsaCredentialSpecName"), validate::dns1123_subdomain, errors);
}
