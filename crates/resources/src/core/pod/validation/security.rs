//! Security contexts of pods and containers.

use api::field::ErrorList;
use api::validate;

use super::container::descending_path;
use crate::check::{in_range, one_of, required};
use crate::cursor::Field;

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
    seccomp(context.get("seccompProfile"), errors);
    app_armor(context.get("appArmorProfile"), errors);
    windows(context.get("windowsOptions"), errors);
    sysctls(spec, context.get("sysctls"), errors);
    let share = spec.get("shareProcessNamespace");
    if share.bool() && spec.get("hostPID").bool() {
        let text = "ShareProcessNamespace and HostPID cannot both be enabled";
        // It was a field of the security context once, and is shown there.
        let shown = context.get("shareProcessNamespace").with(share.value());
        errors.push(shown.invalid(text));
    }
    if spec.get("hostUsers").value().is_some_and(|value| value == false) {
        let text = "when `hostUsers` is false";
        for (name, shown) in
            [("hostNetwork", "hostNetwork"), ("hostPID", "HostPID"), ("hostIPC", "HostIPC")]
        {
            if spec.get(name).bool() {
                errors.push(Field::get(spec, shown).forbidden(text));
            }
        }
        for list in ["initContainers", "containers", "ephemeralContainers"] {
            for one in Field::get(spec, list).items() {
                if !one.get("volumeDevices").is_empty() {
                    errors.push(one.get("volumeDevices").forbidden(text));
                }
            }
        }
    }
}

const PROFILES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];

fn seccomp(profile: Field<'_>, errors: &mut ErrorList) {
    if !profile.is_set() {
        return;
    }
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    if kind.is_empty() {
        errors.push(kind.required("type is required when seccompProfile is set"));
    } else {
        one_of(kind, &PROFILES, errors);
    }
    if kind.str() == "Localhost" {
        if local.is_set() {
            descending_path(local, errors);
        } else {
            errors.push(local.required("must be set when seccomp type is Localhost"));
        }
    } else if local.is_set() {
        // Upstream shows the whole profile, by its own names for the fields.
        let shown = serde_json::json!({"Type": kind.str(), "LocalhostProfile": local.str()});
        let text = "can only be set when seccomp type is Localhost";
        errors.push(local.invalid_as(shown, text));
    }
}

fn app_armor(profile: Field<'_>, errors: &mut ErrorList) {
    if !profile.is_set() {
        return;
    }
    let (kind, local) = (profile.get("type"), profile.get("localhostProfile"));
    match kind.str() {
        "Localhost" => {
            let text = "must be set when AppArmor type is Localhost";
            if local.str().trim() != local.str() {
                errors.push(local.invalid("must not be padded with whitespace"));
            } else if local.is_empty() {
                errors.push(local.required(text));
            }
            if local.str().len() > 4095 {
                errors.push(local.too_long(4095));
            }
        }
        "RuntimeDefault" | "Unconfined" if local.is_set() => {
            errors.push(local.invalid("can only be set when AppArmor type is Localhost"));
        }
        "RuntimeDefault" | "Unconfined" => {}
        "" => errors.push(kind.required("type is required when appArmorProfile is set")),
        _ => errors.push(kind.not_supported(&PROFILES)),
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
    let mount = context.get("procMount");
    if mount.is_set() && !matches!(mount.str(), "Default" | "Unmasked") {
        errors.push(mount.not_supported(&["Default", "Unmasked"]));
    }
    seccomp(context.get("seccompProfile"), errors);
    app_armor(context.get("appArmorProfile"), errors);
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
    windows(context.get("windowsOptions"), errors);
}

fn windows(options: Field<'_>, errors: &mut ErrorList) {
    let name = options.get("gmsaCredentialSpecName");
    if name.is_set() {
        let texts = validate::dns1123_subdomain(name.str());
        errors.extend(texts.into_iter().map(|text| name.invalid(text)));
    }
    let specification = options.get("gmsaCredentialSpec");
    if specification.is_set() && specification.is_empty() {
        errors.push(specification.invalid("gmsaCredentialSpec cannot be an empty string"));
    }
    if specification.str().len() > 64 * 1024 {
        let text = "gmsaCredentialSpec size must be under 64 KiB";
        errors.push(specification.invalid(text));
    }
    let user = options.get("runAsUserName");
    if user.is_set() {
        let (domain, account) = match user.str().split_once('\\') {
            Some((domain, account)) => (Some(domain), account),
            None => (None, user.str()),
        };
        if user.is_empty() {
            errors.push(user.invalid("runAsUserName cannot be an empty string"));
        } else if account.len() > 104 {
            let text = "runAsUserName's User length must not be longer than 104 characters";
            errors.push(user.invalid(text));
        } else if domain.is_some_and(|domain| domain.len() >= 256) {
            errors.push(user.invalid("runAsUserName's Domain length must be under 256 characters"));
        }
    }
}
