//! What the built-in kinds need of a server around them, in its simplest form.

use std::sync::Arc;

use api::status::{ApiError, ApiResult};
use apiserver::authn::{Authenticator, Credentials};
use apiserver::authz::AlwaysAllow;
use apiserver::resource::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use auth::UserInfo;
use auth::token::{TokenAuthority, generate_key};
use base::rng::SharedRng;
use resources::{Deps, NodeTransport, Target};

/// The network that cluster IPs come from.
pub const SERVICE_NETWORK: &str = "10.96.0.0/12";

/// What the built-in kinds need: everything is allowed, nobody is known, no node is reached.
///
/// # Panics
/// When the system gives no randomness for a key.
#[must_use]
pub fn deps(rng: &SharedRng) -> Deps {
    let key = generate_key().expect("the system gives randomness");
    let tokens = TokenAuthority::new("https://kubernetes.default.svc", &["api"], &key, &[])
        .expect("a key that was just made is readable");
    Deps {
        clock: base::clock::system(),
        rng: rng.clone(),
        service_networks: vec![SERVICE_NETWORK.parse().expect("a constant network")],
        node_ports: 30_000..=32_767,
        nodes: Arc::new(Nothing),
        tokens: Arc::new(tokens),
        authenticator: Arc::new(Nothing),
        authorizer: Arc::new(AlwaysAllow),
        policy: Arc::new(AlwaysAllow),
    }
}

struct Nothing;

#[async_trait]
impl NodeTransport for Nothing {
    async fn send(&self, _target: &Target, _request: HttpRequest) -> ApiResult<HttpResponse> {
        Err(ApiError::unavailable("there are no nodes here"))
    }
}

#[async_trait]
impl Authenticator for Nothing {
    async fn authenticate(&self, _credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        Ok(None)
    }
}
