//! What Kubernetes' own signers sign: pure checks of a request, before approval and before signing.
//! Texts are upstream's, and end up in the request's `Failed` condition.
//! (Kubernetes `pkg/apis/certificates/helpers.go`, `pkg/controller/certificates/signer`)

use k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;

pub(crate) const API_CLIENT: &str = "kubernetes.io/kube-apiserver-client";
pub(crate) const KUBELET_CLIENT: &str = "kubernetes.io/kube-apiserver-client-kubelet";
pub(crate) const KUBELET_SERVING: &str = "kubernetes.io/kubelet-serving";
pub(crate) const LEGACY: &str = "kubernetes.io/legacy-unknown";

/// Who a request says it is for.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Subject {
    pub(crate) common_name: String,
    organizations: Vec<String>,
    dns_names: usize,
    addresses: usize,
    emails: usize,
    uris: usize,
}

impl Subject {
    /// Reads a request.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub(crate) fn of(csr: &CertificateSigningRequest) -> Result<Self, String> {
        let unreadable = |why: String| format!("unable to parse csr {:?}: {why}", name(csr));
        let (_, pem) = x509_parser::pem::parse_x509_pem(&csr.spec.request.0)
            .map_err(|error| unreadable(error.to_string()))?;
        let (_, request) = X509CertificationRequest::from_der(&pem.contents)
            .map_err(|error| unreadable(error.to_string()))?;
        let subject = &request.certification_request_info.subject;
        let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
            value.as_str().unwrap_or_default().to_owned()
        };
        let mut found = Self {
            common_name: subject.iter_common_name().next().map(text).unwrap_or_default(),
            organizations: subject.iter_organization().map(text).collect(),
            ..Self::default()
        };
        for extension in request.requested_extensions().into_iter().flatten() {
            let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
            for name in &names.general_names {
                match name {
                    GeneralName::DNSName(_) => found.dns_names += 1,
                    GeneralName::IPAddress(_) => found.addresses += 1,
                    GeneralName::RFC822Name(_) => found.emails += 1,
                    GeneralName::URI(_) => found.uris += 1,
                    _ => {}
                }
            }
        }
        Ok(found)
    }
}

fn name(csr: &CertificateSigningRequest) -> &str {
    csr.metadata.name.as_deref().unwrap_or_default()
}

/// Whether a signer of Kubernetes' own signs this subject with these usages.
///
/// # Errors
/// Why not.
pub(crate) fn check(signer: &str, subject: &Subject, usages: &[String]) -> Result<(), String> {
    match signer {
        API_CLIENT => api_client(usages),
        KUBELET_CLIENT => kubelet_client(subject, usages),
        KUBELET_SERVING => kubelet_serving(subject, usages),
        // Whoever approves a request for it answers for it.
        LEGACY => Ok(()),
        other => Err(format!("{other} is no signer of Kubernetes' own")),
    }
}

fn api_client(usages: &[String]) -> Result<(), String> {
    let strange = usages.iter().find(|usage| {
        !matches!(usage.as_str(), "digital signature" | "key encipherment" | "client auth")
    });
    if let Some(strange) = strange {
        return Err(format!("invalid usage for client certificate: {strange}"));
    }
    if !usages.iter().any(|usage| usage == "client auth") {
        return Err("missing required usage for client certificate: client auth".to_owned());
    }
    Ok(())
}

fn of_a_node(subject: &Subject) -> Result<(), String> {
    if subject.organizations != ["system:nodes"] {
        return Err("subject organization is not system:nodes".to_owned());
    }
    if !subject.common_name.starts_with("system:node:") {
        return Err("subject common name does not begin with system:node:".to_owned());
    }
    Ok(())
}

fn kubelet_client(subject: &Subject, usages: &[String]) -> Result<(), String> {
    if subject.dns_names > 0 {
        return Err("DNS subjectAltNames are not allowed".to_owned());
    }
    if subject.emails > 0 {
        return Err("Email subjectAltNames are not allowed".to_owned());
    }
    if subject.addresses > 0 {
        return Err("IP subjectAltNames are not allowed".to_owned());
    }
    if subject.uris > 0 {
        return Err("URI subjectAltNames are not allowed".to_owned());
    }
    of_a_node(subject)?;
    exactly(usages, "client auth")
}

fn kubelet_serving(subject: &Subject, usages: &[String]) -> Result<(), String> {
    if subject.dns_names + subject.addresses == 0 {
        return Err("DNS or IP subjectAltName is required".to_owned());
    }
    if subject.emails > 0 {
        return Err("Email subjectAltNames are not allowed".to_owned());
    }
    if subject.uris > 0 {
        return Err("URI subjectAltNames are not allowed".to_owned());
    }
    of_a_node(subject)?;
    exactly(usages, "server auth")
}

/// Digital signature and the purpose, and key encipherment for keys that can do it.
fn exactly(usages: &[String], purpose: &str) -> Result<(), String> {
    let mut given: Vec<&str> =
        usages.iter().map(String::as_str).filter(|usage| *usage != "key encipherment").collect();
    given.sort_unstable();
    let mut wanted = ["digital signature", purpose];
    wanted.sort_unstable();
    if given == wanted {
        return Ok(());
    }
    Err(format!(
        "usages did not match {{\"digital signature\",\"key encipherment\",\"{purpose}\"}} or {{\"digital signature\",\"{purpose}\"}}"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node() -> Subject {
        Subject {
            common_name: "system:node:n1".into(),
            organizations: vec!["system:nodes".into()],
            ..Subject::default()
        }
    }

    fn verdict(signer: &str, subject: &Subject, usages: &str) -> String {
        let usages: Vec<String> = usages.split(", ").map(str::to_owned).collect();
        check(signer, subject, &usages).map_or_else(|why| why, |()| "signs".to_owned())
    }

    #[test]
    fn each_signer_signs_its_own_kind_only() {
        let client = "digital signature, key encipherment, client auth";
        let server = "digital signature, server auth";
        let anyone = Subject { common_name: "ann".into(), ..Subject::default() };
        assert_eq!(verdict(API_CLIENT, &anyone, client), "signs");
        assert_eq!(
            verdict(API_CLIENT, &anyone, "server auth"),
            "invalid usage for client certificate: server auth"
        );
        assert_eq!(
            verdict(API_CLIENT, &anyone, "digital signature"),
            "missing required usage for client certificate: client auth"
        );
        assert_eq!(verdict(KUBELET_CLIENT, &node(), client), "signs");
        assert_eq!(verdict(KUBELET_CLIENT, &node(), "digital signature, client auth"), "signs");
        assert!(verdict(KUBELET_CLIENT, &node(), server).starts_with("usages did not match"));
        assert_eq!(
            verdict(KUBELET_CLIENT, &anyone, client),
            "subject organization is not system:nodes"
        );
        let named = Subject { dns_names: 1, ..node() };
        assert_eq!(verdict(KUBELET_CLIENT, &named, client), "DNS subjectAltNames are not allowed");
        assert_eq!(verdict(KUBELET_SERVING, &named, server), "signs");
        assert_eq!(
            verdict(KUBELET_SERVING, &node(), server),
            "DNS or IP subjectAltName is required"
        );
        let other = Subject { common_name: "kubelet".into(), ..named };
        assert_eq!(
            verdict(KUBELET_SERVING, &other, server),
            "subject common name does not begin with system:node:"
        );
        assert_eq!(verdict(LEGACY, &anyone, "any"), "signs");
    }
}
