//! The way out of the server: requests to kubelets, pods and services.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::status::{ApiError, ApiResult};
use apiserver::resource::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use axum::body::Body;
use http::{HeaderName, HeaderValue, StatusCode};
use hyper_util::rt::TokioIo;
use resources::{NodeTransport, Target};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pki::{Authority, Leaf};

/// Headers that hold for one connection only (RFC 9110, section 7.6.1).
static HOP_BY_HOP: [HeaderName; 6] = [
    http::header::CONNECTION,
    http::header::TRANSFER_ENCODING,
    http::header::UPGRADE,
    http::header::TE,
    http::header::TRAILER,
    HeaderName::from_static("keep-alive"),
];

/// Connects anew for each request: they are few (logs, exec, proxy), and some last for hours.
pub(crate) struct Transport {
    /// To kubelets: with the API server's certificate, verifying theirs.
    kubelets: TlsConnector,
    /// To pods and services: any certificate will do, as upstream has it.
    anyone: TlsConnector,
}

impl Transport {
    /// A transport that trusts the cluster's authority and shows a client certificate.
    pub(crate) fn new(authority: &Authority, client: &Leaf) -> Result<Self> {
        let (chain, key) = client.rustls()?;
        let kubelets = rustls::ClientConfig::builder()
            .with_root_certificates(authority.roots()?)
            .with_client_auth_cert(chain, key)
            .context("the API server's client certificate")?;
        let anyone = rustls::ClientConfig::builder()
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(trust::Anyone::new()))
            .with_no_client_auth();
        Ok(Self {
            kubelets: TlsConnector::from(Arc::new(kubelets)),
            anyone: TlsConnector::from(Arc::new(anyone)),
        })
    }

    async fn connect(&self, target: &Target) -> Result<(Box<dyn Stream>, String)> {
        let (host, port, connector) = match target {
            Target::Kubelet { host, port, .. } => (host, *port, Some(&self.kubelets)),
            Target::Address { tls: true, host, port } => (host, *port, Some(&self.anyone)),
            Target::Address { tls: false, host, port } => (host, *port, None),
        };
        let ip: std::net::IpAddr = host.parse().with_context(|| format!("{host} is no address"))?;
        let stream = TcpStream::connect((ip, port))
            .await
            .with_context(|| format!("cannot connect to {host}:{port}"))?;
        stream.set_nodelay(true)?;
        let authority = std::net::SocketAddr::from((ip, port)).to_string();
        let Some(connector) = connector else { return Ok((Box::new(stream), authority)) };
        let stream = connector
            .connect(ServerName::from(ip), stream)
            .await
            .with_context(|| format!("cannot speak TLS with {host}:{port}"))?;
        Ok((Box::new(stream), authority))
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

#[async_trait]
impl NodeTransport for Transport {
    async fn send(&self, target: &Target, mut request: HttpRequest) -> ApiResult<HttpResponse> {
        let (stream, authority) = self.connect(target).await.map_err(|error| {
            ApiError::unavailable(format!("error trying to reach service: {error:#}"))
        })?;
        let (mut sender, connection) = hyper::client::conn::http1::Builder::new()
            .preserve_header_case(true)
            .handshake(TokioIo::new(stream))
            .await
            .map_err(ApiError::internal)?;
        tokio::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a proxied connection ended early");
            }
        });
        if let Ok(host) = HeaderValue::from_str(&authority) {
            request.headers_mut().insert(http::header::HOST, host);
        }
        *request.version_mut() = http::Version::HTTP_11;
        let from_client = hyper::upgrade::on(&mut request);
        let mut response = sender.send_request(request).await.map_err(|error| {
            ApiError::unavailable(format!("error trying to reach service: {error}"))
        })?;
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            let to_target = hyper::upgrade::on(&mut response);
            tokio::spawn(join(from_client, to_target));
        } else {
            // These speak of the connection to the target, and HTTP/2 forbids them to clients.
            for header in &HOP_BY_HOP {
                response.headers_mut().remove(header);
            }
        }
        Ok(response.map(Body::new))
    }
}

async fn join(client: hyper::upgrade::OnUpgrade, target: hyper::upgrade::OnUpgrade) {
    let joined = async {
        let (client, target) = tokio::try_join!(client, target)?;
        let (mut client, mut target) = (TokioIo::new(client), TokioIo::new(target));
        tokio::io::copy_bidirectional(&mut client, &mut target).await?;
        anyhow::Ok(())
    };
    if let Err(error) = joined.await {
        tracing::debug!(%error, "an upgraded connection ended early");
    }
}

mod trust {
    //! A verifier that takes any certificate, for pods and services behind the proxy subresource.

    use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
    use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
    use rustls::{DigitallySignedStruct, Error, SignatureScheme};

    #[derive(Debug)]
    pub(super) struct Anyone(CryptoProvider);

    impl Anyone {
        pub(super) fn new() -> Self {
            Self(rustls::crypto::ring::default_provider())
        }
    }

    impl ServerCertVerifier for Anyone {
        fn verify_server_cert(
            &self,
            _: &CertificateDer<'_>,
            _: &[CertificateDer<'_>],
            _: &ServerName<'_>,
            _: &[u8],
            _: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls12_signature(message, certificate, signature, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signature: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            verify_tls13_signature(message, certificate, signature, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }
}
