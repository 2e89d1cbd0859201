//! CertificateSigningRequests: approved when a kubelet asks for its own, signed, and taken away.

pub(crate) mod approve;
pub(crate) mod clean;
pub(crate) mod recognize;
pub(crate) mod sign;

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;

/// A condition of a request that is true.
pub(crate) fn has(csr: &CertificateSigningRequest, kind: &str) -> bool {
    let conditions = csr.status.iter().flat_map(|status| status.conditions.iter().flatten());
    conditions.into_iter().any(|condition| condition.type_ == kind && condition.status != "False")
}

/// Whether a request has its certificate.
pub(crate) fn is_issued(csr: &CertificateSigningRequest) -> bool {
    csr.status
        .as_ref()
        .and_then(|status| status.certificate.as_ref())
        .is_some_and(|c| !c.0.is_empty())
}
