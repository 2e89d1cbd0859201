//! What every cluster has from the start: the system's namespaces, the default roles and bindings,
//! the system's priority classes, the first ServiceCIDR.

use api::Value;
use api::names::GroupResource;
use api::object::{annotation, name, namespace};
use api::status::ApiResult;
use apiserver::resource::ObjectApi;
use serde_json::json;

const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// Makes what is missing, and mends the roles that may be mended.
pub(crate) async fn bootstrap(api: &dyn ObjectApi, service_cidr: &str) -> ApiResult<()> {
    for name in ["default", "kube-system", "kube-public", "kube-node-lease"] {
        let object =
            json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        ensure(api, &GroupResource::new("", "namespaces"), object).await?;
    }
    let rbac = |plural: &str| GroupResource::new("rbac.authorization.k8s.io", plural);
    for role in auth::bootstrap::roles() {
        let plural = if namespace(&role).is_empty() { "clusterroles" } else { "roles" };
        reconcile(api, &rbac(plural), role, &["rules", "aggregationRule"]).await?;
    }
    for binding in auth::bootstrap::bindings() {
        let plural =
            if namespace(&binding).is_empty() { "clusterrolebindings" } else { "rolebindings" };
        reconcile(api, &rbac(plural), binding, &["subjects"]).await?;
    }
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
        "metadata": { "name": "kubernetes" }, "spec": { "cidrs": [service_cidr] },
    });
    ensure(api, &GroupResource::new("networking.k8s.io", "servicecidrs"), cidr).await
}

/// Creates an object unless one of its name is there.
async fn ensure(api: &dyn ObjectApi, resource: &GroupResource, object: Value) -> ApiResult<()> {
    let found = api.get(resource, namespace(&object), name(&object)).await;
    match found {
        Ok(_) => Ok(()),
        Err(error) if error.code() == 404 => match api.create(resource, object, false).await {
            // Another server of the same cluster was quicker.
            Err(error) if error.code() == 409 => Ok(()),
            created => created.map(drop),
        },
        Err(error) => Err(error),
    }
}

/// Creates an object, or brings these fields of it back to what they should be, unless an
/// annotation forbids it.
async fn reconcile(
    api: &dyn ObjectApi,
    resource: &GroupResource,
    wanted: Value,
    fields: &[&str],
) -> ApiResult<()> {
    let (ns, own) = (namespace(&wanted).to_owned(), name(&wanted).to_owned());
    let Ok(current) = api.get(resource, &ns, &own).await else {
        return ensure(api, resource, wanted).await;
    };
    // A role that others add up to is the aggregation controller's.
    let is_aggregated = wanted.get("aggregationRule").is_some();
    let differs = fields
        .iter()
        .filter(|field| !(is_aggregated && **field == "rules"))
        .any(|field| wanted.get(field).is_some() && current.get(field) != wanted.get(field));
    if !differs || annotation(&current, AUTOUPDATE) == Some("false") {
        return Ok(());
    }
    let change = |object: &mut Value| {
        for field in fields {
            if let Some(value) = wanted.get(field) {
                object[*field] = value.clone();
            }
        }
        Ok(())
    };
    api.modify(resource, None, &ns, &own, false, &change).await.map(drop)
}
