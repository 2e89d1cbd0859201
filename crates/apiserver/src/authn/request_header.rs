//! Callers that a front proxy vouches for: who they are is in headers, and the proxy's own client
//! certificate says that they may be believed.
//!
//! Invariant: headers of a connection without such a certificate mean nothing.
//! (apiserver `pkg/authentication/request/headerrequest`)

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use api::status::ApiResult;
use async_trait::async_trait;
use auth::UserInfo;
use base::clock::Timestamp;
use http::HeaderMap;
use rustls::RootCertStore;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};

use super::{Authenticator, Credentials};
use crate::request::percent_decode;

/// Which headers are believed, and from whom. The names are those of `--requestheader-*` flags
/// and of the ConfigMap `extension-apiserver-authentication`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeaders {
    /// Headers with the user's name; the first that is there counts.
    pub username: Vec<String>,
    /// Headers with the user's UID; the first that is there counts.
    pub uid: Vec<String>,
    /// Headers with groups; all count.
    pub groups: Vec<String>,
    /// What the names of headers with anything else begin with.
    pub extra_prefixes: Vec<String>,
    /// The common names of proxies; any certificate of the right authority when empty.
    pub allowed_names: Vec<String>,
}

impl Default for RequestHeaders {
    fn default() -> Self {
        let one = |name: &str| vec![name.to_owned()];
        Self {
            username: one("X-Remote-User"),
            uid: one("X-Remote-Uid"),
            groups: one("X-Remote-Group"),
            extra_prefixes: one("X-Remote-Extra-"),
            allowed_names: Vec::new(),
        }
    }
}

impl RequestHeaders {
    /// The user of a request that a proxy vouches for; `None` when it says nothing.
    #[must_use]
    pub fn user(&self, headers: &HeaderMap) -> Option<UserInfo> {
        let username = first(headers, &self.username)?;
        let groups = self
            .groups
            .iter()
            .flat_map(|name| headers.get_all(name))
            .filter_map(|value| value.to_str().ok().map(str::to_owned))
            .collect();
        Some(UserInfo {
            username,
            uid: first(headers, &self.uid).unwrap_or_default(),
            groups,
            extra: self.extra(headers),
        })
    }

    fn extra(&self, headers: &HeaderMap) -> BTreeMap<String, Vec<String>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for prefix in &self.extra_prefixes {
            let prefix = prefix.to_ascii_lowercase();
            for (name, value) in headers {
                // Names of headers are in lower case already; keys were escaped to be such names.
                let Some(key) = name.as_str().strip_prefix(&prefix) else { continue };
                if let Ok(value) = value.to_str() {
                    found.entry(percent_decode(key).into_owned()).or_default().push(value.into());
                }
            }
        }
        found
    }
}

fn first(headers: &HeaderMap, names: &[String]) -> Option<String> {
    let mut values = names.iter().filter_map(|name| headers.get(name)?.to_str().ok());
    values.find(|value| !value.is_empty()).map(str::to_owned)
}

#[async_trait]
impl Authenticator for RequestHeaders {
    async fn authenticate(&self, credentials: &Credentials<'_>) -> ApiResult<Option<UserInfo>> {
        let (Some(proxy), Some(headers)) = (credentials.front_proxy, credentials.headers) else {
            return Ok(None);
        };
        if !self.allowed_names.is_empty() && !self.allowed_names.contains(&proxy.common_name) {
            tracing::debug!(name = proxy.common_name, "a front proxy's name is not allowed");
            return Ok(None);
        }
        Ok(self.user(headers))
    }
}

/// Whose client certificates are whose: of users, or of front proxies. TLS lets both in.
pub struct CertificateRoles {
    users: Arc<dyn ClientCertVerifier>,
    proxies: Arc<dyn ClientCertVerifier>,
}

/// What a client certificate is good for; both, when both authorities are the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) is_user: bool,
    pub(crate) is_proxy: bool,
}

impl CertificateRoles {
    /// Roles by the authorities of users and of front proxies.
    ///
    /// # Errors
    /// One of them trusts nobody.
    pub fn new(
        users: Arc<RootCertStore>,
        proxies: Arc<RootCertStore>,
    ) -> Result<Self, VerifierBuilderError> {
        Ok(Self {
            users: WebPkiClientVerifier::builder(users).build()?,
            proxies: WebPkiClientVerifier::builder(proxies).build()?,
        })
    }

    /// The roles of a chain that TLS has verified already.
    pub(crate) fn of(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Roles {
        let now = Duration::from_secs(now.as_second().try_into().unwrap_or_default());
        let now = UnixTime::since_unix_epoch(now);
        let holds = |verifier: &dyn ClientCertVerifier| {
            chain.split_first().is_some_and(|(leaf, intermediates)| {
                verifier.verify_client_cert(leaf, intermediates, now).is_ok()
            })
        };
        Roles { is_user: holds(&*self.users), is_proxy: holds(&*self.proxies) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::authn::CertificateSubject;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    const ANN: [(&str, &str); 6] = [
        ("x-remote-user", "ann"),
        ("x-remote-uid", "u1"),
        ("x-remote-group", "a"),
        ("x-remote-group", "b"),
        ("x-remote-extra-example.com%2fscope", "x"),
        ("x-remote-extra-example.com%2fscope", "y"),
    ];

    #[test]
    fn headers_say_who_it_is() {
        let user = RequestHeaders::default().user(&headers(&ANN)).unwrap();
        assert_eq!((&*user.username, &*user.uid), ("ann", "u1"));
        assert_eq!(user.groups, ["a", "b"]);
        assert_eq!(user.extra["example.com/scope"], ["x", "y"]);
        assert!(RequestHeaders::default().user(&headers(&ANN[1..])).is_none());
    }

    #[tokio::test]
    async fn only_a_proxy_with_the_right_name_is_believed() {
        let headers = headers(&ANN);
        let named = |name: &str| CertificateSubject {
            common_name: name.to_owned(),
            organizations: Vec::new(),
            sha256: String::new(),
        };
        let check = async |proxy: Option<&str>, allowed: &[&str], expected: bool| {
            let subject = proxy.map(named);
            let credentials = Credentials {
                certificate: subject.as_ref(),
                front_proxy: subject.as_ref().filter(|_| proxy.is_some()),
                headers: Some(&headers),
                ..Credentials::default()
            };
            let believed = RequestHeaders {
                allowed_names: allowed.iter().map(|name| (*name).to_owned()).collect(),
                ..RequestHeaders::default()
            };
            let user = believed.authenticate(&credentials).await.unwrap();
            assert_eq!(user.is_some(), expected, "{proxy:?} {allowed:?}");
        };
        check(Some("proxy"), &["proxy"], true).await;
        check(Some("proxy"), &[], true).await;
        check(Some("other"), &["proxy"], false).await;
        check(None, &[], false).await;
    }
}
