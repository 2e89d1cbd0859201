//! `grpc`: gRPC's own health check, `grpc.health.v1.Health/Check`, over plain HTTP/2.
//!
//! Its two messages have one field each, so they are written and read here by hand.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpStream;

use super::{Outcome, tcp};

/// Tries once.
pub(crate) async fn probe(
    address: SocketAddr,
    service: &str,
    agent: &str,
    timeout: Duration,
) -> Outcome {
    match tokio::time::timeout(timeout, check(address, service, agent)).await {
        Ok(outcome) => outcome,
        Err(_) => Outcome::Failure(format!(
            "timeout: failed to connect service \"{address}\" within {}s: context deadline exceeded",
            timeout.as_secs()
        )),
    }
}

async fn check(address: SocketAddr, service: &str, agent: &str) -> Outcome {
    match exchange(address, service, agent).await {
        Ok(Answer { grpc_status: 0, serving: 1 }) => Outcome::Success,
        Ok(Answer { grpc_status: 0, serving }) => {
            let name = match serving {
                0 => "UNKNOWN",
                2 => "NOT_SERVING",
                _ => "SERVICE_UNKNOWN",
            };
            Outcome::Failure(format!("service unhealthy (responded with \"{name}\")"))
        }
        Ok(Answer { grpc_status: 12, .. }) => Outcome::Failure(
            "error: this server does not implement the grpc health protocol (grpc.health.v1.Health)".to_owned(),
        ),
        Ok(Answer { grpc_status, .. }) => {
            Outcome::Failure(format!("error: health rpc probe failed: rpc error: code = {grpc_status}"))
        }
        Err(error) => Outcome::Failure(format!("error: health rpc probe failed: {error}")),
    }
}

struct Answer {
    grpc_status: u32,
    serving: u8,
}

async fn exchange(address: SocketAddr, service: &str, agent: &str) -> Result<Answer, String> {
    let stream =
        TcpStream::connect(address).await.map_err(|error| tcp::dial_error(address, &error))?;
    let text = |error: hyper::Error| base::error::Chain(&error).to_string();
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
            .await
            .map_err(text)?;
    let request = Request::post(format!("http://{address}/grpc.health.v1.Health/Check"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .header("user-agent", agent)
        .body(Full::new(encode(service)))
        .map_err(|error| error.to_string())?;
    let asked = async {
        let answer = sender.send_request(request).await.map_err(text)?;
        let status = |headers: &http::HeaderMap| -> Option<u32> {
            headers.get("grpc-status")?.to_str().ok()?.parse().ok()
        };
        let early = status(answer.headers());
        let collected = answer.into_body().collect().await.map_err(text)?;
        let late = collected.trailers().and_then(status);
        let serving = decode(&collected.to_bytes());
        Ok(Answer { grpc_status: early.or(late).unwrap_or(2), serving })
    };
    tokio::pin!(asked);
    tokio::pin!(connection);
    let mut open = true;
    loop {
        tokio::select! {
            answer = &mut asked => return answer,
            _ended = &mut connection, if open => open = false,
        }
    }
}

/// `HealthCheckRequest { service = 1 }` in gRPC's frame.
fn encode(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(0x0a);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(u8::try_from(length & 0x7f).unwrap_or_default() | 0x80);
            length >>= 7;
        }
        message.put_u8(u8::try_from(length).unwrap_or_default());
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap_or_default());
    frame.put_slice(&message);
    frame.freeze()
}

/// `HealthCheckResponse { status = 1 }` out of gRPC's frame; 0 when it is not there.
fn decode(frame: &[u8]) -> u8 {
    match frame {
        [0, _, _, _, _, 0x08, status, ..] => *status,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_protobuf() {
        assert_eq!(&encode("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&encode("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        assert_eq!(encode(&"x".repeat(200))[6..8], [0xc8, 0x01]);
        assert_eq!(decode(&[0, 0, 0, 0, 2, 8, 1]), 1);
        assert_eq!(decode(&[0, 0, 0, 0, 0]), 0);
    }
}
