//! OpenID Connect: ID tokens of an issuer outside the cluster.
//!
//! The issuer's keys are fetched when the first token comes, and again when a token names one that
//! is not known; a flood of such tokens fetches them no more often than [`REFETCH`] allows.

mod fetch;

use std::sync::Arc;
use std::time::Duration;

use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use async_trait::async_trait;
use auth::UserInfo;
use auth::jwks::{JwtError, KeySet};
use auth::oidc::Config;
use auth::token::issuer_of;
use base::clock::SharedClock;
use serde_json::Value;
use tokio::sync::Mutex;
use tokio::time::Instant;

pub use fetch::{FetchError, Fetcher};

/// How often an unknown key may make the keys be fetched anew.
const REFETCH: Duration = Duration::from_secs(10);

/// Takes the caller from an ID token.
pub struct OidcTokens {
    config: Config,
    fetcher: Fetcher,
    clock: SharedClock,
    keys: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    keys: Arc<KeySet>,
    fetched: Option<Instant>,
}

impl OidcTokens {
    /// Tokens of the issuer that `config` names, whose documents `fetcher` gets.
    #[must_use]
    pub fn new(config: Config, fetcher: Fetcher, clock: SharedClock) -> Self {
        Self { config, fetcher, clock, keys: Mutex::default() }
    }

    async fn user(&self, token: &str) -> Result<UserInfo, String> {
        let verify = |why: JwtError| format!("oidc: verify token: {why}");
        let known = self.keys.lock().await.keys.clone();
        let claims = match known.verify(token, &self.config.algorithms) {
            Err(JwtError::Signature) => {
                let newer = self.newer_than(&known).await?;
                newer.verify(token, &self.config.algorithms).map_err(verify)?
            }
            verified => verified.map_err(verify)?,
        };
        self.config.user(&claims, self.clock.now().as_second())
    }

    /// The issuer's keys, fetched unless somebody else just did. The lock is held meanwhile, so that
    /// many tokens wait for one fetch.
    async fn newer_than(&self, seen: &Arc<KeySet>) -> Result<Arc<KeySet>, String> {
        let mut known = self.keys.lock().await;
        let recent = known.fetched.is_some_and(|at| at.elapsed() < REFETCH);
        if recent || !Arc::ptr_eq(&known.keys, seen) {
            return Ok(known.keys.clone());
        }
        known.fetched = Some(Instant::now());
        let keys = self.fetch().await.map_err(|error| {
            let issuer = &self.config.issuer;
            tracing::warn!(issuer, %error, "the keys of the OpenID Connect issuer cannot be fetched");
            format!("oidc: authenticator for issuer {issuer:?} is not initialized")
        })?;
        known.keys = Arc::new(keys);
        Ok(known.keys.clone())
    }

    async fn fetch(&self) -> Result<KeySet, FetchError> {
        let issuer = self.config.issuer.trim_end_matches('/');
        let url = format!("{issuer}/.well-known/openid-configuration");
        let document = self.fetcher.get(&url).await?;
        let wrong = |why: String| FetchError::Document { url: url.clone(), why };
        let document: Value =
            serde_json::from_slice(&document).map_err(|error| wrong(error.to_string()))?;
        let named = document.get("issuer").and_then(Value::as_str).unwrap_or_default();
        // Another's document would name another's keys. (OpenID Connect Discovery, 4.3)
        if named != self.config.issuer {
            let wanted = &self.config.issuer;
            return Err(wrong(format!("it is of {named:?}, and not of {wanted:?}")));
        }
        let uri = document.get("jwks_uri").and_then(Value::as_str);
        let uri = uri.ok_or_else(|| wrong("it names no jwks_uri".to_owned()))?;
        let set = self.fetcher.get(uri).await?;
        KeySet::parse(&set).map_err(|why| FetchError::Document { url: uri.to_owned(), why })
    }
}

#[async_trait]
impl Authenticator for OidcTokens {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        let Some(token) = credentials.bearer_token else { return Ok(None) };
        if issuer_of(token).as_deref() != Some(self.config.issuer.as_str()) {
            return Ok(None);
        }
        self.user(token).await.map(Some).map_err(|why| {
            tracing::debug!(why, "an ID token was refused");
            ApiError::unauthorized()
        })
    }
}

#[cfg(test)]
mod tests;
