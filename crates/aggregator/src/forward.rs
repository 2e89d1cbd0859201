//! Sending a request on as its caller, and joining what was upgraded.
//!
//! Invariant: the headers that tell who it is are this server's alone; what the caller wrote into
//! them is dropped.

use apiserver::relay;
use apiserver::resource::{HttpBody, HttpRequest, HttpResponse};
use auth::UserInfo;
use http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};

use crate::client::Clients;
use crate::table::Remote;

const USER: &str = "x-remote-user";
const UID: &str = "x-remote-uid";
const GROUP: &str = "x-remote-group";
const EXTRA: &str = "x-remote-extra-";

/// Sends a request on.
pub(crate) async fn forward(
    clients: &Clients,
    remote: &Remote,
    user: &UserInfo,
    mut request: HttpRequest,
) -> HttpResponse {
    let (outer, headers) = (request.uri().path().to_owned(), request.headers_mut());
    let host = headers.get(HOST).cloned();
    identify(headers, user);
    let forwarded = [
        ("x-forwarded-uri", HeaderValue::from_str(&outer).ok()),
        ("x-forwarded-host", host),
        ("x-forwarded-proto", Some(HeaderValue::from_static("https"))),
    ];
    for (name, value) in forwarded {
        if let Some(value) = value {
            headers.insert(name, value);
        }
    }
    relay::request(&mut request);
    let client_side = hyper::upgrade::on(&mut request);
    match clients.send(&remote.server, request).await {
        Ok(response) => relay::response(client_side, response),
        Err(error) => unavailable(&format!("error trying to reach service: {error}")),
    }
}

/// Says who sends a request, in the front proxy's headers.
/// (client-go `transport.SetAuthProxyHeaders`)
pub(crate) fn identify(headers: &mut HeaderMap, user: &UserInfo) {
    let claimed: Vec<HeaderName> = headers
        .keys()
        .filter(|name| {
            matches!(name.as_str(), USER | UID | GROUP) || name.as_str().starts_with(EXTRA)
        })
        .cloned()
        .collect();
    for name in claimed {
        headers.remove(name);
    }
    let mut add = |name: HeaderName, text: &str| {
        // What cannot be a header's value is no user's name either; nobody is told of half of it.
        if let Ok(value) = HeaderValue::from_bytes(text.as_bytes()) {
            headers.append(name, value);
        }
    };
    add(HeaderName::from_static(USER), &user.username);
    if !user.uid.is_empty() {
        add(HeaderName::from_static(UID), &user.uid);
    }
    for group in &user.groups {
        add(HeaderName::from_static(GROUP), group);
    }
    for (key, values) in &user.extra {
        let Ok(name) = format!("{EXTRA}{}", escape(key)).parse::<HeaderName>() else { continue };
        for value in values {
            add(name.clone(), value);
        }
    }
}

/// A key as part of a header's name: what such a name cannot hold, and `%`, as `%XX`.
fn escape(key: &str) -> String {
    use std::fmt::Write as _;
    let mut out = String::with_capacity(key.len());
    for byte in key.bytes() {
        let is_plain = byte.is_ascii_alphanumeric() || b"!#$&'*+-.^_`|~".contains(&byte);
        if is_plain {
            out.push(byte.into());
        } else {
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// 503 in plain text, as Go's `http.Error` writes it.
pub(crate) fn unavailable(why: &str) -> HttpResponse {
    let mut response = HttpResponse::new(HttpBody::from(format!("{why}\n")));
    *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use apiserver::authn::RequestHeaders;

    #[test]
    fn what_is_written_is_what_is_read_and_claims_are_dropped() {
        let mut user = UserInfo::named("ann", &["a", "b"]);
        user.uid = "u1".into();
        let keys = ["example.com/scopes", "UPPER", "100%", "plain", "söme"];
        for key in keys {
            user.extra.insert(key.to_lowercase(), vec!["1".into(), "2".into()]);
        }
        let mut headers = HeaderMap::new();
        for claim in [USER, UID, GROUP, "x-remote-extra-more"] {
            headers.append(claim, HeaderValue::from_static("system:masters"));
        }
        identify(&mut headers, &user);
        assert_eq!(RequestHeaders::default().user(&headers), Some(user));
    }
}
