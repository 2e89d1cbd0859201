//! `clientConfig`: whom to ask. Either a URL or a Service, and whose certificates to believe.

use api::Value;
use api::object::{at, int_at, str_at};
use base64::Engine as _;

use crate::error::CallError;

/// A Service's port when none is given.
const DEFAULT_PORT: u16 = 443;

/// Whom to ask, and whom to believe.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ClientConfig {
    /// `https://host[:port]`, without a path.
    pub(crate) origin: String,
    /// The path, with its slash; empty for none.
    pub(crate) path: String,
    /// The Service, where it is one.
    pub(crate) service: Option<ServiceReference>,
    /// Certificates in PEM that alone are believed; the system's when there are none.
    pub(crate) ca_bundle: Vec<u8>,
}

/// A port of a Service.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceReference {
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Service's port, not its target.
    pub port: u16,
}

impl ServiceReference {
    /// The name that its certificate must be made out to: `NAME.NAMESPACE.svc`.
    #[must_use]
    pub fn server_name(&self) -> String {
        format!("{}.{}.svc", self.name, self.namespace)
    }
}

impl ClientConfig {
    /// Reads a `clientConfig` as objects of the API hold it.
    ///
    /// # Errors
    /// Neither a URL nor a Service, or a URL or bundle that cannot be read.
    pub fn of(value: &Value) -> Result<Self, CallError> {
        let bundle = str_at(value, &["caBundle"]);
        let ca_bundle =
            base64::engine::general_purpose::STANDARD.decode(bundle).map_err(|error| {
                CallError::config(format!("unable to load root certificates: {error}"))
            })?;
        if let Some(service) = at(value, &["service"]).filter(|service| service.is_object()) {
            let port = int_at(service, &["port"]).and_then(|port| u16::try_from(port).ok());
            let service = ServiceReference {
                namespace: str_at(service, &["namespace"]).to_owned(),
                name: str_at(service, &["name"]).to_owned(),
                port: port.unwrap_or(DEFAULT_PORT),
            };
            let path = str_at(value, &["service", "path"]);
            return Ok(Self::service(service, path, ca_bundle));
        }
        match str_at(value, &["url"]) {
            "" => Err(CallError::config("webhook configuration must have either service or URL")),
            url => Self::url(url, ca_bundle),
        }
    }

    /// A path of a Service.
    #[must_use]
    pub fn service(service: ServiceReference, path: &str, ca_bundle: Vec<u8>) -> Self {
        let origin = format!("https://{}:{}", service.server_name(), service.port);
        Self { origin, path: rooted(path), service: Some(service), ca_bundle }
    }

    /// A URL.
    ///
    /// # Errors
    /// It is none of `https`.
    pub fn url(url: &str, ca_bundle: Vec<u8>) -> Result<Self, CallError> {
        let unreadable =
            |why: &str| CallError::config(format!("Unparsable URL: parse {url:?}: {why}"));
        let uri: http::Uri =
            url.parse().map_err(|error: http::uri::InvalidUri| unreadable(&error.to_string()))?;
        let (Some("https"), Some(authority)) = (uri.scheme_str(), uri.authority()) else {
            return Err(unreadable("not an https URL"));
        };
        let path = if uri.path() == "/" { "" } else { uri.path() };
        let origin = format!("https://{authority}");
        Ok(Self { origin, path: rooted(path), service: None, ca_bundle })
    }

    /// The whole URL, with a query.
    pub(crate) fn full_url(&self, query: &str) -> String {
        // A client of Go's asks for the root when there is no path.
        let path = if self.path.is_empty() { "/" } else { &self.path };
        if query.is_empty() {
            format!("{}{path}", self.origin)
        } else {
            format!("{}{path}?{query}", self.origin)
        }
    }
}

/// A path with its slash.
fn rooted(path: &str) -> String {
    if path.is_empty() || path.starts_with('/') { path.to_owned() } else { format!("/{path}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(config: Value, expected: Result<&str, &str>) {
        let got = ClientConfig::of(&config).map(|config| config.full_url("timeout=1s"));
        match expected {
            Ok(url) => assert_eq!(got.unwrap(), url),
            Err(text) => assert_eq!(got.unwrap_err().to_string(), text),
        }
    }

    #[test]
    fn urls() {
        let service = json!({"namespace": "n", "name": "s", "path": "/p", "port": 8443});
        check(json!({"service": service}), Ok("https://s.n.svc:8443/p?timeout=1s"));
        let service = json!({"namespace": "n", "name": "s"});
        check(json!({"service": service}), Ok("https://s.n.svc:443/?timeout=1s"));
        check(json!({"url": "https://a.example:1/x"}), Ok("https://a.example:1/x?timeout=1s"));
        check(json!({"url": "https://[::1]/"}), Ok("https://[::1]/?timeout=1s"));
        check(json!({}), Err("webhook configuration must have either service or URL"));
        check(
            json!({"url": "http://a"}),
            Err("Unparsable URL: parse \"http://a\": not an https URL"),
        );
    }
}
