//! Removed versions whose messages are today's, field by field: old clients that speak protobuf.
//!
//! Left out are the kinds that had other fields then, such as Deployments before `apps/v1beta2`, the
//! Ingresses of `extensions`, `autoscaling/v2beta1`, `rbac/v1alpha1` and definitions of custom
//! resources: no description of those messages is kept, and their clients are answered in JSON.

/// A removed version, the version of today, and the kinds that did not change.
type Row = (&'static str, &'static str, &'static [&'static str]);

const SAME: &[Row] = &[
    ("extensions/v1beta1", "apps/v1", &["ReplicaSet"]),
    ("extensions/v1beta1", "networking.k8s.io/v1", &["NetworkPolicy"]),
    ("apps/v1beta1", "apps/v1", &["StatefulSet", "ControllerRevision"]),
    (
        "apps/v1beta2",
        "apps/v1",
        &["Deployment", "DaemonSet", "ReplicaSet", "StatefulSet", "ControllerRevision"],
    ),
    ("networking.k8s.io/v1beta1", "networking.k8s.io/v1", &["IngressClass"]),
    ("batch/v1beta1", "batch/v1", &["CronJob"]),
    ("policy/v1beta1", "policy/v1", &["PodDisruptionBudget", "Eviction"]),
    ("autoscaling/v2beta2", "autoscaling/v2", &["HorizontalPodAutoscaler"]),
    (
        "rbac.authorization.k8s.io/v1beta1",
        "rbac.authorization.k8s.io/v1",
        &["Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding"],
    ),
    (
        "admissionregistration.k8s.io/v1beta1",
        "admissionregistration.k8s.io/v1",
        &["MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"],
    ),
    (
        "storage.k8s.io/v1beta1",
        "storage.k8s.io/v1",
        &["StorageClass", "VolumeAttachment", "CSIDriver", "CSINode", "CSIStorageCapacity"],
    ),
    ("scheduling.k8s.io/v1beta1", "scheduling.k8s.io/v1", &["PriorityClass"]),
    ("coordination.k8s.io/v1beta1", "coordination.k8s.io/v1", &["Lease"]),
    ("events.k8s.io/v1beta1", "events.k8s.io/v1", &["Event"]),
    ("node.k8s.io/v1beta1", "node.k8s.io/v1", &["RuntimeClass"]),
    ("certificates.k8s.io/v1beta1", "certificates.k8s.io/v1", &["CertificateSigningRequest"]),
    ("authentication.k8s.io/v1beta1", "authentication.k8s.io/v1", &["TokenReview"]),
    (
        "authorization.k8s.io/v1beta1",
        "authorization.k8s.io/v1",
        &["SelfSubjectAccessReview", "SelfSubjectRulesReview"],
    ),
    ("apiregistration.k8s.io/v1beta1", "apiregistration.k8s.io/v1", &["APIService"]),
];

/// Today's version whose fields a removed version's kind, or list, has.
pub(super) fn today(api_version: &str, kind: &str) -> Option<&'static str> {
    let single = kind.strip_suffix("List").unwrap_or(kind);
    let row = SAME.iter().find(|(old, _, kinds)| *old == api_version && kinds.contains(&single));
    row.map(|(_, today, _)| *today)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::is_supported;

    #[test]
    fn every_row_has_todays_message_and_its_lists() {
        for (old, now, kinds) in SAME {
            for kind in *kinds {
                assert!(is_supported(now, kind), "{now} {kind}");
                assert!(is_supported(old, kind), "{old} {kind}");
                let list = format!("{kind}List");
                assert_eq!(is_supported(old, &list), is_supported(now, &list), "{old} {list}");
            }
        }
    }

    #[test]
    fn what_had_other_fields_has_no_message() {
        for (old, kind) in [
            ("apps/v1beta1", "Deployment"),
            ("extensions/v1beta1", "DaemonSet"),
            ("extensions/v1beta1", "Ingress"),
            ("discovery.k8s.io/v1beta1", "EndpointSlice"),
            ("rbac.authorization.k8s.io/v1alpha1", "Role"),
        ] {
            assert!(!is_supported(old, kind), "{old} {kind}");
        }
    }
}
