//! Who may say who a caller is: the cluster's own certificates and tokens, and whom flags name.

use std::path::Path;
use std::sync::Arc;

use access::authn::oidc::{Fetcher, OidcTokens};
use access::authn::{
    BootstrapTokens, ClientCertificates, LateApi, ServiceAccountTokens, StaticTokens,
};
use anyhow::{Context as _, Result, ensure};
use apiserver::authn::Authenticator;
use auth::token::TokenAuthority;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use super::Process;
use crate::server::front_proxy::request_headers;

/// Where distributions keep the roots that the machine trusts.
const MACHINE_ROOTS: &[&str] = &[
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/cert.pem",
];

/// The authenticators of a server, in the order in which they are asked.
pub(super) fn authenticators(
    process: &Process,
    tokens: &Arc<TokenAuthority>,
    api: &LateApi,
) -> Result<Vec<Arc<dyn Authenticator>>> {
    let options = &process.options.auth;
    let clock = || process.clock.clone();
    let mut all: Vec<Arc<dyn Authenticator>> =
        vec![Arc::new(request_headers()), Arc::new(ClientCertificates)];
    if let Some(path) = &options.token_file {
        let text = std::fs::read_to_string(path)
            .with_context(|| format!("cannot read --token-auth-file {}", path.display()))?;
        let tokens = StaticTokens::parse(&text)
            .with_context(|| format!("--token-auth-file {}", path.display()))?;
        all.push(Arc::new(tokens));
    }
    all.push(Arc::new(ServiceAccountTokens {
        authority: tokens.clone(),
        clock: clock(),
        api: api.clone(),
    }));
    all.push(Arc::new(BootstrapTokens { clock: clock(), api: api.clone() }));
    if let Some(config) = &options.oidc {
        let fetcher = Fetcher::new(roots(options.oidc_ca_file.as_deref())?);
        all.push(Arc::new(OidcTokens::new(config.clone(), fetcher, clock())));
    }
    Ok(all)
}

/// The roots in a file, or the machine's.
fn roots(file: Option<&Path>) -> Result<RootCertStore> {
    let path = match file {
        Some(path) => path,
        None => MACHINE_ROOTS
            .iter()
            .map(Path::new)
            .find(|path| path.exists())
            .context("this machine has no file of trusted roots; give --oidc-ca-file")?,
    };
    let shown = path.display();
    let text = std::fs::read(path).with_context(|| format!("cannot read the roots in {shown}"))?;
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_slice_iter(&text)
        .collect::<Result<Vec<_>, _>>()
        .with_context(|| format!("cannot read the roots in {shown}"))?;
    let (added, _) = roots.add_parsable_certificates(certificates);
    ensure!(added > 0, "there is no certificate in {shown}");
    Ok(roots)
}
