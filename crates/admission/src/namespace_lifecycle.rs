//! Nothing comes into a namespace that is not there or is going; the system's namespaces stay.

use api::names::GroupResource;
use api::object::{is_deleting, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

/// `NamespaceLifecycle`.
pub(crate) struct NamespaceLifecycle;

const IMMORTAL: &[&str] = &["default", "kube-system", "kube-public"];

#[async_trait]
impl AdmissionPlugin for NamespaceLifecycle {
    fn name(&self) -> &'static str {
        "NamespaceLifecycle"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        is_namespace(request) || !request.namespace.is_empty()
    }

    /// Refuses before any other plugin looks: what they say of an object in a namespace that is not
    /// there would only mislead.
    async fn admit(
        &self,
        api: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        if is_namespace(request) {
            return refuse_immortal(request);
        }
        // Deleting goes on in a namespace that is going, and reviews are not stored in any.
        let is_review = &*request.resource.group == "authorization.k8s.io";
        if matches!(request.operation, Operation::Delete | Operation::Connect) || is_review {
            return Ok(());
        }
        let namespaces = GroupResource::new("", "namespaces");
        let namespace = api.get(&namespaces, "", request.namespace).await?;
        let is_going =
            is_deleting(&namespace) || str_at(&namespace, &["status", "phase"]) == "Terminating";
        if request.operation != Operation::Create || !is_going {
            return Ok(());
        }
        let name = request.namespace;
        let why = format!(
            "unable to create new content in namespace {name} because it is being terminated"
        );
        Err(ApiError::forbidden(&request.resource, request.name, &why).cause(
            "NamespaceTerminating",
            format!("namespace {name} is being terminated"),
            "metadata.namespace",
        ))
    }
}

fn is_namespace(request: &AdmissionRequest<'_>) -> bool {
    request.resource.group.is_empty() && &*request.resource.resource == "namespaces"
}

fn refuse_immortal(request: &AdmissionRequest<'_>) -> ApiResult<()> {
    if request.operation == Operation::Delete && IMMORTAL.contains(&request.name) {
        let why = "this namespace may not be deleted";
        return Err(ApiError::forbidden(&request.resource, request.name, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Objects, Request};
    use serde_json::json;

    async fn check(operation: Operation, namespace: &str, expected: Option<u16>) {
        let api = Objects::of([
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "here"}}),
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "going",
                "deletionTimestamp": "2026-01-01T00:00:00Z"}}),
        ]);
        let mut request = Request::new(operation, "", "pods", "Pod", json!({}));
        request.namespace = namespace.to_owned();
        let got = request.admit(&NamespaceLifecycle, &api).await;
        assert_eq!(got.err().map(|error| error.code()), expected, "{operation:?} in {namespace}");
    }

    #[tokio::test]
    async fn only_living_namespaces_take_new_objects() {
        check(Operation::Create, "here", None).await;
        check(Operation::Create, "going", Some(403)).await;
        check(Operation::Create, "nowhere", Some(404)).await;
        check(Operation::Update, "going", None).await;
        check(Operation::Delete, "going", None).await;
    }

    #[tokio::test]
    async fn the_systems_namespaces_stay() {
        for (name, code) in [("default", Some(403)), ("mine", None)] {
            let mut request =
                Request::new(Operation::Delete, "", "namespaces", "Namespace", json!(null));
            request.name = name.to_owned();
            let got = request.admit(&NamespaceLifecycle, &Objects::default()).await;
            assert_eq!(got.err().map(|error| error.code()), code);
        }
    }
}
