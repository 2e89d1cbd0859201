//! A claim grows only when it is bound and its class allows it.

use api::Value;
use api::names::GroupResource;
use api::object::{annotation, at, str_at};
use api::quantity::Quantity;
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

/// `PersistentVolumeClaimResize`.
pub(crate) struct PersistentVolumeClaimResize;

#[async_trait]
impl AdmissionPlugin for PersistentVolumeClaimResize {
    fn name(&self) -> &'static str {
        "PersistentVolumeClaimResize"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.updates("", "persistentvolumeclaims")
    }

    async fn validate(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let (Some(new), Some(old)) = (request.object.as_deref(), request.old) else {
            return Ok(());
        };
        if size(new) <= size(old) {
            return Ok(());
        }
        let why = if str_at(old, &["status", "phase"]) != "Bound" {
            "Only bound persistent volume claims can be expanded"
        } else if !allows_expansion(api, new, old).await? {
            "only dynamically provisioned pvc can be resized and the storageclass that provisions \
             the pvc must support resize"
        } else {
            return Ok(());
        };
        Err(ApiError::forbidden(&request.resource, request.name, why))
    }
}

fn size(claim: &Value) -> Option<Quantity> {
    str_at(claim, &["spec", "resources", "requests", "storage"]).parse().ok()
}

/// The class, in its old form or its new one.
fn class(claim: &Value) -> &str {
    annotation(claim, "volume.beta.kubernetes.io/storage-class")
        .unwrap_or_else(|| str_at(claim, &["spec", "storageClassName"]))
}

async fn allows_expansion(api: &dyn ObjectApi, new: &Value, old: &Value) -> ApiResult<bool> {
    if class(new).is_empty() || class(new) != class(old) {
        return Ok(false);
    }
    let classes = GroupResource::new("storage.k8s.io", "storageclasses");
    match api.get(&classes, "", class(new)).await {
        Ok(found) => Ok(at(&found, &["allowVolumeExpansion"]) == Some(&true.into())),
        Err(error) if error.code() == 404 => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use apiserver::admission::Operation;
    use serde_json::json;

    async fn check(class: &str, phase: &str, size: &str, expected: &str) {
        let api = Objects::of([
            json!({"kind": "StorageClass", "metadata": {"name": "fast"}, "allowVolumeExpansion": true}),
            json!({"kind": "StorageClass", "metadata": {"name": "slow"}}),
        ]);
        let claim = |size: &str| {
            json!({"metadata": {"name": "c"}, "status": {"phase": phase}, "spec": {
                "storageClassName": class, "resources": {"requests": {"storage": size}}}})
        };
        let (plural, kind) = ("persistentvolumeclaims", "PersistentVolumeClaim");
        let mut request = Request::new(Operation::Update, "", plural, kind, claim(size));
        request.old = claim("1Gi");
        let got = request.validate(&PersistentVolumeClaimResize, &api).await;
        let text = got.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(text.ends_with(expected) && text.is_empty() == expected.is_empty(), "{text}");
    }

    #[tokio::test]
    async fn only_a_bound_claim_of_a_class_that_allows_it_grows() {
        check("fast", "Bound", "2Gi", "").await;
        check("slow", "Bound", "1Gi", "").await;
        check("slow", "Bound", "2Gi", "must support resize").await;
        check("gone", "Bound", "2Gi", "must support resize").await;
        check("fast", "Pending", "2Gi", "Only bound persistent volume claims can be expanded")
            .await;
    }
}
