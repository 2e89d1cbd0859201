//! Service-account tokens, bound ones and those of the older kind.

use std::sync::Arc;

use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use async_trait::async_trait;
use auth::UserInfo;
use auth::token::TokenAuthority;
use base::clock::SharedClock;
use resources::authentication::bound;

use super::LateApi;

/// Takes the caller from a service-account token.
pub struct ServiceAccountTokens {
    /// Verifies them.
    pub authority: Arc<TokenAuthority>,
    /// Wall time.
    pub clock: SharedClock,
    /// Where the accounts, and what tokens are bound to, are.
    pub api: LateApi,
}

#[async_trait]
impl Authenticator for ServiceAccountTokens {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        let Some(token) = credentials.bearer_token else { return Ok(None) };
        let found = if self.authority.is_mine(token) {
            self.bound(token).await
        } else if self.authority.is_legacy(token) {
            self.legacy(token).await
        } else {
            return Ok(None);
        };
        found.map(Some).map_err(|why| {
            tracing::debug!(why, "a service-account token was refused");
            ApiError::unauthorized()
        })
    }
}

impl ServiceAccountTokens {
    async fn bound(&self, token: &str) -> Result<UserInfo, String> {
        let now = self.clock.now();
        let claims = self.authority.verify(token, &[], now.as_second());
        let claims = claims.map_err(|error| error.to_string())?;
        let api = self.api.get().ok_or("the server is not there yet")?;
        bound::still_stands(&**api, &claims, now).await?;
        Ok(claims.user())
    }

    async fn legacy(&self, token: &str) -> Result<UserInfo, String> {
        let claims = self.authority.verify_legacy(token).map_err(|error| error.to_string())?;
        let api = self.api.get().ok_or("the server is not there yet")?;
        bound::legacy_still_stands(&**api, &claims, token, self.clock.now()).await?;
        Ok(claims.user())
    }
}
