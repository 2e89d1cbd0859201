//! A connection that carries streams: reads frames, hands out streams, writes frames in order.
//!
//! Invariant: queues are bounded. A stream that nobody reads holds its connection up, as it does in
//! the clients' own library, and a connection that breaks ends all of its streams.

use std::collections::{BTreeMap, HashMap};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::frame::{self, Frame};
use super::header::{Inflater, empty_block};

const QUEUE: usize = 32;
/// Bytes of a stream go out in frames of at most this size.
const DATA_MAX: usize = 32 << 10;
/// A connection with more streams than this is cut off.
const STREAMS_MAX: usize = 4096;

/// A connection.
pub(crate) struct Session {
    streams: mpsc::Receiver<Stream>,
    reading: AbortHandle,
}

impl Drop for Session {
    fn drop(&mut self) {
        // The writer ends by itself, when everything is written and no stream is held any more.
        self.reading.abort();
    }
}

/// A stream that the peer opened.
pub(crate) struct Stream {
    /// Its headers, names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    /// What the peer sends on it, until it is done.
    pub(crate) reader: mpsc::Receiver<Bytes>,
    /// What goes to the peer.
    pub(crate) writer: StreamWriter,
}

/// The way to the peer on one stream.
#[derive(Debug, Clone)]
pub(crate) struct StreamWriter {
    id: u32,
    out: mpsc::Sender<Bytes>,
}

impl StreamWriter {
    /// Sends bytes; whether the connection still is there.
    pub(crate) async fn write(&self, data: &[u8]) -> bool {
        for piece in data.chunks(DATA_MAX) {
            if self.out.send(frame::data(self.id, piece, false)).await.is_err() {
                return false;
            }
        }
        true
    }

    /// Says that nothing more comes.
    pub(crate) async fn finish(&self) {
        let _gone = self.out.send(frame::data(self.id, &[], true)).await;
    }

    /// Gives the stream up in both directions.
    pub(crate) async fn reset(&self) {
        let _gone = self.out.send(frame::reset(self.id)).await;
    }
}

impl Session {
    /// Begins to serve a connection.
    pub(crate) fn start<I>(io: I) -> Self
    where
        I: AsyncRead + AsyncWrite + Send + 'static,
    {
        let (read, mut write) = tokio::io::split(io);
        let (out, mut queue) = mpsc::channel::<Bytes>(QUEUE);
        let (opened, streams) = mpsc::channel(QUEUE);
        tokio::spawn(async move {
            while let Some(bytes) = queue.recv().await {
                if write.write_all(&bytes).await.is_err() || write.flush().await.is_err() {
                    return;
                }
            }
            let _closed = write.shutdown().await;
        });
        let reader = Reader {
            inflater: Inflater::new(),
            out,
            opened,
            streams: HashMap::new(),
            replied: false,
        };
        let reading = tokio::spawn(async move {
            if let Err(why) = reader.run(read).await {
                tracing::debug!(why, "a SPDY connection was cut off");
            }
        });
        Self { streams, reading: reading.abort_handle() }
    }

    /// The next stream that the peer opens; `None` when it opens no more.
    pub(crate) async fn accept(&mut self) -> Option<Stream> {
        self.streams.recv().await
    }
}

struct Reader {
    inflater: Inflater,
    out: mpsc::Sender<Bytes>,
    opened: mpsc::Sender<Stream>,
    streams: HashMap<u32, mpsc::Sender<Bytes>>,
    replied: bool,
}

impl Reader {
    async fn run<R: AsyncRead + Unpin>(mut self, mut io: R) -> Result<(), String> {
        let mut buffer = BytesMut::with_capacity(DATA_MAX);
        loop {
            while let Some(frame) = frame::take(&mut buffer)? {
                self.handle(frame).await?;
            }
            match io.read_buf(&mut buffer).await {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    async fn handle(&mut self, frame: Frame) -> Result<(), String> {
        match frame {
            Frame::SynStream { id, fin, headers } => self.open(id, fin, &headers).await,
            Frame::Data { id, fin, data } => {
                if let Some(stream) = self.streams.get(&id)
                    && !data.is_empty()
                {
                    // A reader that went away wants nothing more of this stream.
                    let _unwanted = stream.send(data).await;
                }
                if fin {
                    self.streams.remove(&id);
                }
                Ok(())
            }
            Frame::Reset(id) => {
                self.streams.remove(&id);
                Ok(())
            }
            Frame::Ping(id) => {
                let _gone = self.out.send(frame::pong(id)).await;
                Ok(())
            }
            Frame::GoAway | Frame::Other => Ok(()),
        }
    }

    async fn open(&mut self, id: u32, fin: bool, headers: &[u8]) -> Result<(), String> {
        let headers = self.inflater.read(headers)?;
        if self.streams.len() >= STREAMS_MAX {
            return Err("too many streams".to_owned());
        }
        let (sender, reader) = mpsc::channel(QUEUE);
        if !fin {
            self.streams.insert(id, sender);
        }
        let first = !std::mem::replace(&mut self.replied, true);
        let _gone = self.out.send(frame::reply(id, &empty_block(first))).await;
        let writer = StreamWriter { id, out: self.out.clone() };
        let _nobody = self.opened.send(Stream { headers, reader, writer }).await;
        Ok(())
    }
}
