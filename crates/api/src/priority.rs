//! The order of groups and versions: the priorities that APIServices of built-in groups have, and
//! how versions compare. Pure.
//!
//! (Kubernetes `pkg/controlplane/apiserver`: `DefaultGenericAPIServicePriorities`, and its like of
//! `cmd/kube-apiserver`)

use std::cmp::Reverse;

/// What decides a version's place in discovery.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority {
    /// `groupPriorityMinimum`: higher ones come first.
    pub group: i32,
    /// `versionPriority` within the group: higher ones come first.
    pub version: i32,
}

/// What every group of custom resources has.
pub const CUSTOM: Priority = Priority { group: 1000, version: 100 };

/// Of groups that nobody ranked: after everything else.
pub const LAST: Priority = Priority { group: 1, version: 1 };

/// The group that is always first, and never has an APIService of its own.
pub const FIRST_GROUP: &str = "apiregistration.k8s.io";

/// A group, its priority, and those of its versions.
type Ranked = (&'static str, i32, &'static [(&'static str, i32)]);

/// Upstream's groups.
const BUILT_IN: [Ranked; 24] = [
    ("", 18_000, &[("v1", 1)]),
    ("apps", 17_800, &[("v1", 15)]),
    ("events.k8s.io", 17_750, &[("v1", 15), ("v1beta1", 5)]),
    ("authentication.k8s.io", 17_700, &[("v1", 15), ("v1beta1", 9), ("v1alpha1", 1)]),
    ("authorization.k8s.io", 17_600, &[("v1", 15)]),
    ("autoscaling", 17_500, &[("v1", 15), ("v2", 30), ("v2beta1", 9), ("v2beta2", 1)]),
    ("batch", 17_400, &[("v1", 15), ("v1beta1", 9)]),
    ("certificates.k8s.io", 17_300, &[("v1", 15), ("v1beta1", 9), ("v1alpha1", 1)]),
    ("networking.k8s.io", 17_200, &[("v1", 15), ("v1beta1", 9), ("v1alpha1", 1)]),
    ("policy", 17_100, &[("v1", 15), ("v1beta1", 9)]),
    ("rbac.authorization.k8s.io", 17_000, &[("v1", 15)]),
    ("storage.k8s.io", 16_800, &[("v1", 15), ("v1beta1", 9), ("v1alpha1", 1)]),
    ("apiextensions.k8s.io", 16_700, &[("v1", 15)]),
    ("admissionregistration.k8s.io", 16_700, &[("v1", 15), ("v1beta1", 12), ("v1alpha1", 9)]),
    ("scheduling.k8s.io", 16_600, &[("v1", 15), ("v1alpha2", 9)]),
    ("coordination.k8s.io", 16_500, &[("v1", 15), ("v1beta1", 13), ("v1alpha2", 12)]),
    ("node.k8s.io", 16_300, &[("v1", 15), ("v1beta1", 9), ("v1alpha1", 1)]),
    ("discovery.k8s.io", 16_200, &[("v1", 15), ("v1beta1", 12)]),
    ("resource.k8s.io", 16_200, &[("v1", 21), ("v1beta2", 15), ("v1beta1", 9), ("v1alpha3", 1)]),
    ("flowcontrol.apiserver.k8s.io", 16_100, &[("v1", 21), ("v1beta3", 18), ("v1beta2", 15)]),
    ("internal.apiserver.k8s.io", 16_000, &[("v1alpha1", 9)]),
    ("storagemigration.k8s.io", 15_800, &[("v1beta1", 9)]),
    ("metrics.k8s.io", 100, &[("v1", 100), ("v1beta1", 100)]),
    (FIRST_GROUP, 20_000, &[("v1", 15)]),
];

/// The priority of a version of a built-in group. Versions that were removed upstream come after
/// those that are there.
#[must_use]
pub fn built_in(group: &str, version: &str) -> Option<Priority> {
    let (_, group_priority, versions) = BUILT_IN.iter().find(|(name, ..)| *name == group)?;
    let known = versions.iter().find(|(name, _)| *name == version);
    let version = known.map_or(LAST.version, |(_, priority)| *priority);
    Some(Priority { group: *group_priority, version })
}

/// The versions of built-in groups that upstream ranks: those that get an APIService when they are
/// served. The group of APIServices itself is not among them.
#[must_use]
pub fn is_registered(group: &str, version: &str) -> bool {
    BUILT_IN.iter().any(|(name, _, versions)| {
        *name == group && *name != FIRST_GROUP && versions.iter().any(|(own, _)| *own == version)
    })
}

/// A sort key that puts `v2` before `v1` before `v1beta2` before `v1alpha1` before others.
/// (apimachinery `version.CompareKubeAwareVersionStrings`)
#[must_use]
pub fn version_order(name: &str) -> (u8, Reverse<u32>, Reverse<u32>, String) {
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
        names.sort_by_key(|name| version_order(name));
        assert_eq!(names, ["v11", "v2", "v1", "v1beta2", "v1beta1", "v1alpha1", "foo"]);
    }

    #[test]
    fn what_is_built_in_has_a_place() {
        let check = |group, version, expected: Option<(i32, i32)>| {
            let got = built_in(group, version).map(|own| (own.group, own.version));
            assert_eq!(got, expected, "{group}/{version}");
        };
        check("apps", "v1", Some((17_800, 15)));
        check("apps", "v1beta1", Some((17_800, 1)));
        check("example.com", "v1", None);
        assert!(is_registered("", "v1") && is_registered("autoscaling", "v2"));
        assert!(!is_registered(FIRST_GROUP, "v1") && !is_registered("apps", "v1beta1"));
    }
}
