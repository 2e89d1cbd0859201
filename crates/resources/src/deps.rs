//! What kinds need of the rest of the server: clock, addresses, tokens, authorization, a way to
//! the nodes. The composition fills it in; nothing here knows how.

use std::ops::RangeInclusive;
use std::sync::Arc;

use api::status::ApiResult;
use apiserver::authn::Authenticator;
use apiserver::authz::{Authorizer, PolicySource};
use apiserver::resource::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use auth::token::TokenAuthority;
use base::clock::SharedClock;
use base::rng::SharedRng;
use ipnet::IpNet;

/// What kinds need of the rest of the server.
#[derive(Clone)]
pub struct Deps {
    /// The server's clock.
    pub clock: SharedClock,
    /// The server's randomness: which free address or port is taken.
    pub rng: SharedRng,
    /// The networks that cluster IPs come from, one an address family, the primary one first.
    pub service_networks: Vec<IpNet>,
    /// The ports that node ports come from, 30000–32767 unless told otherwise.
    pub node_ports: RangeInclusive<u16>,
    /// The way to kubelets, pods and services.
    pub nodes: Arc<dyn NodeTransport>,
    /// Makes and verifies service-account tokens.
    pub tokens: Arc<TokenAuthority>,
    /// Who sent a token: the server's own chain (TokenReview asks it).
    pub authenticator: Arc<dyn Authenticator>,
    /// Who may do what: the server's own chain (access reviews ask it).
    pub authorizer: Arc<dyn Authorizer>,
    /// The RBAC rules in force (SelfSubjectRulesReview lists them).
    pub policy: Arc<dyn PolicySource>,
}

/// Where a proxied request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// A node's kubelet, over TLS with the API server's client certificate. The kubelet's serving
    /// certificate is verified for this host.
    Kubelet {
        /// The node's name.
        node: String,
        /// The node's address.
        host: String,
        /// Its kubelet's port, 10250 as a rule.
        port: u16,
    },
    /// A pod's or service's address, with any certificate.
    Address {
        /// `http` or `https`.
        tls: bool,
        /// An IP address.
        host: String,
        /// The port.
        port: u16,
    },
}

/// Sends requests out of the server: to kubelets, pods and services.
#[async_trait]
pub trait NodeTransport: Send + Sync {
    /// Sends `request`, whose URI holds path and query only, and answers the response with its
    /// body streaming. When the other side answers 101, the transport has joined both upgraded
    /// connections (taking the client's from the request's extensions) before it answers.
    ///
    /// # Errors
    /// 503 when the other side cannot be reached, 500 when it breaks off.
    async fn send(&self, target: &Target, request: HttpRequest) -> ApiResult<HttpResponse>;
}
