//! What every cluster has from the start: the system's namespaces, the default roles and bindings,
//! the system's priority classes, the first ServiceCIDR.

use access::bootstrap::ensure;
use api::names::GroupResource;
use api::status::ApiResult;
use apiserver::resource::ObjectApi;
use serde_json::json;

/// What a cluster is told of itself.
pub(crate) struct Own<'a> {
    /// The range of Services' addresses.
    pub(crate) service_cidr: &'a str,
    /// `2026-01-02`.
    pub(crate) today: String,
    /// A kubeconfig with the server and its authority, and no user.
    pub(crate) public_kubeconfig: String,
}

/// Makes what is missing, and mends the roles that may be mended.
pub(crate) async fn bootstrap(api: &dyn ObjectApi, own: &Own<'_>) -> ApiResult<()> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        ensure(api, &GroupResource::new("", "namespaces"), object).await?;
    }
    access::bootstrap::rbac(api).await?;
    let classes = GroupResource::new("scheduling.k8s.io", "priorityclasses");
    for (name, value, description) in [
        (
            "system-cluster-critical",
            2_000_000_000,
            "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
        ),
        (
            "system-node-critical",
            2_000_001_000,
            "Used for system critical pods that must not be moved from their current node.",
        ),
    ] {
        let class = json!({
            "apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass",
            "metadata": { "name": name }, "value": value, "description": description,
        });
        ensure(api, &classes, class).await?;
    }
    let cidr = json!({
        "apiVersion": "networking.k8s.io/v1", "kind": "ServiceCIDR",
        "metadata": { "name": "kubernetes" }, "spec": { "cidrs": [own.service_cidr] },
    });
    ensure(api, &GroupResource::new("networking.k8s.io", "servicecidrs"), cidr).await?;
    let maps = GroupResource::new("", "configmaps");
    // Since when uses of legacy tokens are noted: the cleaner of such tokens reads it.
    let tracking = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {
            "name": "kube-apiserver-legacy-service-account-token-tracking",
            "namespace": "kube-system",
        },
        "data": { "since": own.today },
    });
    ensure(api, &maps, tracking).await?;
    // What a new node may read before it trusts anybody; the bootstrap signer signs it.
    let info = json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": { "name": "cluster-info", "namespace": "kube-public" },
        "data": { "kubeconfig": own.public_kubeconfig },
    });
    ensure(api, &maps, info).await
}
