//! From a request to a connection of the kind that it asks for: WebSocket, or SPDY, or SPDY within
//! WebSocket.

use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::extract::{FromRequestParts as _, Request};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures::{SinkExt as _, StreamExt as _};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};

use super::spdy::Session;
use super::{channels, plain};

const PROTOCOL_VERSION: &str = "x-stream-protocol-version";
const SPDY: &str = "SPDY/3.1";
/// The prefix of WebSocket protocols that carry SPDY.
pub(crate) const TUNNEL: &str = "SPDY/3.1+";
const BUFFER: usize = 64 << 10;

/// What a client asks for.
pub(crate) enum Asked {
    /// A WebSocket, its protocol not chosen yet.
    WebSocket(Box<WebSocketUpgrade>),
    /// SPDY, with the protocols that the client speaks over it.
    Spdy(hyper::upgrade::OnUpgrade, Vec<String>),
}

/// What a request asks for; an answer when it asks for neither.
pub(crate) async fn asked(request: Request) -> Result<Asked, Response> {
    let (mut parts, _) = request.into_parts();
    let upgrade = parts
        .headers
        .get(header::UPGRADE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    if upgrade.eq_ignore_ascii_case(SPDY) {
        let offered = parts.headers.get_all(PROTOCOL_VERSION).iter();
        let offered = offered.filter_map(|value| value.to_str().ok());
        let offered =
            offered.flat_map(|value| value.split(',')).map(|one| one.trim().to_owned()).collect();
        return match parts.extensions.remove::<hyper::upgrade::OnUpgrade>() {
            Some(on_upgrade) => Ok(Asked::Spdy(on_upgrade, offered)),
            None => Err(plain(StatusCode::BAD_REQUEST, "this connection cannot be upgraded")),
        };
    }
    match WebSocketUpgrade::from_request_parts(&mut parts, &()).await {
        Ok(upgrade) => Ok(Asked::WebSocket(Box::new(upgrade))),
        Err(_) => {
            let text =
                "unable to upgrade: missing upgrade headers for WebSocket or SPDY in request";
            Err(plain(StatusCode::BAD_REQUEST, text))
        }
    }
}

/// Upgrades to SPDY with the first protocol that both sides speak, then runs `serve`.
pub(crate) fn to_spdy<F>(
    on_upgrade: hyper::upgrade::OnUpgrade,
    offered: &[String],
    spoken: &[&'static str],
    serve: impl FnOnce(Session) -> F + Send + 'static,
) -> Response
where
    F: Future<Output = ()> + Send + 'static,
{
    let Some(protocol) = spoken.iter().find(|one| offered.iter().any(|other| other == *one)) else {
        let text = format!(
            "unable to upgrade: unable to negotiate protocol: client supports {offered:?}, server accepts {spoken:?}"
        );
        return plain(StatusCode::FORBIDDEN, text);
    };
    tokio::spawn(async move {
        match on_upgrade.await {
            Ok(upgraded) => serve(Session::start(TokioIo::new(upgraded))).await,
            Err(error) => tracing::debug!(%error, "a connection was not upgraded"),
        }
    });
    let mut answer = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = answer.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(SPDY));
    headers.insert(PROTOCOL_VERSION, HeaderValue::from_static(protocol));
    answer
}

/// A WebSocket whose binary messages are a stream of bytes.
pub(crate) fn tunnel(socket: WebSocket) -> DuplexStream {
    let (near, far) = tokio::io::duplex(BUFFER);
    let (mut read, mut write) = tokio::io::split(far);
    let (mut sink, mut source) = socket.split();
    tokio::spawn(async move {
        let incoming = async {
            while let Some(Ok(message)) = source.next().await {
                let bytes = match message {
                    Message::Binary(bytes) => bytes,
                    Message::Close(_) => break,
                    _ => continue,
                };
                if write.write_all(&bytes).await.is_err() {
                    break;
                }
            }
            let _closed = write.shutdown().await;
        };
        let outgoing = async {
            let mut block = vec![0; BUFFER];
            while let Ok(size @ 1..) = read.read(&mut block).await {
                let bytes = bytes::Bytes::copy_from_slice(&block[..size]);
                if sink.send(Message::Binary(bytes)).await.is_err() {
                    return;
                }
            }
            let _gone = sink.send(channels::end()).await;
        };
        tokio::select! {
            () = incoming => {}
            () = outgoing => {}
        }
    });
    near
}
