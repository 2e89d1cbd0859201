//! Kubernetes' channels over WebSocket: one byte says which stream a message is of.
//!
//! Versions: `v5` and `v4` report the end as a Status on channel 3, v5 can also close stdin;
//! `channel.k8s.io` says nothing but what is wrong; `base64.` forms carry text.

use axum::body::Bytes;
use axum::extract::ws::{CloseFrame, Message, WebSocket, close_code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use container_runtime::{ProcessStreams, TerminalSize};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

pub(crate) const STDIN: u8 = 0;
pub(crate) const STDOUT: u8 = 1;
pub(crate) const STDERR: u8 = 2;
pub(crate) const ERROR: u8 = 3;
pub(crate) const RESIZE: u8 = 4;
const CLOSE: u8 = 255;
/// Messages that wait for a slow peer.
const QUEUE: usize = 16;
const READ_BLOCK: usize = 32 << 10;

/// The subprotocols of exec and attach, the best first.
pub(crate) const PROTOCOLS: [&str; 5] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v4.base64.channel.k8s.io",
    "channel.k8s.io",
    "base64.channel.k8s.io",
];

/// How messages are formed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Form {
    base64: bool,
    status: bool,
}

impl Form {
    /// The form of a subprotocol.
    pub(crate) fn of(protocol: &str) -> Self {
        Self { base64: protocol.contains("base64"), status: protocol.starts_with('v') }
    }

    pub(crate) fn encode(self, channel: u8, data: &[u8]) -> Message {
        if self.base64 {
            let text = format!("{}{}", char::from(b'0' + channel), STANDARD.encode(data));
            return Message::Text(text.into());
        }
        let mut bytes = Vec::with_capacity(data.len() + 1);
        bytes.push(channel);
        bytes.extend_from_slice(data);
        Message::Binary(bytes.into())
    }

    pub(crate) fn decode(self, message: &Message) -> Option<(u8, Bytes)> {
        match message {
            Message::Text(text) if self.base64 => {
                let channel = text.as_bytes().first()?.checked_sub(b'0')?;
                Some((channel, STANDARD.decode(text.get(1..)?).ok()?.into()))
            }
            Message::Binary(bytes) => Some((*bytes.first()?, bytes.slice(1..))),
            Message::Text(text) => {
                let bytes = Bytes::copy_from_slice(text.as_bytes());
                Some((*bytes.first()?, bytes.slice(1..)))
            }
            _ => None,
        }
    }

    /// How the end of a process is told on channel 3; nothing when there is nothing to tell.
    fn end(self, result: &Result<i32, container_runtime::Error>) -> Option<Vec<u8>> {
        let status = exit_status(result);
        if self.status {
            return Some(status.to_string().into_bytes());
        }
        (status["status"] != "Success")
            .then(|| status["message"].as_str().unwrap_or_default().as_bytes().to_vec())
    }
}

/// The last message: clients take an end without a code for a broken connection.
pub(crate) fn end() -> Message {
    Message::Close(Some(CloseFrame { code: close_code::NORMAL, reason: "".into() }))
}

/// The end of a process as a Status.
pub(crate) fn exit_status(result: &Result<i32, container_runtime::Error>) -> Value {
    match result {
        Ok(0) => json!({"metadata": {}, "status": "Success"}),
        Ok(code) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("command terminated with non-zero exit code: exit status {code}"),
            "reason": "NonZeroExitCode",
            "details": {"causes": [{"reason": "ExitCode", "message": code.to_string()}]},
        }),
        Err(error) => json!({
            "metadata": {},
            "status": "Failure",
            "message": format!("Internal error occurred: {error}"),
            "reason": "InternalError",
            "details": {"causes": [{"message": error.to_string()}]},
            "code": 500,
        }),
    }
}

/// Carries a process' streams over a socket until it ends, or the peer goes.
pub(crate) async fn carry(socket: WebSocket, form: Form, mut streams: ProcessStreams) {
    let (mut sink, mut source) = socket.split();
    let (sender, mut receiver) = mpsc::channel::<Message>(QUEUE);
    let writing = async move {
        while let Some(message) = receiver.recv().await {
            if sink.send(message).await.is_err() {
                return;
            }
        }
        let _gone = sink.send(end()).await;
    };
    let mut outputs = Vec::new();
    for (channel, stream) in [(STDOUT, streams.stdout.take()), (STDERR, streams.stderr.take())] {
        if let Some(mut stream) = stream {
            let sender = sender.clone();
            outputs.push(async move {
                let mut block = vec![0; READ_BLOCK];
                while let Ok(read @ 1..) = stream.read(&mut block).await {
                    if sender.send(form.encode(channel, &block[..read])).await.is_err() {
                        return;
                    }
                }
            });
        }
    }
    let (mut stdin, resize) = (streams.stdin.take(), streams.resize.take());
    let reading = async move {
        while let Some(Ok(message)) = source.next().await {
            if matches!(message, Message::Close(_)) {
                return;
            }
            match form.decode(&message) {
                Some((STDIN, data)) => {
                    if let Some(pipe) = &mut stdin
                        && !data.is_empty()
                        && (pipe.write_all(&data).await.is_err() || pipe.flush().await.is_err())
                    {
                        stdin = None;
                    }
                }
                Some((CLOSE, data)) if data.first() == Some(&STDIN) => {
                    if let Some(mut pipe) = stdin.take() {
                        let _closed = pipe.shutdown().await;
                    }
                }
                Some((RESIZE, data)) => {
                    if let (Some(resize), Some(size)) = (&resize, terminal_size(&data)) {
                        let _gone = resize.send(size).await;
                    }
                }
                _ => {}
            }
        }
    };
    let exit = streams.exit;
    let running = async move {
        // Everything that was written comes before the end is told.
        let (result, _) = tokio::join!(exit, futures::future::join_all(outputs));
        if let Some(data) = form.end(&result) {
            let _gone = sender.send(form.encode(ERROR, &data)).await;
        }
    };
    let whole = async { tokio::join!(running, writing) };
    tokio::select! {
        _ended = whole => {}
        () = reading => {}
    }
}

/// `{"Width":80,"Height":24}`.
pub(crate) fn terminal_size(data: &[u8]) -> Option<TerminalSize> {
    let size: Value = serde_json::from_slice(data).ok()?;
    let field = |name: &str| size.get(name)?.as_u64().and_then(|value| u16::try_from(value).ok());
    Some(TerminalSize { width: field("Width")?, height: field("Height")? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms() {
        let binary = Form::of("v5.channel.k8s.io");
        assert_eq!(binary.encode(1, b"hi"), Message::Binary(vec![1, b'h', b'i'].into()));
        let text = Form::of("base64.channel.k8s.io");
        assert_eq!(text.encode(2, b"hi"), Message::Text("2aGk=".into()));
        assert_eq!(
            text.decode(&Message::Text("0aGk=".into())),
            Some((0, Bytes::from_static(b"hi")))
        );
        assert_eq!(Form::of("channel.k8s.io").end(&Ok(0)), None);
        let end: Value = serde_json::from_slice(&binary.end(&Ok(42)).unwrap()).unwrap();
        assert_eq!(end["details"]["causes"][0], json!({"reason": "ExitCode", "message": "42"}));
    }

    #[test]
    fn sizes() {
        let size = terminal_size(br#"{"Width":80,"Height":24}"#);
        assert_eq!(size, Some(TerminalSize { width: 80, height: 24 }));
        assert_eq!(terminal_size(b"{}"), None);
    }
}
