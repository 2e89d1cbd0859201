//! A webhook of a test's own: an HTTPS server on loopback, its certificate signed by an authority
//! that is made for it, answering by a function.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use api::Value;
use base::drain::Drain;
use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::pki_types::PrivateKeyDer;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

/// What the server was asked.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The path.
    pub path: String,
    /// The query; empty for none.
    pub query: String,
    /// The body; null when it is no JSON.
    pub body: Value,
}

/// What it answers: status, headers, body.
#[derive(Debug, Clone, Default)]
pub struct Reply {
    /// The HTTP status; 0 for 200.
    pub code: u16,
    /// Headers.
    pub headers: BTreeMap<&'static str, String>,
    /// The body.
    pub body: Vec<u8>,
}

impl From<Value> for Reply {
    fn from(body: Value) -> Self {
        Self { body: body.to_string().into_bytes(), ..Self::default() }
    }
}

/// The function that answers.
pub type Handler = Arc<dyn Fn(Asked) -> BoxFuture<'static, Reply> + Send + Sync>;

/// A running server; it stops when it is dropped.
pub struct HttpsServer {
    /// Where it listens.
    pub address: SocketAddr,
    /// Its authority, in PEM.
    pub ca_pem: String,
    connections: Arc<AtomicUsize>,
    drain: Drain,
}

impl HttpsServer {
    /// Starts one whose certificate has these names, DNS names or addresses.
    ///
    /// # Panics
    /// When loopback gives no port or the names are none.
    pub async fn start(names: &[&str], handler: Handler) -> Self {
        let (ca_pem, acceptor) = certificates(names);
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback gives a port");
        let address = listener.local_addr().expect("it listens");
        let (connections, drain) = (Arc::new(AtomicUsize::new(0)), Drain::new());
        let (count, stop) = (connections.clone(), drain.clone());
        tokio::spawn(stop.clone().run_until_cancelled_owned(async move {
            while let Ok((stream, _)) = listener.accept().await {
                count.fetch_add(1, Ordering::Relaxed);
                let serving = serve(stream, acceptor.clone(), handler.clone());
                tokio::spawn(stop.clone().run_until_cancelled_owned(serving));
            }
        }));
        Self { address, ca_pem, connections, drain }
    }

    /// The authority as a `caBundle` holds it.
    #[must_use]
    pub fn ca_bundle(&self) -> String {
        use base64::Engine as _;
        base64::engine::general_purpose::STANDARD.encode(&self.ca_pem)
    }

    /// How many connections were made to it.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

impl Drop for HttpsServer {
    fn drop(&mut self) {
        self.drain.cancel();
    }
}

async fn serve(stream: TcpStream, acceptor: TlsAcceptor, handler: Handler) {
    // Clients that do not trust this server hang up here, and some tests want just that.
    let Ok(stream) = acceptor.accept(stream).await else { return };
    let answer = service_fn(move |request| answer(request, handler.clone()));
    let serving =
        hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer);
    // A client may go away at any time.
    let _ = serving.await;
}

async fn answer(
    request: Request<Incoming>,
    handler: Handler,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let bytes = body.collect().await?.to_bytes();
    let asked = Asked {
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        body: serde_json::from_slice(&bytes).unwrap_or_default(),
    };
    let reply = handler(asked).await;
    let mut response = Response::builder().status(if reply.code == 0 { 200 } else { reply.code });
    for (name, value) in &reply.headers {
        response = response.header(*name, value);
    }
    Ok(response.body(Full::new(reply.body.into())).expect("a test's headers are valid"))
}

fn certificates(names: &[&str]) -> (String, TlsAcceptor) {
    let ca_key = KeyPair::generate().expect("a key can be made");
    let mut ca = CertificateParams::new(Vec::new()).expect("no names are no bad names");
    ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let ca_pem = ca.self_signed(&ca_key).expect("an authority signs itself").pem();
    let issuer = Issuer::from_params(&ca, &ca_key);
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let key = KeyPair::generate().expect("a key can be made");
    let leaf = CertificateParams::new(names).expect("a test's names are valid");
    let leaf = leaf.signed_by(&key, &issuer).expect("an authority signs");
    let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
    let config = rustls::ServerConfig::builder()
        .with_no_client_auth()
        .with_single_cert(vec![leaf.der().clone()], key)
        .expect("the key is the certificate's");
    (ca_pem, TlsAcceptor::from(Arc::new(config)))
}
