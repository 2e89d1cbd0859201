//! Asking: a JSON document there, a JSON document back, by a deadline.
//!
//! Connections are kept and used again, one client for each webhook (its address and its
//! authorities); the least used are dropped when there are too many.

use std::collections::HashMap;
use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use api::Value;
use bytes::Bytes;
use http::{Request, header};
use http_body_util::{BodyExt as _, Full, LengthLimitError, Limited};
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use tokio_rustls::TlsConnector;

use crate::config::{ClientConfig, ServiceReference};
use crate::connect::Connector;
use crate::error::{CallError, DialError, io_text};
use crate::services::ServiceResolver;
use crate::trust::{Trust, client_config};

/// The longest answer. Longer than the longest object, whose patch could be all of it, in base64.
const ANSWER_LEN_MAX: usize = 8 * 1024 * 1024;
/// How much of an error's body is kept.
const ERROR_LEN_MAX: usize = 64 * 1024;
/// How many webhooks are known at once. (apiserver's `defaultCacheSize` of webhook clients)
const CLIENTS_MAX: usize = 200;
/// How long a connection is kept unused, and how many to one webhook; Go's transport's defaults
/// as client-go sets them.
const IDLE_MAX: Duration = Duration::from_secs(90);
const IDLE_COUNT_MAX: usize = 25;

type HttpClient = Client<Connector, Full<Bytes>>;

/// What makes a client of its own necessary.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    origin: String,
    service: Option<ServiceReference>,
    ca_bundle: Vec<u8>,
}

#[derive(Default)]
struct Clients {
    known: HashMap<Key, (HttpClient, u64)>,
    uses: u64,
}

/// Asks webhooks.
pub struct Caller {
    services: Arc<dyn ServiceResolver>,
    clients: Mutex<Clients>,
}

impl Caller {
    /// One that finds Services by this resolver.
    #[must_use]
    pub fn new(services: Arc<dyn ServiceResolver>) -> Self {
        Self { services, clients: Mutex::default() }
    }

    /// Asks a webhook. `limit` bounds everything, connecting included; the webhook is told of it
    /// (`?timeout=10s`).
    ///
    /// # Errors
    /// No answer, or none that is JSON with status 200.
    pub async fn call(
        &self,
        config: &ClientConfig,
        body: &Value,
        limit: Duration,
    ) -> Result<Value, CallError> {
        let url = config.full_url(&format!("timeout={}", go_seconds(limit)));
        let client = self.client(config)?;
        let body =
            serde_json::to_vec(body).map_err(|error| CallError::config(error.to_string()))?;
        let asked = tokio::time::timeout(limit, ask(&client, &url, body.into())).await;
        let bytes = asked.unwrap_or_else(|_| {
            let why = "context deadline exceeded".to_owned();
            Err(CallError::Post { url, why, timed_out: true })
        })?;
        serde_json::from_slice(&bytes).map_err(|error| CallError::Unreadable(error.to_string()))
    }

    /// The client for a webhook, made at its first use.
    fn client(&self, config: &ClientConfig) -> Result<HttpClient, CallError> {
        let key = Key {
            origin: config.origin.clone(),
            service: config.service.clone(),
            ca_bundle: config.ca_bundle.clone(),
        };
        let mut clients = self.clients.lock();
        clients.uses += 1;
        let now = clients.uses;
        if let Some((client, used)) = clients.known.get_mut(&key) {
            *used = now;
            return Ok(client.clone());
        }
        let client = self.make(config)?;
        if clients.known.len() >= CLIENTS_MAX {
            let oldest = clients.known.iter().min_by_key(|(_, (_, used))| *used);
            if let Some(oldest) = oldest.map(|(key, _)| key.clone()) {
                clients.known.remove(&oldest);
            }
        }
        clients.known.insert(key, (client.clone(), now));
        Ok(client)
    }

    fn make(&self, config: &ClientConfig) -> Result<HttpClient, CallError> {
        let trust = match config.ca_bundle.as_slice() {
            [] => Trust::System,
            bundle => Trust::Bundle(bundle),
        };
        let connector = Connector {
            services: self.services.clone(),
            service: config.service.clone(),
            tls: TlsConnector::from(Arc::new(client_config(trust)?)),
        };
        Ok(Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_COUNT_MAX)
            .build(connector))
    }
}

async fn ask(client: &HttpClient, url: &str, body: Bytes) -> Result<Bytes, CallError> {
    let failed = |why: String| CallError::Post { url: url.to_owned(), why, timed_out: false };
    let request = Request::post(url)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json, */*")
        .header(header::USER_AGENT, "kube-apiserver-admission")
        .body(Full::new(body))
        .map_err(|error| failed(error.to_string()))?;
    let answer = client.request(request).await.map_err(|error| failed(text(&error)))?;
    let (parts, body) = answer.into_parts();
    let code = parts.status.as_u16();
    let is_success = (200..=206).contains(&code);
    let limit = if is_success { ANSWER_LEN_MAX } else { ERROR_LEN_MAX };
    match Limited::new(body, limit).collect().await {
        Ok(bytes) if is_success => Ok(bytes.to_bytes()),
        Ok(bytes) => {
            let body = String::from_utf8_lossy(&bytes.to_bytes()).into_owned();
            Err(CallError::Status { code, body })
        }
        Err(error) if error.is::<LengthLimitError>() && is_success => {
            Err(CallError::TooLong(limit))
        }
        Err(error) if error.is::<LengthLimitError>() => {
            Err(CallError::Status { code, body: String::new() })
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

/// What the client's error is about: our own connector's words, or the system's.
fn text(error: &Error) -> String {
    let mut source = error.source();
    while let Some(inner) = source {
        if let Some(dial) = inner.downcast_ref::<DialError>() {
            return dial.to_string();
        }
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return io_text(io);
        }
        if inner.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
            return "EOF".to_owned();
        }
        source = inner.source();
    }
    base::error::Chain(error).to_string()
}

/// Whole seconds in the form of Go's durations: `10s`, `1m30s`.
fn go_seconds(limit: Duration) -> String {
    let seconds = limit.as_secs();
    match (seconds / 60, seconds % 60) {
        (0, seconds) => format!("{seconds}s"),
        (minutes, seconds) => format!("{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_as_go_writes_them() {
        for (seconds, expected) in [(1, "1s"), (30, "30s"), (60, "1m0s"), (90, "1m30s")] {
            assert_eq!(go_seconds(Duration::from_secs(seconds)), expected);
        }
    }
}
