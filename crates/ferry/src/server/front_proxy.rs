//! The front proxy: who this server is to the servers behind it, and which authority says so.
//!
//! The authority is one of its own: whoever holds a certificate of it may say of anybody that it
//! is them, so the authority of users must not be the same.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use apiserver::authn::{CertificateRoles, RequestHeaders};
use base::clock::Timestamp;
use parking_lot::RwLock;
use rustls::SignatureScheme;
use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;

use crate::pki::{Authority, Leaf, Subject};

/// The name in the front proxy's certificate, as kubeadm writes it.
const NAME: &str = "front-proxy-client";

/// The front proxy's authority and certificate.
pub(crate) struct FrontProxy {
    /// The authority.
    pub(crate) authority: Authority,
    /// The certificate that is shown.
    pub(crate) identity: Arc<Identity>,
}

impl FrontProxy {
    /// Reads the authority `front-proxy-ca` in a folder, or makes it, and takes a certificate.
    pub(crate) fn open(dir: &Path, now: Timestamp) -> Result<Self> {
        let authority = Authority::open(dir, "front-proxy-ca", now)?;
        let identity = Arc::new(Identity(RwLock::new(certified(&take(&authority, now)?)?)));
        Ok(Self { authority, identity })
    }

    /// Whose client certificates are users', and whose are front proxies'.
    pub(crate) fn roles(&self, users: &Authority) -> Result<Arc<CertificateRoles>> {
        let roles = CertificateRoles::new(users.roots()?, self.authority.roots()?);
        Ok(Arc::new(roles.context("the roles of client certificates")?))
    }
}

/// How front proxies say who a caller is, and which of them may.
pub(crate) fn request_headers() -> RequestHeaders {
    RequestHeaders { allowed_names: vec![NAME.to_owned()], ..RequestHeaders::default() }
}

fn take(authority: &Authority, now: Timestamp) -> Result<Leaf> {
    let subject = Subject { common_name: NAME.to_owned(), ..Subject::default() };
    authority.leaf(&subject, now)
}

fn certified(leaf: &Leaf) -> Result<Arc<CertifiedKey>> {
    let (chain, key) = leaf.rustls()?;
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key).context("the front proxy's key")?;
    Ok(Arc::new(CertifiedKey::new(chain, key)))
}

/// The certificate of the moment: each connection asks for it, so that a newer one may take its
/// place.
#[derive(Debug)]
pub(crate) struct Identity(RwLock<Arc<CertifiedKey>>);

impl ResolvesClientCert for Identity {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().clone())
    }

    fn has_certs(&self) -> bool {
        true
    }
}
