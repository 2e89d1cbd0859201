//! Claims and Ingresses without a class get the class that is marked as the default.
//!
//! The two plugins differ in names only: which objects, which classes, which annotation.

use api::Value;
use api::names::GroupResource;
use api::object::{annotation, at, name, set, str_at};
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

/// `DefaultStorageClass`.
pub(crate) struct DefaultStorageClass;

/// `DefaultIngressClass`.
pub(crate) struct DefaultIngressClass;

/// The class marked as default; of several, the newest, then the first by name.
async fn default_class(
    api: &dyn ObjectApi,
    classes: &GroupResource,
    marks: &[&str],
) -> ApiResult<Option<String>> {
    let all = api.list(classes, "").await?;
    let is_marked =
        |class: &Value| marks.iter().any(|mark| annotation(class, mark) == Some("true"));
    let marked = all.iter().filter(|class| is_marked(class));
    let created = |class: &Value| str_at(class, &["metadata", "creationTimestamp"]).to_owned();
    let best = marked.max_by(|a, b| created(a).cmp(&created(b)).then_with(|| name(b).cmp(name(a))));
    Ok(best.map(|class| name(class).to_owned()))
}

#[async_trait]
impl AdmissionPlugin for DefaultStorageClass {
    fn name(&self) -> &'static str {
        "DefaultStorageClass"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.creates("", "persistentvolumeclaims")
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let Some(claim) = request.object.as_deref_mut() else { return Ok(()) };
        // An empty name is a choice: no class.
        let old_form = annotation(claim, "volume.beta.kubernetes.io/storage-class").is_some();
        if at(claim, &["spec", "storageClassName"]).is_some() || old_form {
            return Ok(());
        }
        let classes = GroupResource::new("storage.k8s.io", "storageclasses");
        let marks = [
            "storageclass.kubernetes.io/is-default-class",
            "storageclass.beta.kubernetes.io/is-default-class",
        ];
        if let Some(class) = default_class(api, &classes, &marks).await? {
            set(claim, &["spec", "storageClassName"], class);
        }
        Ok(())
    }
}

#[async_trait]
impl AdmissionPlugin for DefaultIngressClass {
    fn name(&self) -> &'static str {
        "DefaultIngressClass"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.creates("networking.k8s.io", "ingresses")
    }

    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let Some(ingress) = request.object.as_deref_mut() else { return Ok(()) };
        let old_form = annotation(ingress, "kubernetes.io/ingress.class").is_some();
        if at(ingress, &["spec", "ingressClassName"]).is_some() || old_form {
            return Ok(());
        }
        let classes = GroupResource::new("networking.k8s.io", "ingressclasses");
        let marks = ["ingressclass.kubernetes.io/is-default-class"];
        if let Some(class) = default_class(api, &classes, &marks).await? {
            set(ingress, &["spec", "ingressClassName"], class);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use apiserver::admission::Operation;
    use serde_json::json;

    fn class(name: &str, created: &str, is_default: &str) -> Value {
        json!({"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {
            "name": name, "creationTimestamp": created,
            "annotations": {"storageclass.kubernetes.io/is-default-class": is_default}}})
    }

    async fn admit(spec: Value) -> Value {
        let api = Objects::of([
            class("old", "2025-01-01T00:00:00Z", "true"),
            class("new", "2026-01-01T00:00:00Z", "true"),
            class("newest", "2026-06-01T00:00:00Z", "false"),
        ]);
        let claim = json!({ "spec": spec });
        let request = Request::new(
            Operation::Create,
            "",
            "persistentvolumeclaims",
            "PersistentVolumeClaim",
            claim,
        );
        request.admit(&DefaultStorageClass, &api).await.unwrap()["spec"]["storageClassName"].take()
    }

    #[tokio::test]
    async fn the_newest_default_is_taken_unless_the_claim_chooses() {
        assert_eq!(admit(json!({})).await, "new");
        assert_eq!(admit(json!({"storageClassName": ""})).await, "");
        assert_eq!(admit(json!({"storageClassName": "x"})).await, "x");
    }
}
