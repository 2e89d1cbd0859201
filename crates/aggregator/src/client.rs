//! Clients of other servers: connections that are kept, TLS by what an APIService says, and the
//! front proxy's certificate.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use apiserver::resource::HttpBody;
use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use parking_lot::Mutex;
use rustls::client::ResolvesClientCert;
use tokio_rustls::TlsConnector;
use webhook::{Connector, ServiceResolver, Trust, client_config};

use crate::table::Server;

/// How long a connection is kept unused, and how many to one server; Go's transport's defaults as
/// client-go sets them.
const IDLE_MAX: Duration = Duration::from_secs(90);
const IDLE_COUNT_MAX: usize = 25;
/// How many servers are known at once; those that are no APIService's any more make room.
const CLIENTS_MAX: usize = 256;
/// How long a document may take. (aggregator's `discoveryManager`)
const DOCUMENT_TIME_MAX: Duration = Duration::from_secs(5);
/// The longest document.
const DOCUMENT_LEN_MAX: usize = 64 * 1024 * 1024;

pub(crate) type HttpClient = Client<Connector, HttpBody>;

/// Why another server did not answer, in upstream's words where people know them.
#[derive(Debug, Clone, thiserror::Error)]
pub(crate) enum RemoteError {
    /// What the APIService says cannot be used.
    #[error("{0}")]
    Config(String),
    /// No connection, or one that broke.
    #[error("{0}")]
    Unreachable(String),
    /// It took too long.
    #[error("context deadline exceeded")]
    Late,
    /// Not a document.
    #[error("bad status: {0}")]
    Status(u16),
}

impl RemoteError {
    /// What the condition of an APIService says of a probe that failed.
    pub(crate) fn probe_text(&self, server: &Server, path: &str) -> String {
        let url = format!("https://{}:{}{path}", server.reference().server_name(), server.port);
        let why = match self {
            Self::Status(code) => format!("bad status from {url}: {code}"),
            other => format!("Get \"{url}\": {other}"),
        };
        format!("failing or missing response from {url}: {why}")
    }
}

/// A document of another server.
#[derive(Debug, Clone)]
pub(crate) enum Fetched {
    /// As it is now.
    New { headers: HeaderMap, body: Bytes },
    /// As it was when it had the tag.
    Unchanged,
}

/// Clients by server.
pub(crate) struct Clients {
    services: Arc<dyn ServiceResolver>,
    identity: Arc<dyn ResolvesClientCert>,
    known: Mutex<HashMap<Server, HttpClient>>,
}

impl Clients {
    pub(crate) fn new(
        services: Arc<dyn ServiceResolver>,
        identity: Arc<dyn ResolvesClientCert>,
    ) -> Self {
        Self { services, identity, known: Mutex::default() }
    }

    /// The client of a server, made at its first use.
    fn of(&self, server: &Server) -> Result<HttpClient, RemoteError> {
        let mut known = self.known.lock();
        if let Some(client) = known.get(server) {
            return Ok(client.clone());
        }
        let client = self.make(server)?;
        if known.len() >= CLIENTS_MAX {
            known.clear();
        }
        known.insert(server.clone(), client.clone());
        Ok(client)
    }

    fn make(&self, server: &Server) -> Result<HttpClient, RemoteError> {
        let trust = match (server.is_insecure, server.ca_bundle.as_slice()) {
            (true, _) => Trust::Anyone,
            (false, []) => Trust::System,
            (false, bundle) => Trust::Bundle(bundle),
        };
        let mut config =
            client_config(trust).map_err(|error| RemoteError::Config(error.to_string()))?;
        config.client_auth_cert_resolver = self.identity.clone();
        let tls = TlsConnector::from(Arc::new(config));
        let connector = Connector::to_service(self.services.clone(), server.reference(), tls);
        Ok(Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_MAX)
            .pool_max_idle_per_host(IDLE_COUNT_MAX)
            .build(connector))
    }

    /// Sends a request whose URI is path and query; answers with the body streaming.
    pub(crate) async fn send(
        &self,
        server: &Server,
        mut request: Request<HttpBody>,
    ) -> Result<Response<Incoming>, RemoteError> {
        let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
        let name = server.reference().server_name();
        let uri = format!("https://{name}:{}{path}", server.port).parse();
        *request.uri_mut() =
            uri.map_err(|error: http::uri::InvalidUri| RemoteError::Config(error.to_string()))?;
        *request.version_mut() = http::Version::HTTP_11;
        // The client writes that of the URI.
        request.headers_mut().remove(header::HOST);
        let sent = self.of(server)?.request(request).await;
        sent.map_err(|error| RemoteError::Unreachable(innermost(&error)))
    }

    /// Asks whether a path is answered with a success or a redirect.
    pub(crate) async fn probe(&self, server: &Server, path: &str) -> Result<(), RemoteError> {
        let asked = async {
            let response = self.send(server, own_request(path, "*/*", None)?).await?;
            match response.status() {
                status if status.is_success() || status.is_redirection() => Ok(()),
                status => Err(RemoteError::Status(status.as_u16())),
            }
        };
        tokio::time::timeout(DOCUMENT_TIME_MAX, asked).await.unwrap_or(Err(RemoteError::Late))
    }

    /// A document, unless it still has this tag.
    pub(crate) async fn document(
        &self,
        server: &Server,
        path: &str,
        accept: &str,
        tag: Option<&str>,
    ) -> Result<Fetched, RemoteError> {
        let request = own_request(path, accept, tag)?;
        let asked = async {
            let (parts, body) = self.send(server, request).await?.into_parts();
            match parts.status {
                StatusCode::NOT_MODIFIED => Ok(Fetched::Unchanged),
                StatusCode::OK => {
                    let body = Limited::new(body, DOCUMENT_LEN_MAX).collect().await;
                    let body = body.map_err(|error| RemoteError::Unreachable(error.to_string()))?;
                    Ok(Fetched::New { headers: parts.headers, body: body.to_bytes() })
                }
                other => Err(RemoteError::Status(other.as_u16())),
            }
        };
        tokio::time::timeout(DOCUMENT_TIME_MAX, asked).await.unwrap_or(Err(RemoteError::Late))
    }
}

/// A request of the server's own.
fn own_request(
    path: &str,
    accept: &str,
    tag: Option<&str>,
) -> Result<Request<HttpBody>, RemoteError> {
    let mut builder = Request::get(path)
        .header(header::ACCEPT, accept)
        .header(header::USER_AGENT, "kube-aggregator");
    if let Some(tag) = tag {
        builder = builder.header(header::IF_NONE_MATCH, tag);
    }
    let built = builder.body(HttpBody::empty());
    let mut request = built.map_err(|error| RemoteError::Config(error.to_string()))?;
    crate::forward::identify(request.headers_mut(), &crate::own_user());
    Ok(request)
}

/// The cause at the bottom: what hyper's client wraps around it tells nobody anything.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut last = error;
    while let Some(source) = last.source() {
        last = source;
    }
    last.to_string()
}
