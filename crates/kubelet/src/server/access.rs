//! Who asks the kubelet, and whether they may.
//!
//! Upstream's rule: a path is a subresource of the node (`nodes/stats`, `nodes/metrics`, `nodes/log`,
//! and since 1.36 `nodes/pods`, `nodes/healthz`, `nodes/configz`); whoever may `nodes/proxy` may all.

use std::sync::Arc;

use auth::{Attributes, ResourceAttributes, Target, UserInfo};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::plain;
use crate::seams::ServerAccess;

/// Checks each request.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) access: Arc<dyn ServerAccess>,
    pub(crate) node: String,
}

/// The subject of a client certificate that TLS has verified: user and groups.
pub(crate) fn subject(certificate: &CertificateDer<'_>) -> Option<UserInfo> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?.to_owned();
    let groups: Vec<&str> =
        subject.iter_organization().filter_map(|one| one.as_str().ok()).collect();
    Some(UserInfo::named(&name, &groups))
}

/// Lets a request through, or answers 401 or 403.
pub(crate) async fn check(State(gate): State<Gate>, request: Request, next: Next) -> Response {
    let certificate = request.extensions().get::<Option<UserInfo>>().cloned().flatten();
    let user = match (certificate, bearer(&request)) {
        (Some(user), _) => Some(user),
        (None, Some(token)) => gate.access.user_of_token(&token).await,
        (None, None) => None,
    };
    let Some(user) = user else { return plain(StatusCode::UNAUTHORIZED, "Unauthorized") };
    let verb = verb(&request);
    let mut tried = Vec::new();
    for subresource in subresources(request.uri().path()) {
        let attributes = Attributes {
            user: user.clone(),
            target: Target::Resource(ResourceAttributes {
                verb: verb.to_owned(),
                version: "v1".to_owned(),
                resource: "nodes".to_owned(),
                subresource: (*subresource).to_owned(),
                name: gate.node.clone(),
                ..ResourceAttributes::default()
            }),
        };
        if gate.access.allowed(&attributes).await {
            return next.run(request).await;
        }
        tried.push(*subresource);
    }
    let text = format!(
        "Forbidden (user={}, verb={verb}, resource=nodes, subresource(s)=[{}])",
        user.username,
        tried.join(" ")
    );
    plain(StatusCode::FORBIDDEN, text)
}

fn bearer(request: &Request) -> Option<String> {
    let value = request.headers().get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim().to_owned())
}

fn verb(request: &Request) -> &'static str {
    // A stream that is opened by GET does what a POST does.
    if request.headers().contains_key(header::UPGRADE) {
        return "create";
    }
    match *request.method() {
        Method::POST => "create",
        Method::PUT => "update",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "get",
    }
}

fn subresources(path: &str) -> &'static [&'static str] {
    let first = path.trim_start_matches('/').split('/').next().unwrap_or_default();
    match first {
        "stats" => &["stats"],
        "metrics" => &["metrics"],
        "logs" => &["log"],
        "healthz" => &["healthz", "proxy"],
        "pods" | "runningpods" => &["pods", "proxy"],
        "configz" => &["configz", "proxy"],
        _ => &["proxy"],
    }
}
