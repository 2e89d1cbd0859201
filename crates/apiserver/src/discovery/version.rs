//! The order of versions and groups. Pure.

use std::cmp::Reverse;

/// Upstream's groups, the most important first.
const GROUPS: [&str; 24] = [
    "apiregistration.k8s.io",
    "apps",
    "events.k8s.io",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "networking.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "storage.k8s.io",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "scheduling.k8s.io",
    "coordination.k8s.io",
    "node.k8s.io",
    "discovery.k8s.io",
    "resource.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "internal.apiserver.k8s.io",
    "storagemigration.k8s.io",
    "metrics.k8s.io",
    "extensions",
];

/// A group's place: built-in ones first, `extensions` of old last.
pub(super) fn group_rank(group: &str) -> usize {
    let place = GROUPS.iter().position(|known| *known == group);
    match place {
        Some(place) if group == "extensions" => place + 1,
        Some(place) => place,
        None => GROUPS.len() - 1,
    }
}

/// A sort key that puts `v2` before `v1` before `v1beta2` before `v1alpha1` before others.
/// (apimachinery `version.CompareKubeAwareVersionStrings`)
pub(super) fn rank(name: &str) -> (u8, Reverse<u32>, Reverse<u32>, String) {
    let Some((major, rest)) = name.strip_prefix('v').and_then(number) else {
        return (3, Reverse(0), Reverse(0), name.to_owned());
    };
    let (stage, minor) = match rest {
        "" => (0, Some(0)),
        _ if rest.starts_with("beta") => (1, number(&rest[4..]).map(|(minor, _)| minor)),
        _ if rest.starts_with("alpha") => (2, number(&rest[5..]).map(|(minor, _)| minor)),
        _ => (3, None),
    };
    match minor {
        Some(minor) => (stage, Reverse(major), Reverse(minor), String::new()),
        None => (3, Reverse(0), Reverse(0), name.to_owned()),
    }
}

fn number(text: &str) -> Option<(u32, &str)> {
    let end = text.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_stable_first() {
        let mut names = ["v1alpha1", "foo", "v1beta1", "v1", "v2", "v1beta2", "v11"];
        names.sort_by_key(|name| rank(name));
        assert_eq!(names, ["v11", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
    }
}
