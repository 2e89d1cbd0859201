//! Signs what a CertificateSigningRequest asks for: its key, its subject and its names, with the
//! usages of the request and never as an authority.
//!
//! The certificate is put together here, because subjects are taken over byte for byte: a user in
//! two groups has two organizations, which `rcgen` would make one.

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};
use base::clock::{SharedClock, SignedDuration};
use base::rng::SharedRng;
use rcgen::SigningKey as _;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::ParsedExtension;
use x509_parser::oid_registry;
use x509_parser::prelude::FromDer as _;

use super::Authority;
use super::der::{named_bits, oid, sequence, tag, time, value};

/// How long certificates live when nobody asks for less. (`--cluster-signing-duration`)
const LIFE: SignedDuration = SignedDuration::from_hours(365 * 24);
/// The shortest that may be asked for.
const LIFE_MIN: SignedDuration = SignedDuration::from_mins(10);
/// For machines whose clocks differ.
const BACKDATE: SignedDuration = SignedDuration::from_mins(5);

/// Signs with the cluster's authority.
pub(crate) struct RequestSigner {
    pub(crate) authority: Arc<Authority>,
    pub(crate) clock: SharedClock,
    pub(crate) rng: SharedRng,
}

impl controllers::Signer for RequestSigner {
    fn sign(
        &self,
        _signer: &str,
        request_pem: &[u8],
        usages: &[String],
        expiration_seconds: Option<i32>,
    ) -> Result<Vec<u8>, String> {
        self.signed(request_pem, usages, expiration_seconds)
            .map(String::into_bytes)
            .map_err(|error| format!("{error:#}"))
    }
}

impl RequestSigner {
    fn signed(&self, request: &[u8], usages: &[String], seconds: Option<i32>) -> Result<String> {
        let (_, pem) = x509_parser::pem::parse_x509_pem(request)
            .map_err(|_| anyhow::anyhow!("unable to parse csr: it is no PEM"))?;
        let (_, request) =
            X509CertificationRequest::from_der(&pem.contents).context("unable to parse csr")?;
        request.verify_signature().context("the request's own signature does not verify")?;
        let now = self.clock.now();
        let asked = seconds.map_or(LIFE, |seconds| SignedDuration::from_secs(seconds.into()));
        let life = asked.clamp(LIFE_MIN, LIFE);
        let authority = self.authority.current();
        let until = now.saturating_add(life)?.min(authority.until);
        let mut serial = self.rng.bytes16();
        // Positive, and of full length.
        serial[0] = serial[0] & 0x7f | 0x40;
        let info = &request.certification_request_info;
        let algorithm = algorithm_of(authority.issuer.key().algorithm())?;
        let to_be_signed = sequence(&[
            &value(tag::CONTEXT_0, &value(tag::INTEGER, &[2])),
            &value(tag::INTEGER, &serial),
            &algorithm,
            &authority.subject,
            &sequence(&[&time(now.saturating_sub(BACKDATE)?), &time(until)]),
            info.subject.as_raw(),
            info.subject_pki.raw,
            &value(
                tag::CONTEXT_3,
                &value(tag::SEQUENCE, &extensions(&request, usages, &authority.key_id)?),
            ),
        ]);
        let signature = authority.issuer.key().sign(&to_be_signed)?;
        let signature = value(tag::BIT_STRING, &[&[0], &signature[..]].concat());
        let certificate = sequence(&[&to_be_signed, &algorithm, &signature]);
        Ok(super::pem("CERTIFICATE", &certificate))
    }
}

/// The signature algorithm of the authority's key.
fn algorithm_of(algorithm: &'static rcgen::SignatureAlgorithm) -> Result<Vec<u8>> {
    if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 {
        Ok(sequence(&[&oid(&[1, 2, 840, 10045, 4, 3, 2])]))
    } else if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
        Ok(sequence(&[&oid(&[1, 2, 840, 10045, 4, 3, 3])]))
    } else if *algorithm == rcgen::PKCS_ED25519 {
        Ok(sequence(&[&oid(&[1, 3, 101, 112])]))
    } else if *algorithm == rcgen::PKCS_RSA_SHA256 {
        let null = value(tag::NULL, &[]);
        Ok(sequence(&[&oid(&[1, 2, 840, 113_549, 1, 1, 11]), &null]))
    } else {
        bail!("the cluster's authority has a key of a kind that signs no requests")
    }
}

