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
    let bearer = bearer_token(parts);
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

/// `Authorization: Bearer …`, or the subprotocol by which browsers send it.
fn bearer_token(parts: &Parts) -> Option<&str> {
    let header = parts.headers.get(http::header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, token) = header.trim().split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}
