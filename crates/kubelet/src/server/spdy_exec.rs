//! Exec and attach over SPDY: a stream each for stdin, stdout, stderr, errors and sizes.
//! (client-go `remotecommand`, protocol v4)

use std::time::Duration;

use container_runtime::{ByteReader, ProcessStreams};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::channels::{exit_status, terminal_size};
use super::spdy::{Session, Stream, StreamWriter};

/// How long the client may take to open all its streams.
const OPEN_MAX: Duration = Duration::from_secs(30);
const READ_BLOCK: usize = 32 << 10;

/// The protocols of exec and attach that are spoken here, the best first.
pub(crate) const PROTOCOLS: [&str; 2] = ["v5.channel.k8s.io", "v4.channel.k8s.io"];

#[derive(Default)]
struct Opened {
    error: Option<Stream>,
    stdin: Option<Stream>,
    stdout: Option<Stream>,
    stderr: Option<Stream>,
    resize: Option<Stream>,
}

impl Opened {
    fn count(&self) -> usize {
        [&self.error, &self.stdin, &self.stdout, &self.stderr, &self.resize]
            .into_iter()
            .flatten()
            .count()
    }

    async fn accept(session: &mut Session, wanted: usize) -> Option<Self> {
        let mut opened = Self::default();
        while opened.count() < wanted {
            let stream = session.accept().await?;
            let slot = match stream.headers.get("streamtype").map(String::as_str) {
                Some("error") => &mut opened.error,
                Some("stdin") => &mut opened.stdin,
                Some("stdout") => &mut opened.stdout,
                Some("stderr") => &mut opened.stderr,
                Some("resize") => &mut opened.resize,
                _ => {
                    stream.writer.reset().await;
                    continue;
                }
            };
            *slot = Some(stream);
        }
        Some(opened)
    }
}

/// Carries a process' streams until it ends, or the client goes. `wanted` is how many streams the
/// client opens.
pub(crate) async fn carry(mut session: Session, wanted: usize, mut streams: ProcessStreams) {
    let opened = tokio::time::timeout(OPEN_MAX, Opened::accept(&mut session, wanted)).await;
    let Ok(Some(opened)) = opened else { return };
    let outputs = [(opened.stdout, streams.stdout.take()), (opened.stderr, streams.stderr.take())];
    let outputs =
        outputs.map(|(stream, reader)| copy_out(stream.map(|stream| stream.writer), reader));
    let stdin = streams.stdin.take();
    let input = async move {
        let (Some(mut stream), Some(mut pipe)) = (opened.stdin, stdin) else { return };
        while let Some(data) = stream.reader.recv().await {
            if pipe.write_all(&data).await.is_err() || pipe.flush().await.is_err() {
                return;
            }
        }
        let _closed = pipe.shutdown().await;
    };
    let resize = streams.resize.take();
    let sizes = async move {
        let (Some(mut stream), Some(resize)) = (opened.resize, resize) else { return };
        while let Some(data) = stream.reader.recv().await {
            // One size a line, and lines may come together.
            for line in data.split(|byte| *byte == b'\n') {
                if let Some(size) = terminal_size(line) {
                    let _gone = resize.send(size).await;
                }
            }
        }
    };
    let inputs = async {
        tokio::join!(input, sizes);
        std::future::pending::<()>().await;
    };
    let exit = streams.exit;
    let running = async {
        let (result, _) = tokio::join!(exit, futures::future::join_all(outputs));
        if let Some(error) = &opened.error {
            error.writer.write(exit_status(&result).to_string().as_bytes()).await;
            error.writer.finish().await;
        }
    };
    // The client closes the connection when it has had enough.
    let gone = async { while session.accept().await.is_some() {} };
    tokio::select! {
        () = running => {}
        () = inputs => {}
        () = gone => {}
    }
}

async fn copy_out(writer: Option<StreamWriter>, reader: Option<ByteReader>) {
    let (Some(writer), Some(mut reader)) = (writer, reader) else { return };
    let mut block = vec![0; READ_BLOCK];
    while let Ok(read @ 1..) = reader.read(&mut block).await {
        if !writer.write(&block[..read]).await {
            return;
        }
    }
    writer.finish().await;
}
