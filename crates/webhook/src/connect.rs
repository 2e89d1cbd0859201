//! A connector for hyper's client: dials, speaks TLS, checks who answers.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::config::ServiceReference;
use crate::dial::{Destination, dial};
use crate::error::{DialError, tls_text};
use crate::services::ServiceResolver;

/// Connects to one server.
#[derive(Clone)]
pub struct Connector {
    pub(crate) services: Arc<dyn ServiceResolver>,
    pub(crate) service: Option<ServiceReference>,
    pub(crate) tls: TlsConnector,
}

impl Connector {
    /// One that connects to a Service, whatever the URI says.
    #[must_use]
    pub fn to_service(
        services: Arc<dyn ServiceResolver>,
        service: ServiceReference,
        tls: TlsConnector,
    ) -> Self {
        Self { services, service: Some(service), tls }
    }

    async fn connect(self, uri: http::Uri) -> Result<Stream, DialError> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let (destinations, name) = match &self.service {
            Some(service) => (self.services.resolve(service).await?, service.server_name()),
            None => (vec![named(host, uri.port_u16().unwrap_or(443))], host.to_owned()),
        };
        let name = ServerName::try_from(name.clone())
            .map_err(|error| DialError::Tls(format!("{name}: {error}")))?;
        let stream = dial(&destinations).await?;
        let stream = self.tls.connect(name, stream).await;
        let stream = stream.map_err(|error| DialError::Tls(tls_text(&error)))?;
        Ok(Stream(TokioIo::new(stream)))
    }
}

fn named(host: &str, port: u16) -> Destination {
    match host.parse() {
        Ok(ip) => Destination::Address(std::net::SocketAddr::new(ip, port)),
        Err(_) => Destination::Name(host.to_owned(), port),
    }
}

impl tower_service::Service<http::Uri> for Connector {
    type Response = Stream;
    type Error = DialError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, DialError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), DialError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: http::Uri) -> Self::Future {
        Box::pin(self.clone().connect(uri))
    }
}

/// A connection, as hyper's client wants it.
pub struct Stream(TokioIo<TlsStream<TcpStream>>);

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
