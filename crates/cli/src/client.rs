//! Requests by path: JSON in, JSON out, tables, watches, failures as people read them.

use std::fmt;

use anyhow::{Context as _, Result};
use api::Value;
use futures::AsyncBufRead;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, USER_AGENT};

use crate::connect::Connection;

/// The header that asks for a server-side table, with JSON as the way out.
pub(crate) const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";

/// The API, as a verb speaks to it.
#[derive(Clone)]
pub struct Api {
    client: kube::Client,
    namespace: String,
    server: String,
}

/// A failure that the server answered.
#[derive(Debug)]
pub struct Failure {
    /// The HTTP status.
    pub code: u16,
    /// The machine-readable reason.
    pub reason: String,
    /// The server's words.
    pub message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.reason.as_str(), self.code) {
            ("", _) => write!(f, "Error from server: {}", self.message),
            ("Invalid", _) => write!(f, "The {}", self.message),
            (reason, _) => write!(f, "Error from server ({reason}): {}", self.message),
        }
    }
}

impl std::error::Error for Failure {}

impl Api {
    /// Connects; nothing is sent yet.
    ///
    /// # Errors
    /// When there is no kubeconfig, or its credentials cannot be read.
    pub async fn connect(connection: &Connection) -> Result<Self> {
        let config = connection.config().await?;
        let (namespace, server) =
            (config.default_namespace.clone(), config.cluster_url.to_string());
        let client = kube::Client::try_from(config).context("cannot use the kubeconfig")?;
        Ok(Self { client, namespace, server })
    }

    /// The namespace of requests that name none.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The server's URL.
    #[must_use]
    pub fn server(&self) -> &str {
        &self.server
    }

    /// The client below, for streams.
    #[must_use]
    pub fn client(&self) -> &kube::Client {
        &self.client
    }

    /// GET of a path (with query) as JSON.
    ///
    /// # Errors
    /// [`Failure`] when the server refused, anything else when it could not be reached.
    pub async fn get(&self, path: &str) -> Result<Value> {
        self.get_as(path, "application/json").await
    }

    pub(crate) async fn get_as(&self, path: &str, accept: &str) -> Result<Value> {
        let text = self.text(request("GET", path, accept, None, Vec::new())?).await?;
        serde_json::from_str(&text)
            .with_context(|| format!("the server answered {path} with something that is no JSON"))
    }

    /// GET of a path as text.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn get_text(&self, path: &str) -> Result<String> {
        self.text(request("GET", path, "*/*", None, Vec::new())?).await
    }

    /// Sends a JSON body; answers the server's object.
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        self.send_as(method, path, "application/json", body).await
    }

    /// Sends a JSON body under another media type (the patches).
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn send_as(
        &self,
        method: &str,
        path: &str,
        content: &str,
        body: &Value,
    ) -> Result<Value> {
        let body = if body.is_null() { Vec::new() } else { serde_json::to_vec(body)? };
        let text =
            self.text(request(method, path, "application/json", Some(content), body)?).await?;
        Ok(serde_json::from_str(&text).unwrap_or(Value::Null))
    }

    /// A GET whose answer comes in pieces (watch, log).
    ///
    /// # Errors
    /// As [`Api::get`].
    pub async fn stream(&self, path: &str, accept: &str) -> Result<impl AsyncBufRead + use<>> {
        let request = request("GET", path, accept, None, Vec::new())?;
        self.client.request_stream(request).await.map_err(|error| self.failed(error))
    }

    async fn text(&self, request: Request<Vec<u8>>) -> Result<String> {
        self.client.request_text(request).await.map_err(|error| self.failed(error))
    }

    fn failed(&self, error: kube::Error) -> anyhow::Error {
        match error {
            kube::Error::Api(status) => Failure {
                code: status.code,
                reason: status.reason.clone(),
                message: status.message.clone(),
            }
            .into(),
            other => anyhow::Error::from(other).context(format!(
                "cannot reach the server {}; is the cluster running?",
                self.server.trim_end_matches('/')
            )),
        }
    }
}

fn request(
    method: &str,
    path: &str,
    accept: &str,
    content: Option<&str>,
    body: Vec<u8>,
) -> Result<Request<Vec<u8>>> {
    let mut builder = Request::builder()
        .method(method)
        .uri(path)
        .header(ACCEPT, accept)
        .header(USER_AGENT, concat!("ferry/", env!("CARGO_PKG_VERSION")));
    if let Some(content) = content {
        builder = builder.header(CONTENT_TYPE, content);
    }
    builder.body(body).with_context(|| format!("{path} is no path"))
}

/// Percent-encodes what goes into a query's value or a path's segment.
pub(crate) fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_read_as_kubectls() {
        let check = |code, reason: &str, message: &str, expected: &str| {
            let failure = Failure { code, reason: reason.into(), message: message.into() };
            assert_eq!(failure.to_string(), expected);
        };
        check(
            404,
            "NotFound",
            "pods \"x\" not found",
            "Error from server (NotFound): pods \"x\" not found",
        );
        check(
            422,
            "Invalid",
            "Pod \"x\" is invalid: spec: Required value",
            "The Pod \"x\" is invalid: spec: Required value",
        );
    }

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("app in (a,b)"), "app%20in%20%28a%2Cb%29");
    }
}
