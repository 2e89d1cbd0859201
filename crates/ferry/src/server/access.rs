//! Who a caller is, and the chains that the server and the reviews share.

use std::sync::{Arc, OnceLock};

use api::names::GroupResource;
use api::object::{is_deleting, uid};
use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use apiserver::authz::Authorizer;
use apiserver::resource::ObjectApi;
use async_trait::async_trait;
use auth::token::{Claims, Reference, TokenAuthority};
use auth::{Attributes, Decision, UserInfo};
use base::clock::SharedClock;

/// The server's objects, for parts that are made before the server.
pub(crate) type LateApi = Arc<OnceLock<Arc<dyn ObjectApi>>>;

/// Takes the caller from a client certificate that TLS has verified.
pub(crate) struct ClientCertificates;

#[async_trait]
impl Authenticator for ClientCertificates {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok(credentials.certificate.map(|subject| {
            let groups: Vec<_> = subject.organizations.iter().map(String::as_str).collect();
            UserInfo::named(&subject.common_name, &groups)
        }))
    }
}

/// Takes the caller from a service-account token.
pub(crate) struct ServiceAccountTokens {
    pub(crate) authority: Arc<TokenAuthority>,
    pub(crate) clock: SharedClock,
    pub(crate) api: LateApi,
}

#[async_trait]
impl Authenticator for ServiceAccountTokens {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        let Some(token) = credentials.bearer_token else { return Ok(None) };
        if !self.authority.is_mine(token) {
            return Ok(None);
        }
        let now = self.clock.now().as_second();
        let claims = self.authority.verify(token, &[], now).map_err(|error| {
            tracing::debug!(%error, "a token was refused");
            ApiError::unauthorized()
        })?;
        if !self.still_stands(&claims).await {
            return Err(ApiError::unauthorized());
        }
        Ok(Some(claims.user()))
    }
}

impl ServiceAccountTokens {
    /// Whether the account, and whatever the token is bound to, is still the one in the claims.
    async fn still_stands(&self, claims: &Claims) -> bool {
        let Some(api) = self.api.get() else { return false };
        let own = &claims.kubernetes;
        let bound = [
            ("serviceaccounts", Some(&own.serviceaccount)),
            ("pods", own.pod.as_ref()),
            ("secrets", own.secret.as_ref()),
        ];
        for (plural, reference) in bound {
            if let Some(Reference { name, uid: expected }) = reference {
                let resource = GroupResource::new("", plural);
                let found = api.get(&resource, &own.namespace, name).await;
                // A pod that is going may still use its token while it shuts down.
                let stands = found.is_ok_and(|object| {
                    uid(&object) == expected && (plural == "pods" || !is_deleting(&object))
                });
                if !stands {
                    return false;
                }
            }
        }
        true
    }
}

/// The first authenticator that knows the caller decides.
pub(crate) struct AuthenticatorChain(pub(crate) Vec<Arc<dyn Authenticator>>);

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

/// The first authorizer that allows or denies decides.
pub(crate) struct AuthorizerChain(pub(crate) Vec<Arc<dyn Authorizer>>);

#[async_trait]
impl Authorizer for AuthorizerChain {
    async fn authorize(&self, attributes: &Attributes) -> Decision {
        let mut reasons = Vec::new();
        for authorizer in &self.0 {
            match authorizer.authorize(attributes).await {
                Decision::NoOpinion(reason) if reason.is_empty() => {}
                Decision::NoOpinion(reason) => reasons.push(reason),
                decided => return decided,
            }
        }
        Decision::NoOpinion(reasons.join(", "))
    }
}
