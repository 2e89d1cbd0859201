//! The way out of the server: requests to kubelets, pods and services.

use std::sync::Arc;

use anyhow::{Context as _, Result};
use api::status::{ApiError, ApiResult};
use apiserver::relay;
use apiserver::resource::{HttpRequest, HttpResponse};
use async_trait::async_trait;
use http::HeaderValue;
use hyper_util::rt::TokioIo;
use resources::{NodeTransport, Target};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::pki::Authority;
use crate::pki::renew::Renewed;

/// Connects anew for each request: they are few (logs, exec, proxy), and some last for hours.
pub(crate) struct Transport {
    /// To kubelets: with the API server's certificate, verifying theirs.
    kubelets: TlsConnector,
    /// To pods and services: any certificate will do, as upstream has it.
    anyone: TlsConnector,
}

impl Transport {
    /// A transport that trusts the cluster's authority and shows a client certificate.
    pub(crate) fn new(authority: &Authority, client: Arc<Renewed>) -> Result<Self> {
        let kubelets = rustls::ClientConfig::builder()
            .with_root_certificates(authority.roots()?)
            .with_client_cert_resolver(client);
        let anyone = webhook::client_config(webhook::Trust::Anyone)?;
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
        let response = sender.send_request(request).await.map_err(|error| {
            ApiError::unavailable(format!("error trying to reach service: {error}"))
        })?;
        Ok(relay::response(from_client, response))
    }
}
