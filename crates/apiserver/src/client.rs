//! The server as a service: for axum, for tower, for `kube::Client` in the same process.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use auth::UserInfo;
use axum::body::Body;
use axum::response::Response;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::Request;

use crate::chain;
use crate::server::{Core, Server};

/// The server as a tower service. With an identity it skips authentication, and nothing else.
#[derive(Clone)]
pub struct ServerService {
    core: Arc<Core>,
    user: Option<UserInfo>,
    /// What a client in the process calls itself, unless it does.
    agent: Option<&'static str>,
}

impl Server {
    /// The server as an axum router.
    pub fn router(&self) -> axum::Router {
        axum::Router::new().fallback_service(self.service())
    }

    /// The server as a service that authenticates its callers.
    #[must_use]
    pub fn service(&self) -> ServerService {
        ServerService { core: self.core.clone(), user: None, agent: None }
    }

    /// The server for a caller inside the process: `kube::Client::new(service, "default")`.
    #[must_use]
    pub fn client_service(&self, user: UserInfo) -> ServerService {
        ServerService { core: self.core.clone(), user: Some(user), agent: None }
    }

    /// The same, with the name that its changes are noted under when it sends none.
    #[must_use]
    pub fn client_service_as(&self, user: UserInfo, agent: &'static str) -> ServerService {
        ServerService { core: self.core.clone(), user: Some(user), agent: Some(agent) }
    }
}

impl<B> tower::Service<Request<B>> for ServerService
where
    B: http_body::Body<Data = Bytes> + Send + 'static,
    B::Error: Into<axum::BoxError>,
{
    type Response = Response;
    type Error = Infallible;
    type Future = BoxFuture<'static, Result<Response, Infallible>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let mut request = request.map(Body::new);
        if let Some(user) = &self.user {
            request.extensions_mut().insert(user.clone());
        }
        if let Some(agent) = self.agent {
            request
                .headers_mut()
                .entry(http::header::USER_AGENT)
                .or_insert(http::HeaderValue::from_static(agent));
        }
        let core = self.core.clone();
        Box::pin(async move { Ok(chain::serve(core, request).await) })
    }
}
