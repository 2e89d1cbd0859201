//! Nobody asks for a client certificate of `system:masters`: it could not be taken back.

use api::object::str_at;
use api::status::{ApiError, ApiResult};
use apiserver::admission::{AdmissionPlugin, AdmissionRequest, Operation};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use auth::groups;

use crate::signer_access::subject_of;

const SIGNER: &str = "kubernetes.io/kube-apiserver-client";

/// `CertificateSubjectRestriction`.
pub(crate) struct CertificateSubjectRestriction;

#[async_trait]
impl AdmissionPlugin for CertificateSubjectRestriction {
    fn name(&self) -> &'static str {
        "CertificateSubjectRestriction"
    }

    fn handles(&self, request: &AdmissionRequest<'_>) -> bool {
        request.operation == Operation::Create
            && request.subresource.is_none()
            && &*request.resource.resource == "certificatesigningrequests"
    }

    async fn validate(
        &self,
        _: &dyn ObjectApi,
        request: &mut AdmissionRequest<'_>,
    ) -> ApiResult<()> {
        let object = request.object.as_deref();
        if object.is_none_or(|object| str_at(object, &["spec", "signerName"]) != SIGNER) {
            return Ok(());
        }
        let refuse = |why: &str| ApiError::forbidden(&request.resource, request.name, why);
        let (_, organizations) =
            subject_of(request).map_err(|why| refuse(&format!("failed to parse CSR: {why}")))?;
        if organizations.iter().any(|one| one == groups::MASTERS) {
            let group = groups::MASTERS;
            return Err(refuse(&format!(
                "use of {SIGNER} signer with {group} group is not allowed"
            )));
        }
        Ok(())
    }
}
