//! Serving over TLS: HTTP/1.1 and HTTP/2 by ALPN, upgrades, client certificates, draining.

use std::sync::Arc;
use std::time::Duration;

use base::drain::Drain;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use rustls::pki_types::CertificateDer;
use sha2::{Digest as _, Sha256};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::task::TaskTracker;
use tower::Service;

use crate::authn::{CertificateSubject, FrontProxySubject};
use crate::chain::ListenerDrain;
use crate::server::Server;

const HANDSHAKE_MAX: Duration = Duration::from_secs(10);
/// How long requests may go on after draining began.
const DRAIN_MAX: Duration = Duration::from_secs(60);

/// The address of the peer, in a request's extensions.
#[derive(Debug, Clone, Copy)]
pub struct PeerAddress(pub std::net::SocketAddr);

/// Serves until `drain` fires: then nothing new is accepted, watches end, and requests that run
/// get their answers.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_tls(
    listener: TcpListener,
    config: rustls::ServerConfig,
    server: Server,
    drain: Drain,
) -> std::io::Result<()> {
    let mut config = config;
    if config.alpn_protocols.is_empty() {
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    }
    serve_tls_with(listener, Arc::new(move || None), Arc::new(config), server, drain).await
}

/// Where a listener takes a newer TLS configuration from, when certificates are renewed.
pub type RenewedConfig = Arc<dyn Fn() -> Option<Arc<rustls::ServerConfig>> + Send + Sync>;

/// [`serve_tls`] whose configuration may be replaced while it runs: `renewed` is asked at each
/// connection.
///
/// # Errors
/// When the listener fails for good.
pub async fn serve_tls_with(
    listener: TcpListener,
    renewed: RenewedConfig,
    config: Arc<rustls::ServerConfig>,
    server: Server,
    drain: Drain,
) -> std::io::Result<()> {
    let connections = TaskTracker::new();
    loop {
        let (stream, peer) = tokio::select! {
            biased;
            () = drain.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok(accepted) => accepted,
                Err(error) if is_transient(&error) => {
                    // Out of descriptors: wait for some to be closed rather than spin.
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
                Err(error) => return Err(error),
            },
        };
        let acceptor = TlsAcceptor::from(renewed().unwrap_or_else(|| config.clone()));
        let connection = Connection { server: server.clone(), drain: drain.clone(), peer };
        connections.spawn(connection.serve(stream, acceptor));
    }
    drop(listener);
    connections.close();
    // Those that do not end in time are cut off with the process.
    let _ = tokio::time::timeout(DRAIN_MAX, connections.wait()).await;
    Ok(())
}

/// Whether accepting may succeed later.
fn is_transient(error: &std::io::Error) -> bool {
    use std::io::ErrorKind;
    const EMFILE: i32 = 24;
    const ENFILE: i32 = 23;
    matches!(
        error.kind(),
        ErrorKind::ConnectionAborted | ErrorKind::ConnectionReset | ErrorKind::Interrupted
    ) || matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

struct Connection {
    server: Server,
    drain: Drain,
    peer: std::net::SocketAddr,
}

impl Connection {
    async fn serve(self, stream: TcpStream, acceptor: TlsAcceptor) {
        let _ = stream.set_nodelay(true);
        let handshake = tokio::time::timeout(HANDSHAKE_MAX, acceptor.accept(stream));
        let Ok(Ok(stream)) = handshake.await else {
            tracing::debug!(peer = %self.peer, "a TLS handshake failed");
            return;
        };
        let (user, proxy) = self.identity(stream.get_ref().1.peer_certificates());
        let service = self.server.service();
        let (drain, peer) = (self.drain.clone(), self.peer);
        let service =
            tower::service_fn(move |mut request: http::Request<hyper::body::Incoming>| {
                let extensions = request.extensions_mut();
                extensions.insert(ListenerDrain(drain.clone()));
                extensions.insert(PeerAddress(peer));
                if let Some(subject) = &user {
                    extensions.insert(subject.clone());
                }
                if let Some(subject) = &proxy {
                    extensions.insert(FrontProxySubject(subject.clone()));
                }
                service.clone().call(request)
            });
        let mut builder = auto::Builder::new(TokioExecutor::new());
        builder.http1().timer(TokioTimer::new()).header_read_timeout(Duration::from_secs(32));
        builder
            .http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(1000)
            .keep_alive_interval(Duration::from_secs(30))
            .keep_alive_timeout(Duration::from_secs(30));
        let connection = builder.serve_connection_with_upgrades(
            TokioIo::new(stream),
            TowerToHyperService::new(service),
        );
        tokio::pin!(connection);
        let result = tokio::select! {
            result = connection.as_mut() => result,
            () = self.drain.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        if let Err(error) = result {
            tracing::debug!(peer = %self.peer, %error, "a connection ended");
        }
    }
}

impl Connection {
    /// Who the certificate is of, as a user and as a front proxy.
    fn identity(
        &self,
        chain: Option<&[CertificateDer<'_>]>,
    ) -> (Option<CertificateSubject>, Option<CertificateSubject>) {
        let Some((chain, leaf)) = chain.and_then(|chain| Some((chain, chain.first()?))) else {
            return (None, None);
        };
        let Some(subject) = subject_of(leaf) else { return (None, None) };
        let core = &self.server.core;
        match &core.certificate_roles {
            None => (Some(subject), None),
            Some(roles) => {
                let roles = roles.of(chain, core.clock.now());
                let proxy = roles.is_proxy.then(|| subject.clone());
                (roles.is_user.then_some(subject), proxy)
            }
        }
    }
}

/// The subject of a certificate that TLS has verified.
#[must_use]
pub fn subject_of(certificate: &[u8]) -> Option<CertificateSubject> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
    let subject = parsed.subject();
    let text = |value: &x509_parser::x509::AttributeTypeAndValue<'_>| {
        value.as_str().ok().map(str::to_owned)
    };
    Some(CertificateSubject {
        common_name: subject.iter_common_name().next().and_then(text).unwrap_or_default(),
        organizations: subject.iter_organization().filter_map(text).collect(),
        sha256: Sha256::digest(certificate).iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}
