//! Whether a caller may approve, sign or attest for a signer, for the plugins that ask.
//! (Kubernetes `plugin/pkg/admission/certificates/util.go`)

use api::status::{ApiError, ApiResult};
use apiserver::admission::AdmissionRequest;
use apiserver::authz::Authorizer;
use auth::{Attributes, Decision, ResourceAttributes, Target, UserInfo};
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

/// By the signer's own name, or by `DOMAIN/*`.
pub(crate) async fn may(
    authorizer: &dyn Authorizer,
    user: &UserInfo,
    verb: &str,
    signer: &str,
) -> bool {
    let domain = signer.split('/').next().unwrap_or_default();
    for name in [signer.to_owned(), format!("{domain}/*")] {
        let target = Target::Resource(ResourceAttributes {
            verb: verb.to_owned(),
            group: "certificates.k8s.io".to_owned(),
            version: "*".to_owned(),
            resource: "signers".to_owned(),
            name,
            ..ResourceAttributes::default()
        });
        let attributes = Attributes { user: user.clone(), target };
        if matches!(authorizer.authorize(&attributes).await, Decision::Allow(_)) {
            return true;
        }
    }
    false
}

/// Refuses a caller who may not `approve` or `sign` the requests of a signer.
///
/// # Errors
/// `Forbidden`.
pub(crate) async fn require(
    authorizer: &dyn Authorizer,
    request: &AdmissionRequest<'_>,
    verb: &str,
    signer: &str,
) -> ApiResult<()> {
    if may(authorizer, request.user, verb, signer).await {
        return Ok(());
    }
    let why = format!("user not permitted to {verb} requests with signerName {signer:?}");
    Err(ApiError::forbidden(&request.resource, request.name, &why))
}

/// The common name and the organizations that a request for a certificate names.
///
/// # Errors
/// Why it cannot be read.
pub(crate) fn subject_of(request: &AdmissionRequest<'_>) -> Result<(String, Vec<String>), String> {
    use base64::Engine;
    let object = request.object.as_deref().ok_or("there is no request")?;
    let encoded = api::object::str_at(object, &["spec", "request"]);
    let text = base64::engine::general_purpose::STANDARD
        .decode(encoded)
        .map_err(|error| error.to_string())?;
    let (_, pem) = x509_parser::pem::parse_x509_pem(&text)
        .map_err(|_| "PEM block type must be CERTIFICATE REQUEST".to_owned())?;
    let (_, parsed) =
        X509CertificationRequest::from_der(&pem.contents).map_err(|error| error.to_string())?;
    let subject = &parsed.certification_request_info.subject;
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        value.as_str().unwrap_or_default().to_owned()
    };
    let name = subject.iter_common_name().next().map(text).unwrap_or_default();
    Ok((name, subject.iter_organization().map(text).collect()))
}
