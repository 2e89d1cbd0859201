//! Authentication: who sent this request.

mod request_header;

use api::status::ApiResult;
use async_trait::async_trait;
use auth::UserInfo;

pub use request_header::{CertificateRoles, RequestHeaders};

/// What a request brings to say who sent it.
#[derive(Debug, Default)]
pub struct Credentials<'a> {
    /// The client certificate's subject, verified by TLS against the client CA: common name and
    /// organizations.
    pub certificate: Option<&'a CertificateSubject>,
    /// The subject of a front proxy's certificate, verified against the authority of those: what
    /// its headers say of the caller may be believed.
    pub front_proxy: Option<&'a CertificateSubject>,
    /// `Authorization: Bearer …`.
    pub bearer_token: Option<&'a str>,
    /// All headers, for the front proxy's.
    pub headers: Option<&'a http::HeaderMap>,
}

/// The subject of a verified client certificate. The TLS acceptor puts it into the request's
/// extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateSubject {
    /// The user's name.
    pub common_name: String,
    /// The user's groups.
    pub organizations: Vec<String>,
    /// The certificate's SHA-256, by which what was done with it is told.
    pub sha256: String,
}

/// The subject of a front proxy's certificate, in the request's extensions.
#[derive(Debug, Clone)]
pub(crate) struct FrontProxySubject(pub(crate) CertificateSubject);

/// One way to authenticate. The chain takes the first that knows the caller.
#[async_trait]
pub trait Authenticator: Send + Sync {
    /// The caller; `None` when these credentials are not of this authenticator's kind.
    ///
    /// # Errors
    /// 401 when they are of its kind and wrong.
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>>;
}
