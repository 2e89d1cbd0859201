//! What a container may do: capabilities, and which filter of system calls it gets.
//!
//! `libcontainer` is given two capabilities more than the container may keep, so that the payload
//! (`payload.rs`) can install the filter without forbidding setuid programs; it drops them right
//! before the container's program runs.

use std::collections::BTreeSet;

use caps::{CapSet, Capability, CapsHashSet};
use container_runtime::{
    Capability as CapabilityChanges, LinuxContainerSecurityContext, SecurityProfileType,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// What a container gets unless it asks for more or less; the set that containerd gives.
const DEFAULT: [Capability; 14] = [
    Capability::CAP_CHOWN,
    Capability::CAP_DAC_OVERRIDE,
    Capability::CAP_FSETID,
    Capability::CAP_FOWNER,
    Capability::CAP_MKNOD,
    Capability::CAP_NET_RAW,
    Capability::CAP_SETGID,
    Capability::CAP_SETUID,
    Capability::CAP_SETFCAP,
    Capability::CAP_SETPCAP,
    Capability::CAP_NET_BIND_SERVICE,
    Capability::CAP_SYS_CHROOT,
    Capability::CAP_KILL,
    Capability::CAP_AUDIT_WRITE,
];

/// Which filter of system calls a container gets.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Filter {
    /// None.
    #[default]
    Unconfined,
    /// Ferry's own.
    RuntimeDefault,
    /// A profile in Docker's JSON form.
    File(String),
}

/// What a container may do.
#[derive(Debug, Default, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Security {
    /// Bounding, permitted and effective capabilities, by name.
    pub(crate) capabilities: BTreeSet<String>,
    /// Inheritable and ambient ones.
    pub(crate) ambient: BTreeSet<String>,
    /// The filter.
    pub(crate) filter: Filter,
    /// Whether exec may not gain privileges.
    pub(crate) no_new_privs: bool,
}

impl Security {
    /// What a security context asks for.
    pub(crate) fn of(context: &LinuxContainerSecurityContext) -> Result<Self, String> {
        let filter = match &context.seccomp {
            _ if context.privileged => Filter::Unconfined,
            None => Filter::Unconfined,
            Some(profile) => match profile.profile_type {
                SecurityProfileType::RuntimeDefault => Filter::RuntimeDefault,
                SecurityProfileType::Unconfined => Filter::Unconfined,
                SecurityProfileType::Localhost => Filter::File(profile.localhost_ref.clone()),
            },
        };
        let (capabilities, ambient) = if context.privileged {
            (caps::all(), CapsHashSet::new())
        } else {
            capabilities(&context.capabilities)?
        };
        let names = |set: CapsHashSet| set.iter().map(ToString::to_string).collect();
        Ok(Self {
            capabilities: names(capabilities),
            ambient: names(ambient),
            filter,
            no_new_privs: context.no_new_privs,
        })
    }

    /// Without what this process itself cannot give.
    pub(crate) fn clamped(mut self) -> Self {
        let mine = caps::read(None, CapSet::Bounding).unwrap_or_default();
        let has = |name: &String| mine.iter().any(|cap| cap.to_string() == *name);
        self.capabilities.retain(has);
        let all = self.capabilities.clone();
        self.ambient.retain(|name| all.contains(name));
        self
    }

    /// What `libcontainer` is told to leave to the payload.
    pub(crate) fn setup_capabilities(&self) -> Value {
        let mut names = self.capabilities.clone();
        for needed in [Capability::CAP_SYS_ADMIN, Capability::CAP_SETPCAP] {
            names.insert(needed.to_string());
        }
        json!({"bounding": names, "permitted": names, "effective": names})
    }
}

type Sets = (CapsHashSet, CapsHashSet);

/// The default set with changes applied: first `ALL`, then single drops and adds.
fn capabilities(changes: &CapabilityChanges) -> Result<Sets, String> {
    let is_all = |name: &&String| name.eq_ignore_ascii_case("ALL");
    let parse = |name: &String| {
        let name = name.to_ascii_uppercase();
        let name = if name.starts_with("CAP_") { name } else { format!("CAP_{name}") };
        name.parse::<Capability>().map_err(|_| format!("{name} is not a capability"))
    };
    let mut set: CapsHashSet = DEFAULT.into_iter().collect();
    if changes.add_capabilities.iter().any(|name| is_all(&name)) {
        set = caps::all();
    }
    if changes.drop_capabilities.iter().any(|name| is_all(&name)) {
        set.clear();
    }
    for name in changes.add_capabilities.iter().filter(|name| !is_all(name)) {
        set.insert(parse(name)?);
    }
    for name in changes.drop_capabilities.iter().filter(|name| !is_all(name)) {
        set.remove(&parse(name)?);
    }
    let mut ambient = CapsHashSet::new();
    for name in changes.add_ambient_capabilities.iter().filter(|name| !is_all(name)) {
        ambient.insert(parse(name)?);
    }
    set.extend(&ambient);
    Ok((set, ambient))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(add: &[&str], drop: &[&str], expected: &[&str], count: usize) {
        let words = |list: &[&str]| list.iter().map(|&word| word.to_owned()).collect();
        let changes = CapabilityChanges {
            add_capabilities: words(add),
            drop_capabilities: words(drop),
            ..CapabilityChanges::default()
        };
        let (set, _) = capabilities(&changes).unwrap();
        let names: Vec<_> = set.iter().map(ToString::to_string).collect();
        assert!(expected.iter().all(|name| names.iter().any(|n| n == name)), "{names:?}");
        assert_eq!(set.len(), count, "{names:?}");
    }

    #[test]
    fn changes_apply_to_the_default_set() {
        check(&[], &[], &["CAP_CHOWN", "CAP_NET_BIND_SERVICE"], 14);
        check(&["NET_ADMIN"], &["CAP_CHOWN"], &["CAP_NET_ADMIN"], 14);
        check(&["net_bind_service"], &["ALL"], &["CAP_NET_BIND_SERVICE"], 1);
        check(&["ALL"], &["SYS_ADMIN"], &["CAP_SYS_TIME"], caps::all().len() - 1);
        assert!(
            capabilities(&CapabilityChanges {
                add_capabilities: vec!["FLYING".into()],
                ..CapabilityChanges::default()
            })
            .is_err()
        );
    }
}
