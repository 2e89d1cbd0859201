//! Only a signer's own may put a certificate, or its failure, into a request: verb `sign` on
//! `signers`.

use std::sync::Arc;

use api::object::{at, str_at};
use api::status::ApiResult;
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::authz::Authorizer;
use apiserver::resource::ObjectApi;
use async_trait::async_trait;

use crate::signer_access::require;

/// `CertificateSigning`.
pub(crate) struct CertificateSigning(pub(crate) Arc<dyn Authorizer>);

#[async_trait]
impl AdmissionPlugin for CertificateSigning {
    fn name(&self) -> &'static str {
        "CertificateSigning"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Update
            && request.subresource == Some("status")
            && &*request.resource.resource == "certificatesigningrequests"
    }

    async fn validate(
        &self,
        _: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let (Some(new), Some(old)) = (request.object.as_deref(), request.old) else {
            return Ok(());
        };
        let same = |field: &str| at(new, &["status", field]) == at(old, &["status", field]);
        if same("certificate") && same("conditions") {
            return Ok(());
        }
        let signer = str_at(old, &["spec", "signerName"]);
        require(&*self.0, request, "sign", signer).await
    }
}
