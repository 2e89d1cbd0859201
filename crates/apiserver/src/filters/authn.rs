//! Who sends a request.

use api::status::{ApiError, ApiResult};
use auth::UserInfo;
use http::request::Parts;

use crate::authn::{CertificateSubject, Credentials, FrontProxySubject};
use crate::server::Core;

/// The caller: from the request's extensions when it comes from inside the process, from the
/// authenticators otherwise.
pub(crate) async fn identify(core: &Core, parts: &Parts) -> ApiResult<UserInfo> {
    if let Some(user) = parts.extensions.get::<UserInfo>() {
        return Ok(user.clone());
    }
    let from_subprotocol = websocket_token(parts);
    let bearer = bearer_token(parts).or(from_subprotocol.as_deref());
    let credentials = Credentials {
        certificate: parts.extensions.get::<CertificateSubject>(),
        front_proxy: parts.extensions.get::<FrontProxySubject>().map(|proxy| &proxy.0),
        bearer_token: bearer,
        headers: Some(&parts.headers),
    };
    for authenticator in &core.authenticators {
        if let Some(user) = authenticator.authenticate(&credentials).await? {
            return Ok(user);
        }
    }
    // Credentials that nobody knows are not the same as none; nor is a proxy without a caller.
    let is_bare_proxy = credentials.front_proxy.is_some() && credentials.certificate.is_none();
    if bearer.is_some() || is_bare_proxy || !core.allow_anonymous {
        return Err(ApiError::unauthorized());
    }
    Ok(UserInfo::anonymous())
}

/// `Authorization: Bearer …`.
fn bearer_token(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

/// The subprotocol by which browsers, which cannot set headers on a WebSocket, send their token.
/// (apiserver `authentication/request/websocket`)
fn websocket_token(parts: &Parts) -> Option<String> {
    use base64::Engine;
    const PREFIX: &str = "base64url.bearer.authorization.k8s.io.";
    let protocols = parts.headers.get(http::header::SEC_WEBSOCKET_PROTOCOL)?.to_str().ok()?;
    let encoded = protocols.split(',').find_map(|one| one.trim().strip_prefix(PREFIX))?;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(encoded).ok()?;
    String::from_utf8(bytes).ok().filter(|token| !token.is_empty())
}
