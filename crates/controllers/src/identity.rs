//! Under whose name a controller acts: its own service account in `kube-system`, whose role says
//! what it needs and nothing more. The names are upstream's, for its default roles are bound to
//! them; they are older than the controllers' names, and differ here and there.

/// The service account of a controller; `None` for the one that makes tokens, which acts as
/// `system:kube-controller-manager` itself, for it cannot wait for a token.
#[must_use]
pub fn account(controller: &str) -> Option<&str> {
    Some(match controller {
        "serviceaccount-token-controller" => return None,
        "daemonset-controller" => "daemon-set-controller",
        "replicationcontroller-controller" => "replication-controller",
        "endpoints-controller" => "endpoint-controller",
        "endpointslice-mirroring-controller" => "endpointslicemirroring-controller",
        "persistentvolumeclaim-protection-controller" => "pvc-protection-controller",
        "persistentvolume-protection-controller" => "pv-protection-controller",
        "persistentvolume-binder-controller" => "persistent-volume-binder",
        "persistentvolume-attach-detach-controller" => "attachdetach-controller",
        "persistentvolume-expander-controller" => "expand-controller",
        "certificatesigningrequest-approving-controller"
        | "certificatesigningrequest-signing-controller"
        | "certificatesigningrequest-cleaner-controller" => "certificate-controller",
        "garbage-collector-controller" => "generic-garbage-collector",
        "serviceaccount-controller" => "service-account-controller",
        "legacy-serviceaccount-token-cleaner-controller" => "legacy-service-account-token-cleaner",
        "root-ca-certificate-publisher-controller" => "root-ca-cert-publisher",
        "node-lifecycle-controller" | "taint-eviction-controller" | "node-ipam-controller" => {
            "node-controller"
        }
        "pod-garbage-collector-controller" => "pod-garbage-collector",
        "bootstrap-signer-controller" => "bootstrap-signer",
        "token-cleaner-controller" => "token-cleaner",
        "horizontal-pod-autoscaler-controller" => "horizontal-pod-autoscaler",
        "service-lb-controller" => "service-controller",
        "resourceclaim-controller" => "resource-claim-controller",
        same => same,
    })
}
