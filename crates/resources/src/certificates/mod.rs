//! `certificates.k8s.io`: requests for certificates, and roots of trust.

pub mod certificate_signing_request;
pub mod cluster_trust_bundle;
pub mod pod_certificate_request;

use api::field::ErrorList;
use api::validate;

use crate::check::required;
use crate::cursor::Field;

/// `example.com/signer`: a domain with at least two parts, and a path of subdomains.
pub(crate) fn signer_name(field: Field<'_>, errors: &mut ErrorList) {
    if !required(field, errors) {
        return;
    }
    let text = "must be a fully qualified domain and path of the form 'example.com/signer-name'";
    let Some((domain, path)) = field.str().split_once('/').filter(|(_, path)| !path.contains('/'))
    else {
        errors.push(field.invalid(text));
        return;
    };
    for found in validate::dns1123_subdomain(domain) {
        errors.push(field.invalid(format!("validating label {domain:?}: {found}")));
    }
    if domain.split('.').count() < 2 {
        errors
            .push(field.invalid("should be a domain with at least two segments separated by dots"));
    }
    for segment in path.split('.') {
        for found in validate::dns1123_label(segment) {
            errors.push(field.invalid(format!("validating label {segment:?}: {found}")));
        }
    }
    if field.str().len() > 571 {
        errors.push(field.too_long(571));
    }
}

/// The DER blocks of a PEM text with one label; `None` when something else is in it.
pub(crate) fn pem_blocks(text: &str, label: &str) -> Option<Vec<Vec<u8>>> {
    use base64::Engine;
    let (begin, end) = (format!("-----BEGIN {label}-----"), format!("-----END {label}-----"));
    let mut blocks = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let body = rest.strip_prefix(begin.as_str())?;
        let (body, tail) = body.split_once(end.as_str())?;
        let packed: String = body.chars().filter(|one| !one.is_whitespace()).collect();
        blocks.push(base64::engine::general_purpose::STANDARD.decode(packed).ok()?);
        rest = tail.trim();
    }
    Some(blocks)
}
