//! Who a caller is: one file a kind of credentials.

mod bootstrap_token;
pub mod oidc;
mod service_account;
mod static_token;

use std::sync::{Arc, OnceLock};

use api::status::ApiResult;
use apiserver::authn::{Authenticator, Credentials};
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use auth::UserInfo;

pub use bootstrap_token::BootstrapTokens;
pub use service_account::ServiceAccountTokens;
pub use static_token::{StaticTokens, TokenFileError};

/// The server's objects, for authenticators that are made before the server.
pub type LateApi = Arc<OnceLock<Arc<dyn ObjectApi>>>;

/// Takes the caller from a client certificate that TLS has verified.
pub struct ClientCertificates;

#[async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        let named = credentials.certificate.filter(|subject| !subject.common_name.is_empty());
        Ok(named.map(|subject| {
            let groups: Vec<_> = subject.organizations.iter().map(String::as_str).collect();
            let mut user = UserInfo::named(&subject.common_name, &groups);
            let key = "authentication.kubernetes.io/credential-id".to_owned();
            user.extra.insert(key, vec![format!("X509SHA256={}", subject.sha256)]);
            user
        }))
    }
}

/// The first authenticator that knows the caller decides.
pub struct AuthenticatorChain(pub Vec<Arc<dyn Authenticator>>);

#[async_trait]
impl Authenticator for AuthenticatorChain {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        for authenticator in &self.0 {
            if let Some(user) = authenticator.authenticate(credentials).await? {
                return Ok(Some(user));
            }
        }
        Ok(None)
    }
}
