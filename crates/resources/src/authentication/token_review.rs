//! TokenReview: whose token this is, and whether it is meant for these audiences.

use std::sync::Arc;

use api::Value;
use api::object::{list_at, str_at};
use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use apiserver::resource::{ObjectApi, Resource, VirtualResource};
use async_trait::async_trait;
use auth::UserInfo;
use auth::token::TokenAuthority;
use base::clock::SharedClock;
use serde_json::json;

use super::bound::still_stands;
use crate::deps::Deps;
use crate::kind::Kind;

/// The kind.
#[must_use]
pub fn kind(deps: &Deps) -> Arc<dyn Resource> {
    let reviewer = Reviewer {
        tokens: Arc::clone(&deps.tokens),
        others: Arc::clone(&deps.authenticator),
        clock: Arc::clone(&deps.clock),
    };
    Kind::of("authentication.k8s.io", "tokenreviews").answered(reviewer).plain()
}

struct Reviewer {
    tokens: Arc<TokenAuthority>,
    others: Arc<dyn Authenticator>,
    clock: SharedClock,
}

#[async_trait]
impl VirtualResource for Reviewer {
    async fn create(
        &self,
        api: &dyn ObjectApi,
        _user: &UserInfo,
        _namespace: &str,
        mut review: Value,
    ) -> ApiResult<Value> {
        let token = str_at(&review, &["spec", "token"]).to_owned();
        if token.is_empty() {
            let text = "token is required for TokenReview in authentication";
            return Err(ApiError::bad_request(text));
        }
        let audiences: Vec<String> = list_at(&review, &["spec", "audiences"])
            .iter()
            .filter_map(|audience| audience.as_str().map(str::to_owned))
            .collect();
        review["status"] = match self.judge(api, &token, &audiences).await {
            Ok((user, audiences)) => {
                let mut status = json!({"authenticated": true, "user": user});
                if !audiences.is_empty() {
                    status["audiences"] = audiences.into();
                }
                status
            }
            Err(why) => json!({"user": {}, "error": why}),
        };
        Ok(review)
    }
}

impl Reviewer {
    /// The user and the audiences that fit, or why not.
    async fn judge(
        &self,
        api: &dyn ObjectApi,
        token: &str,
        audiences: &[String],
    ) -> Result<(UserInfo, Vec<String>), String> {
        let wrong = |why: String| format!("[invalid bearer token, {why}]");
        if self.tokens.is_mine(token) {
            let now = self.clock.now();
            let claims = self
                .tokens
                .verify(token, audiences, now.as_second())
                .map_err(|error| wrong(error.to_string()))?;
            still_stands(api, &claims, now).await.map_err(wrong)?;
            let asked = if audiences.is_empty() { self.tokens.audiences() } else { audiences };
            let fitting = claims.aud.iter().filter(|one| asked.contains(one)).cloned().collect();
            return Ok((claims.user(), fitting));
        }
        let own = self.tokens.audiences();
        if !audiences.is_empty() && !audiences.iter().any(|audience| own.contains(audience)) {
            return Err("invalid bearer token".to_owned());
        }
        let credentials = Credentials { bearer_token: Some(token), ..Credentials::default() };
        match self.others.authenticate(&credentials).await {
            Ok(Some(user)) => {
                let fitting = audiences.iter().filter(|one| own.contains(one)).cloned().collect();
                Ok((user, fitting))
            }
            Ok(None) => Err("invalid bearer token".to_owned()),
            Err(error) if error.code() == 401 => Err("invalid bearer token".to_owned()),
            Err(error) => Err(wrong(error.to_string())),
        }
    }
}
