//! Frames of SPDY/3.1 to and from bytes.

use bytes::{BufMut as _, Bytes, BytesMut};

const VERSION: u16 = 3;
const SYN_STREAM: u16 = 1;
const SYN_REPLY: u16 = 2;
const RST_STREAM: u16 = 3;
const PING: u16 = 6;
const GOAWAY: u16 = 7;
const FIN: u8 = 1;
/// Frames larger than this are refused: the length has 24 bits, nobody needs them.
const LENGTH_MAX: usize = 1 << 20;
const HEAD: usize = 8;

/// A frame that was read. What the server need not know is not here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Frame {
    /// The peer opens a stream; its headers are still compressed.
    SynStream {
        /// The stream.
        id: u32,
        /// Whether the peer will send nothing on it.
        fin: bool,
        /// The compressed headers.
        headers: Bytes,
    },
    /// Bytes of a stream.
    Data {
        /// The stream.
        id: u32,
        /// Whether they are the last.
        fin: bool,
        /// The bytes.
        data: Bytes,
    },
    /// The peer gives a stream up.
    Reset(u32),
    /// To be sent back as it is.
    Ping(u32),
    /// The peer opens no more streams.
    GoAway,
    /// Anything else.
    Other,
}

/// Takes one frame off the front of what was read; `None` when it is not whole yet.
pub(crate) fn take(buffer: &mut BytesMut) -> Result<Option<Frame>, String> {
    let Some(head) = buffer.get(..HEAD) else { return Ok(None) };
    let first = u32::from_be_bytes([head[0], head[1], head[2], head[3]]);
    let flags = head[4];
    let length = usize::from(head[5]) << 16 | usize::from(head[6]) << 8 | usize::from(head[7]);
    if length > LENGTH_MAX {
        return Err(format!("a frame of {length} bytes is too large"));
    }
    if buffer.len() < HEAD + length {
        return Ok(None);
    }
    let body = buffer.split_to(HEAD + length).freeze().slice(HEAD..);
    let fin = flags & FIN != 0;
    if first >> 31 == 0 {
        return Ok(Some(Frame::Data { id: first, fin, data: body }));
    }
    let kind = u16::try_from(first & 0xffff).unwrap_or_default();
    let word = |at: usize| -> Result<u32, String> {
        let bytes =
            body.get(at..at + 4).ok_or_else(|| format!("a frame of type {kind} is too short"))?;
        Ok(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) & 0x7fff_ffff)
    };
    Ok(Some(match kind {
        SYN_STREAM => {
            let id = word(0)?;
            if body.len() < 10 {
                return Err("a SYN_STREAM is too short".to_owned());
            }
            Frame::SynStream { id, fin, headers: body.slice(10..) }
        }
        RST_STREAM => Frame::Reset(word(0)?),
        PING => Frame::Ping(word(0)?),
        GOAWAY => Frame::GoAway,
        _ => Frame::Other,
    }))
}

/// Bytes of a stream.
pub(crate) fn data(id: u32, data: &[u8], fin: bool) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + data.len());
    out.put_u32(id);
    put_flags(&mut out, fin, data.len());
    out.put_slice(data);
    out.freeze()
}

/// Accepts a stream; the headers are already in their compressed form.
pub(crate) fn reply(id: u32, headers: &[u8]) -> Bytes {
    let mut body = BytesMut::with_capacity(4 + headers.len());
    body.put_u32(id);
    body.put_slice(headers);
    control(SYN_REPLY, &body)
}

/// Gives a stream up.
pub(crate) fn reset(id: u32) -> Bytes {
    const CANCEL: u32 = 5;
    let mut body = BytesMut::with_capacity(8);
    body.put_u32(id);
    body.put_u32(CANCEL);
    control(RST_STREAM, &body)
}

/// Answers a ping.
pub(crate) fn pong(id: u32) -> Bytes {
    control(PING, &id.to_be_bytes())
}

fn control(kind: u16, body: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(HEAD + body.len());
    out.put_u16(VERSION | 0x8000);
    out.put_u16(kind);
    put_flags(&mut out, false, body.len());
    out.put_slice(body);
    out.freeze()
}

fn put_flags(out: &mut BytesMut, fin: bool, length: usize) {
    let length = u32::try_from(length).unwrap_or(u32::MAX) & 0x00ff_ffff;
    out.put_u32(u32::from(fin) << 24 | length);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_as_they_went() {
        let mut buffer = BytesMut::new();
        buffer.extend_from_slice(&data(5, b"hello", true));
        buffer.extend_from_slice(&pong(7));
        buffer.extend_from_slice(&reset(9)[..10]);
        let hello = Frame::Data { id: 5, fin: true, data: Bytes::from_static(b"hello") };
        assert_eq!(take(&mut buffer), Ok(Some(hello)));
        assert_eq!(take(&mut buffer), Ok(Some(Frame::Ping(7))));
        assert_eq!(take(&mut buffer), Ok(None), "half a frame waits");
        buffer.extend_from_slice(&reset(9)[10..]);
        assert_eq!(take(&mut buffer), Ok(Some(Frame::Reset(9))));
    }

    #[test]
    fn nonsense_is_refused() {
        let mut huge = BytesMut::from(&[0, 0, 0, 1, 0, 0xff, 0xff, 0xff][..]);
        assert!(take(&mut huge).is_err());
        let mut short = BytesMut::from(&[0x80, 3, 0, 1, 0, 0, 0, 2, 0, 0][..]);
        assert!(take(&mut short).is_err());
    }
}
