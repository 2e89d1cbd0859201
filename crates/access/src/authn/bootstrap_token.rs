//! Bootstrap tokens, by their Secrets in `kube-system`.

use api::names::GroupResource;
use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use async_trait::async_trait;
use auth::{UserInfo, bootstrap_token};
use base::clock::SharedClock;

use super::LateApi;

/// Takes the caller from a bootstrap token.
pub struct BootstrapTokens {
    /// Wall time.
    pub clock: SharedClock,
    /// Where the Secrets are.
    pub api: LateApi,
}

#[async_trait]
impl Authenticator for BootstrapTokens {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        let token = credentials.bearer_token.and_then(bootstrap_token::parse);
        let (Some((id, secret)), Some(api)) = (token, self.api.get()) else { return Ok(None) };
        let name = format!("{}{id}", bootstrap_token::NAME_PREFIX);
        let secrets = GroupResource::new("", "secrets");
        let stored = match api.get(&secrets, bootstrap_token::NAMESPACE, &name).await {
            Ok(stored) => stored,
            Err(error) if error.code() == 404 => return Ok(None),
            Err(error) => return Err(error),
        };
        let now = self.clock.now().as_second();
        bootstrap_token::user(&stored, id, secret, now).map(Some).map_err(|why| {
            tracing::info!(id, why, "a bootstrap token was refused");
            ApiError::unauthorized()
        })
    }
}
