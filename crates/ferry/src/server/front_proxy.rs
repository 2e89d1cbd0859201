//! The front proxy: who this server is to the servers behind it, and which authority says so.
//!
//! The authority is one of its own: whoever holds a certificate of it may say of anybody that it
//! is them, so the authority of users must not be the same.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use apiserver::authn::{CertificateRoles, RequestHeaders};
use base::clock::Timestamp;

use crate::pki::renew::Renewed;
use crate::pki::{Authority, Subject};

/// The name in the front proxy's certificate, as kubeadm writes it.
const NAME: &str = "front-proxy-client";

/// The front proxy's authority and certificate.
pub(crate) struct FrontProxy {
    /// The authority.
    pub(crate) authority: Arc<Authority>,
    /// The certificate that is shown.
    pub(crate) identity: Arc<Renewed>,
}

impl FrontProxy {
    /// Reads the authority `front-proxy-ca` in a folder, or makes it, and takes a certificate.
    pub(crate) fn open(dir: &Path, now: Timestamp) -> Result<Self> {
        let authority = Arc::new(Authority::open(dir, "front-proxy-ca", now)?);
        let subject = Subject { common_name: NAME.to_owned(), ..Subject::default() };
        let identity = Renewed::new(authority.clone(), subject, now)?;
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
