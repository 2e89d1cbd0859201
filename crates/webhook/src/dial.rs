//! From a destination to a connection.
//!
//! Destinations and addresses are tried in order; the next one is tried as soon as the one before
//! failed or kept silent for a moment, and the first that answers is taken (RFC 8305's way).

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use hickory_resolver::TokioResolver;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use crate::error::{DialError, io_text};

/// How long one address may keep silent before the next is tried beside it.
const PATIENCE: Duration = Duration::from_millis(250);
/// How long a connection may take; Go's `net.Dialer` of client-go has the same.
const CONNECT_MAX: Duration = Duration::from_secs(30);
/// How many addresses are tried.
const TRIES_MAX: usize = 8;

/// Somebody to connect to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// An address.
    Address(SocketAddr),
    /// A name to look up, and a port.
    Name(String, u16),
}

/// Connects to the first of the destinations that answers. The error is that of the first.
///
/// # Errors
/// Nobody answers.
pub async fn dial(destinations: &[Destination]) -> Result<TcpStream, DialError> {
    let addresses = addresses(destinations).await?;
    let mut waiting = addresses.into_iter().take(TRIES_MAX);
    let mut running = FuturesUnordered::new();
    let mut first_error = None;
    let mut next_at = Instant::now();
    let mut exhausted = false;
    loop {
        tokio::select! {
            () = sleep_until(next_at), if !exhausted => match waiting.next() {
                Some(address) => {
                    running.push(connect(address));
                    next_at = Instant::now() + PATIENCE;
                }
                None => exhausted = true,
            },
            Some(done) = running.next() => match done {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    first_error.get_or_insert(error);
                    next_at = Instant::now();
                }
            },
            else => {
                let nobody = || DialError::Service("no address to connect to".to_owned());
                return Err(first_error.unwrap_or_else(nobody));
            }
        }
    }
}

async fn connect(address: SocketAddr) -> Result<TcpStream, DialError> {
    let failed = |why| DialError::Connect { address: address.to_string(), why };
    let connecting = tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address));
    let stream = match connecting.await {
        Ok(Ok(stream)) => stream,
        Ok(Err(error)) => return Err(failed(io_text(&error))),
        Err(_) => return Err(failed("i/o timeout".to_owned())),
    };
    stream.set_nodelay(true).map_err(|error| failed(io_text(&error)))?;
    Ok(stream)
}

/// The addresses of all destinations. A name that cannot be looked up fails only when there is no
/// other destination.
async fn addresses(destinations: &[Destination]) -> Result<Vec<SocketAddr>, DialError> {
    let mut found = Vec::new();
    let mut failure = None;
    for destination in destinations {
        match destination {
            Destination::Address(address) => found.push(*address),
            Destination::Name(name, port) => match look_up(name).await {
                Ok(ips) => found.extend(ips.into_iter().map(|ip| SocketAddr::new(ip, *port))),
                Err(error) => failure = Some(error),
            },
        }
    }
    match failure {
        Some(error) if found.is_empty() => Err(error),
        _ => Ok(found),
    }
}

/// The addresses of a name, by the system's configuration. It is read anew each time: connections
/// are kept, so look-ups are few, and a changed `resolv.conf` counts at once.
async fn look_up(name: &str) -> Result<Vec<IpAddr>, DialError> {
    let failed = |why: String| DialError::Lookup { name: name.to_owned(), why };
    let resolver = TokioResolver::builder_tokio()
        .and_then(|builder| builder.build())
        .map_err(|error| failed(error.to_string()))?;
    match resolver.lookup_ip(name).await {
        Ok(answer) => Ok(answer.iter().collect()),
        Err(error) if error.is_no_records_found() || error.is_nx_domain() => {
            Err(failed("no such host".to_owned()))
        }
        Err(error) => Err(failed(error.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn the_next_address_is_tried_when_the_first_refuses() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let stream = dial(&[Destination::Address(closed), Destination::Address(open)]).await;
        assert_eq!(stream.unwrap().peer_addr().unwrap(), open);

        let error = dial(&[Destination::Address(closed)]).await.unwrap_err();
        assert_eq!(error.to_string(), format!("dial tcp {closed}: connect: connection refused"));
    }

    #[tokio::test]
    async fn localhost_needs_no_server() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        dial(&[Destination::Name("localhost".to_owned(), port)]).await.unwrap();
    }
}
