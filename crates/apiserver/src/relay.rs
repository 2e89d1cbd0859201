//! What every proxy here does to the requests and responses that it passes on: headers of one
//! connection stay with it, and upgraded connections are joined.

pub mod links;

use axum::body::Body;
use http::header::{
    CONNECTION, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Response, StatusCode};
use hyper::body::Incoming;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;

use crate::resource::{HttpRequest, HttpResponse};

/// Headers that hold for one connection only (RFC 9110, section 7.6.1).
static HOP_BY_HOP: [HeaderName; 8] = [
    CONNECTION,
    TRANSFER_ENCODING,
    UPGRADE,
    TE,
    TRAILER,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
];

/// Readies a request for another connection. One that asks for an upgrade goes on asking.
pub fn request(request: &mut HttpRequest) {
    let upgrade = request.headers().get(UPGRADE).cloned();
    strip(request.headers_mut());
    if let Some(upgrade) = upgrade {
        request.headers_mut().insert(UPGRADE, upgrade);
        request.headers_mut().insert(CONNECTION, http::HeaderValue::from_static("Upgrade"));
    }
}

/// Passes a response on. When the other side switched protocols, the two connections are joined
/// until one of them ends.
pub fn response(client_side: OnUpgrade, mut response: Response<Incoming>) -> HttpResponse {
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        let target_side = hyper::upgrade::on(&mut response);
        tokio::spawn(join(client_side, target_side));
    } else {
        // These speak of the connection to the target, and HTTP/2 forbids them to clients.
        strip(response.headers_mut());
    }
    response.map(Body::new)
}

fn strip(headers: &mut HeaderMap) {
    for header in &HOP_BY_HOP {
        headers.remove(header);
    }
}

/// Copies both ways.
async fn join(client: OnUpgrade, target: OnUpgrade) {
    let (client, target) = match tokio::try_join!(client, target) {
        Ok(joined) => joined,
        Err(error) => {
            tracing::debug!(%error, "an upgrade was not carried out");
            return;
        }
    };
    let (mut client, mut target) = (TokioIo::new(client), TokioIo::new(target));
    if let Err(error) = tokio::io::copy_bidirectional(&mut client, &mut target).await {
        tracing::debug!(%error, "an upgraded connection ended early");
    }
}
