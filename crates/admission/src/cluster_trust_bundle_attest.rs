//! Only those whom a signer trusts say what its roots are: verb `attest` on `signers`.

use std::sync::Arc;

use api::object::str_at;
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::authz::Authorizer;
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

use crate::rbac_escalation::only_for_garbage_collection;
use crate::signer_access::may;

/// `ClusterTrustBundleAttest`.
pub(crate) struct ClusterTrustBundleAttest(pub(crate) Arc<dyn Authorizer>);

#[async_trait]
impl AdmissionPlugin for ClusterTrustBundleAttest {
    fn name(&self) -> &'static str {
        "ClusterTrustBundleAttest"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        matches!(request.operation, Operation::Create | Operation::Update)
            && request.subresource.is_none()
            && &*request.resource.resource == "clustertrustbundles"
    }

    async fn validate(
        &self,
        _: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let Some(new) = request.object.as_deref() else { return Ok(()) };
        let signer = str_at(new, &["spec", "signerName"]);
        let unchanged = request.old.is_some_and(|old| only_for_garbage_collection(new, old));
        if signer.is_empty() || unchanged || may(&*self.0, request.user, "attest", signer).await {
            return Ok(());
        }
        let why = format!("user not permitted to attest for signerName {signer:?}");
        Err(ApiError::forbidden(&request.resource, request.name, &why))
    }
}
