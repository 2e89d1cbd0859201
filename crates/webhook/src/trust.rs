//! Whose certificates are believed.

use std::sync::{Arc, OnceLock};

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::verify_server_name;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};

use crate::anyone::Anyone;
use crate::error::CallError;

/// Whose certificates are believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trust<'a> {
    /// The system's authorities.
    System,
    /// Those in this PEM bundle, and no other.
    Bundle(&'a [u8]),
    /// Everybody: what answers is not verified.
    Anyone,
}

/// How TLS is spoken to a server, without a certificate of one's own.
///
/// # Errors
/// The bundle holds no certificate.
pub fn client_config(trust: Trust<'_>) -> Result<ClientConfig, CallError> {
    let unusable =
        |why: String| CallError::config(format!("unable to load root certificates: {why}"));
    let builder = ClientConfig::builder();
    let (roots, own) = match trust {
        Trust::Anyone => {
            let verifier = Arc::new(Anyone::default());
            return Ok(builder
                .dangerous()
                .with_custom_certificate_verifier(verifier)
                .with_no_client_auth());
        }
        Trust::System => (system_roots(), Vec::new()),
        Trust::Bundle(pem) => {
            let own: Vec<_> = CertificateDer::pem_slice_iter(pem)
                .collect::<Result<_, _>>()
                .map_err(|error| unusable(error.to_string()))?;
            let mut roots = RootCertStore::empty();
            for certificate in &own {
                roots.add(certificate.clone()).map_err(|error| unusable(error.to_string()))?;
            }
            if roots.is_empty() {
                return Err(unusable("unable to parse bytes as PEM block".to_owned()));
            }
            (Arc::new(roots), own)
        }
    };
    let mut config = if roots.is_empty() {
        // A system without authorities believes nobody.
        builder.with_root_certificates(roots).with_no_client_auth()
    } else {
        let inner = WebPkiServerVerifier::builder(roots)
            .build()
            .map_err(|error| unusable(error.to_string()))?;
        let verifier = Arc::new(Verifier { inner, own });
        builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
    };
    // Upstream asks webhooks over HTTP/1.1 too: one connection of HTTP/2 would go to one endpoint
    // of a Service for good.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's authorities, read once.
fn system_roots() -> Arc<RootCertStore> {
    static ROOTS: OnceLock<Arc<RootCertStore>> = OnceLock::new();
    let read = || {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        Arc::new(roots)
    };
    ROOTS.get_or_init(read).clone()
}

/// webpki's verifier, which in addition believes a certificate that is itself in the bundle, even
/// when it says that it is an authority: `openssl req -x509` makes such ones, Go takes them, and
/// webpki alone would not.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
    own: Vec<CertificateDer<'static>>,
}

impl Verifier {
    fn is_own(
        &self,
        certificate: &CertificateDer<'_>,
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> bool {
        if !self.own.iter().any(|own| **own == **certificate) {
            return false;
        }
        let named = ParsedCertificate::try_from(certificate)
            .and_then(|parsed| verify_server_name(&parsed, name));
        named.is_ok() && is_valid_at(certificate, now)
    }
}

fn is_valid_at(certificate: &CertificateDer<'_>, now: UnixTime) -> bool {
    let Ok((_, parsed)) = x509_parser::parse_x509_certificate(certificate) else { return false };
    let Ok(now) = i64::try_from(now.as_secs()) else { return false };
    let validity = parsed.validity();
    (validity.not_before.timestamp()..=validity.not_after.timestamp()).contains(&now)
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.inner.verify_server_cert(certificate, intermediates, name, ocsp, now) {
            Err(_) if self.is_own(certificate, name, now) => Ok(ServerCertVerified::assertion()),
            verified => verified,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}
