//! Only those whom a signer trusts to approve its requests may: verb `approve` on `signers`.

use std::sync::Arc;

use api::object::str_at;
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::authz::Authorizer;
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

use crate::signer_access::require;

/// `CertificateApproval`.
pub(crate) struct CertificateApproval(pub(crate) Arc<dyn Authorizer>);

#[async_trait]
impl AdmissionPlugin for CertificateApproval {
    fn name(&self) -> &'static str {
        "CertificateApproval"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Update
            && request.subresource == Some("approval")
            && &*request.resource.resource == "certificatesigningrequests"
    }

    async fn validate(
        &self,
        _: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let signer = request.old.map(|old| str_at(old, &["spec", "signerName"]));
        let signer = signer.unwrap_or_default();
        require(&*self.0, request, "approve", signer).await
    }
}
