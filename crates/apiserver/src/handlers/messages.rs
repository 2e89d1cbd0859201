//! A stream of bytes as WebSocket messages, for browsers: a log is read this way.
//!
//! An empty message comes first, so that a client sees at once that it is served, and a close when
//! the stream has ended. What the client sends is passed over. (apimachinery `wsstream.Reader`)

use std::sync::Arc;

use api::status::{ApiError, ApiResult};
use axum::body::Body;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use base64::Engine as _;
use bytes::Bytes;
use futures::StreamExt as _;
use http::header::{CONNECTION, UPGRADE};
use http::request::Parts;

use super::header;
use crate::metrics::Lasting;

/// The protocol whose messages are text, which some clients need.
const TEXT: &str = "base64.binary.k8s.io";
/// What may be asked for; nothing means binary messages.
const PROTOCOLS: [&str; 3] = ["", "binary.k8s.io", TEXT];

/// A client that wants an answer's body as messages.
pub(super) struct Messages {
    upgrade: WebSocketUpgrade,
    lasting: Option<Arc<Lasting>>,
}

impl Messages {
    /// Of a request that asks for it. The request is an ordinary one afterwards, fit to be sent on.
    pub(super) async fn asked(parts: &mut Parts) -> ApiResult<Option<Self>> {
        if !header(&parts.headers, "upgrade").eq_ignore_ascii_case("websocket") {
            return Ok(None);
        }
        let upgrade = WebSocketUpgrade::from_request_parts(parts, &())
            .await
            .map_err(|refused| ApiError::bad_request(refused.to_string()))?;
        parts.headers.remove(UPGRADE);
        parts.headers.remove(CONNECTION);
        let lasting = parts.extensions.get::<Arc<Lasting>>().cloned();
        Ok(Some(Self { upgrade: upgrade.protocols(PROTOCOLS), lasting }))
    }

    /// Passes the body of an answer on. What went wrong is said in the ordinary way.
    pub(super) fn of(self, answer: Response) -> Response {
        if !answer.status().is_success() {
            return answer;
        }
        let Self { upgrade, lasting } = self;
        let is_text = upgrade.selected_protocol().is_some_and(|chosen| chosen == TEXT);
        upgrade.on_upgrade(move |socket| async move {
            pass(socket, answer.into_body(), is_text).await;
            drop(lasting);
        })
    }
}

/// Sends a body until it ends or the client goes.
async fn pass(mut socket: WebSocket, body: Body, is_text: bool) {
    let mut chunks = body.into_data_stream();
    let mut next = Some(Bytes::new());
    let mut close = None;
    while let Some(chunk) = next {
        let message = if is_text {
            Message::Text(base64::engine::general_purpose::STANDARD.encode(&chunk).into())
        } else {
            Message::Binary(chunk)
        };
        if socket.send(message).await.is_err() {
            return;
        }
        next = loop {
            tokio::select! {
                chunk = chunks.next() => match chunk {
                    Some(Ok(chunk)) => break Some(chunk),
                    // Not to be taken for the end.
                    Some(Err(error)) => {
                        let reason = format!("the stream broke off: {error}");
                        close = Some(CloseFrame { code: close_code::ERROR, reason: short(reason) });
                        break None;
                    }
                    None => break None,
                },
                received = socket.recv() => match received {
                    Some(Ok(Message::Close(_)) | Err(_)) | None => return,
                    Some(Ok(_)) => {}
                },
            }
        };
    }
    // The client may have gone already.
    let _ = socket.send(Message::Close(close)).await;
}

/// A close frame has room for 123 bytes.
fn short(mut reason: String) -> Utf8Bytes {
    reason.truncate(reason.floor_char_boundary(120));
    reason.into()
}

#[cfg(test)]
mod tests {
    use axum::extract::Request;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    async fn serve(request: Request) -> Response {
        let (mut parts, _) = request.into_parts();
        let messages = Messages::asked(&mut parts).await.unwrap().expect("it asks for messages");
        assert!(!parts.headers.contains_key(UPGRADE));
        let status = if parts.uri.path() == "/missing" { 404 } else { 200 };
        let body = match parts.uri.path() {
            "/broken" => {
                let chunks = [Ok("alive\n"), Err(std::io::Error::other("x"))];
                Body::from_stream(futures::stream::iter(chunks))
            }
            _ => Body::from("alive\n"),
        };
        messages.of(Response::builder().status(status).body(body).unwrap())
    }

    /// Asks as a browser does; gives the head of the answer and what follows it.
    async fn check(path: &str, protocol: &str, status: &str, expected: &[u8]) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let app = axum::Router::new().fallback(serve);
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: {protocol}\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(expected) {
            assert!(stream.read_buf(&mut got).await.unwrap() > 0, "{protocol}: {got:?}");
        }
        let text = String::from_utf8_lossy(&got);
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{text}");
        let named =
            text.to_lowercase().contains(&format!("sec-websocket-protocol: {protocol}\r\n"));
        assert_eq!(named, status == "101", "{text}");
        server.abort();
    }

    #[tokio::test]
    async fn a_body_comes_as_messages() {
        // An empty message, the body, a close; and the same as text.
        check("/", "binary.k8s.io", "101", b"\r\n\r\n\x82\x00\x82\x06alive\n\x88\x00").await;
        check("/", TEXT, "101", b"\r\n\r\n\x81\x00\x81\x08YWxpdmUK\x88\x00").await;
        let broken = b"\x82\x06alive\n\x88\x19\x03\xf3the stream broke off: x";
        check("/broken", "binary.k8s.io", "101", broken).await;
        check("/missing", "binary.k8s.io", "404", b"\r\n\r\nalive\n").await;
    }
}
