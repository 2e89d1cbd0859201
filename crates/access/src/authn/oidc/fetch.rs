//! One GET over HTTPS, to an issuer: by its own CA when one is given, by the machine's roots
//! otherwise. Names are looked up by `hickory`, as everywhere.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Empty, Limited};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const TIMEOUT: Duration = Duration::from_secs(30);
const BODY_LEN_MAX: usize = 1 << 20;
const AGENT: &str = concat!("ferry/", env!("CARGO_PKG_VERSION"));

/// Why a document could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The address makes no sense.
    #[error("{0:?} is no https address")]
    Url(String),
    /// The other side could not be reached, or broke off.
    #[error("cannot get {url}: {why}")]
    Unreachable {
        /// The address.
        url: String,
        /// What happened.
        why: String,
    },
    /// It answered something else than 200.
    #[error("cannot get {url}: it answered {code}")]
    Refused {
        /// The address.
        url: String,
        /// The status.
        code: StatusCode,
    },
    /// What it answered makes no sense.
    #[error("the document at {url} cannot be used: {why}")]
    Document {
        /// The address.
        url: String,
        /// What is wrong with it.
        why: String,
    },
}

/// Gets documents of an issuer.
pub struct Fetcher(TlsConnector);

impl Fetcher {
    /// A fetcher that trusts these roots.
    #[must_use]
    pub fn new(roots: rustls::RootCertStore) -> Self {
        let config = rustls::ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::ring::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .expect("the provider knows TLS 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
        Self(TlsConnector::from(Arc::new(config)))
    }

    /// The body of a document.
    ///
    /// # Errors
    /// Why it could not be had.
    pub async fn get(&self, url: &str) -> Result<Bytes, FetchError> {
        let unreachable = |why: String| FetchError::Unreachable { url: url.to_owned(), why };
        match tokio::time::timeout(TIMEOUT, self.try_get(url)).await {
            Ok(answer) => answer,
            Err(_) => Err(unreachable("it took too long".to_owned())),
        }
    }

    async fn try_get(&self, url: &str) -> Result<Bytes, FetchError> {
        let wrong = || FetchError::Url(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| wrong())?;
        if uri.scheme_str() != Some("https") {
            return Err(wrong());
        }
        let host = uri.host().ok_or_else(wrong)?.trim_matches(['[', ']']).to_owned();
        let port = uri.port_u16().unwrap_or(443);
        let failed = |error: &(dyn std::error::Error + 'static)| FetchError::Unreachable {
            url: url.to_owned(),
            why: base::error::Chain(error).to_string(),
        };
        let address = SocketAddr::new(resolve(&host).await.map_err(|e| failed(&*e))?, port);
        let stream = TcpStream::connect(address).await.map_err(|error| failed(&error))?;
        let name = ServerName::try_from(host.clone()).map_err(|error| failed(&error))?;
        let stream = self.0.connect(name, stream).await.map_err(|error| failed(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| failed(&error))?;
        let driving = tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let authority = uri.authority().map(ToString::to_string).unwrap_or(host);
        let request = Request::get(path)
            .header(header::HOST, authority)
            .header(header::USER_AGENT, AGENT)
            .header(header::ACCEPT, "application/json")
            .body(Empty::<Bytes>::new())
            .map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let code = answer.status();
        if code != StatusCode::OK {
            return Err(FetchError::Refused { url: url.to_owned(), code });
        }
        let body = Limited::new(answer.into_body(), BODY_LEN_MAX).collect().await;
        driving.abort();
        body.map(http_body_util::Collected::to_bytes).map_err(|error| failed(&*error))
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

async fn resolve(host: &str) -> Result<IpAddr, Failure> {
    if let Ok(address) = host.parse() {
        return Ok(address);
    }
    let resolver = hickory_resolver::TokioResolver::builder_tokio()?.build()?;
    let found = resolver.lookup_ip(host).await?;
    let first = found.iter().next();
    first.ok_or_else(|| Failure::from(format!("{host} has no address")))
}
