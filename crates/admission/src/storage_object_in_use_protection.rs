//! Volumes and claims carry a finalizer, so that what is in use does not go.

use api::names::GroupResource;
use api::object::{finalizers, set_default};
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use serde_json::json;

/// `StorageObjectInUseProtection`.
pub(crate) struct StorageObjectInUseProtection;

fn finalizer(resource: &GroupResource) -> Option<&'static str> {
    match (&*resource.group, &*resource.resource) {
        ("", "persistentvolumeclaims") => Some("kubernetes.io/pvc-protection"),
        ("", "persistentvolumes") => Some("kubernetes.io/pv-protection"),
        _ => None,
    }
}

#[async_trait]
impl AdmissionPlugin for StorageObjectInUseProtection {
    fn name(&self) -> &'static str {
        "StorageObjectInUseProtection"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create
            && request.subresource.is_none()
            && finalizer(&request.resource).is_some()
    }

    async fn admit(&self, _: &dyn ObjectApi, request: &mut AdmissionRequest<'_>) -> ApiResult<()> {
        let Some(own) = finalizer(&request.resource) else { return Ok(()) };
        let Some(object) = request.object.as_deref_mut() else { return Ok(()) };
        if finalizers(object).any(|finalizer| finalizer == own) {
            return Ok(());
        }
        set_default(object, &["metadata", "finalizers"], json!([]));
        if let Some(list) = object["metadata"]["finalizers"].as_array_mut() {
            list.push(own.into());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};

    #[tokio::test]
    async fn the_finalizer_is_added_once() {
        let claim = json!({"metadata": {"finalizers": ["x"]}});
        let request = Request::new(
            Operation::Create,
            "",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            claim,
        );
        let got = request.admit(&StorageObjectInUseProtection, &Objects::default()).await.unwrap();
        assert_eq!(got["metadata"]["finalizers"], json!(["x", "kubernetes.io/pvc-protection"]));
    }
}