fn extensions(
    request: &X509CertificationRequest<'_>,
    usages: &[String],
    key_id: &[u8],
) -> Result<Vec<u8>> {
    let (bits, extended) = usage_bits(usages)?;
    let extension = |arcs: &[u64], critical: bool, content: &[u8]| {
        let flag = if critical { value(tag::BOOLEAN, &[0xff]) } else { Vec::new() };
        sequence(&[&oid(arcs), &flag, &value(tag::OCTET_STRING, content)])
    };
    let mut all = Vec::new();
    if bits.contains(&true) {
        all.extend(extension(&[2, 5, 29, 15], true, &named_bits(&bits)));
    }
    if !extended.is_empty() {
        let oids: Vec<u8> = extended.iter().flat_map(|arcs| oid(arcs)).collect();
        all.extend(extension(&[2, 5, 29, 37], false, &value(tag::SEQUENCE, &oids)));
    }
    // No authority, whatever the request says of itself.
    all.extend(extension(&[2, 5, 29, 19], true, &sequence(&[])));
    let identifier = sequence(&[&value(tag::IMPLICIT_0, key_id)]);
    all.extend(extension(&[2, 5, 29, 35], false, &identifier));
    if let Some((content, critical)) = alternative_names(request) {
        all.extend(extension(&[2, 5, 29, 17], critical, content));
    }
    Ok(all)
}

/// The names that a request asks for besides its subject, as it wrote them.
fn alternative_names<'a>(request: &'a X509CertificationRequest<'_>) -> Option<(&'a [u8], bool)> {
    let asked =
        request.certification_request_info.iter_attributes().find_map(
            |attribute| match attribute.parsed_attribute() {
                x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(asked) => {
                    Some(&asked.extensions)
                }
                _ => None,
            },
        )?;
    asked
        .iter()
        .find(|one| one.oid == oid_registry::OID_X509_EXT_SUBJECT_ALT_NAME)
        .filter(|one| matches!(one.parsed_extension(), ParsedExtension::SubjectAlternativeName(_)))
        .map(|one| (one.value, one.critical))
}

type Usages = ([bool; 9], Vec<Vec<u64>>);

/// The bits of the key usage, and the identifiers of the extended one.
fn usage_bits(usages: &[String]) -> Result<Usages> {
    let mut bits = [false; 9];
    let mut extended = Vec::new();
    let purpose = |last: u64| vec![1, 3, 6, 1, 5, 5, 7, 3, last];
    for usage in usages {
        let bit = match usage.as_str() {
            "signing" | "digital signature" => Some(0),
            "content commitment" => Some(1),
            "key encipherment" => Some(2),
            "data encipherment" => Some(3),
            "key agreement" => Some(4),
            "cert sign" => Some(5),
            "crl sign" => Some(6),
            "encipher only" => Some(7),
            "decipher only" => Some(8),
            _ => None,
        };
        if let Some(bit) = bit {
            bits[bit] = true;
            continue;
        }
        extended.push(match usage.as_str() {
            "any" => vec![2, 5, 29, 37, 0],
            "server auth" => purpose(1),
            "client auth" => purpose(2),
            "code signing" => purpose(3),
            "email protection" | "s/mime" => purpose(4),
            "ipsec end system" => purpose(5),
            "ipsec tunnel" => purpose(6),
            "ipsec user" => purpose(7),
            "timestamping" => purpose(8),
            "ocsp signing" => purpose(9),
            "microsoft sgc" => vec![1, 3, 6, 1, 4, 1, 311, 10, 3, 3],
            "netscape sgc" => vec![2, 16, 840, 1, 113_730, 4, 1],
            unknown => bail!("unrecognized usage values: [{unknown}]"),
        });
    }
    Ok((bits, extended))
}

#[cfg(test)]
mod tests;
