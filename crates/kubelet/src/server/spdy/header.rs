//! Header blocks of SPDY/3.1: name-value pairs, compressed with one zlib stream a direction and a
//! dictionary that both sides know.
//!
//! Ours go out uncompressed, in stored blocks, which every inflater reads; the peer's are inflated
//! into a ring that begins with the dictionary.

use std::collections::BTreeMap;

use bytes::{BufMut as _, BytesMut};
use miniz_oxide::inflate::TINFLStatus;
use miniz_oxide::inflate::core::inflate_flags::{
    TINFL_FLAG_HAS_MORE_INPUT, TINFL_FLAG_IGNORE_ADLER32,
};
use miniz_oxide::inflate::core::{DecompressorOxide, decompress};

/// Inflated headers larger than this are refused.
const BLOCK_MAX: usize = 64 << 10;
const RING: usize = 64 << 10;
/// zlib's head says that a dictionary follows.
const FLAG_DICTIONARY: u8 = 0x20;

/// Words of the dictionary that stand in it with their length.
const WORDS: [&str; 65] = [
    "options",
    "head",
    "post",
    "put",
    "delete",
    "trace",
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "accept-ranges",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "connection",
    "content-base",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-md5",
    "content-range",
    "content-type",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "location",
    "max-forwards",
    "pragma",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "retry-after",
    "server",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
    "vary",
    "via",
    "warning",
    "www-authenticate",
    "method",
    "get",
    "status",
    "200 OK",
    "version",
    "HTTP/1.1",
    "url",
    "public",
    "set-cookie",
    "keep-alive",
    "origin",
];
/// And the rest of it.
const TEXT: &str = "100101201202205206300302303304305306307402405406407408409410411412413414415416417\
502504505203 Non-Authoritative Information204 No Content301 Moved Permanently400 Bad Request401 \
Unauthorized403 Forbidden404 Not Found500 Internal Server Error501 Not Implemented503 Service \
UnavailableJan Feb Mar Apr May Jun Jul Aug Sept Oct Nov Dec 00:00:00 Mon, Tue, Wed, Thu, Fri, Sat, \
Sun, GMTchunked,text/html,image/png,image/jpg,image/gif,application/xml,application/xhtml+xml,\
text/plain,text/javascript,publicprivatemax-age=gzip,deflate,sdchcharset=utf-8charset=iso-8859-1,\
utf-,*,enq=0.";

/// The dictionary. (SPDY protocol, draft 3.1, section 2.6.10)
fn dictionary() -> Vec<u8> {
    let mut bytes = Vec::with_capacity(1423);
    for word in WORDS {
        bytes.extend_from_slice(&u32::try_from(word.len()).unwrap_or_default().to_be_bytes());
        bytes.extend_from_slice(word.as_bytes());
    }
    bytes.extend_from_slice(TEXT.as_bytes());
    bytes
}

/// Reads the peer's headers. One for each connection: later blocks refer to earlier ones.
pub(crate) struct Inflater {
    state: Box<DecompressorOxide>,
    ring: Vec<u8>,
    at: usize,
    begun: bool,
}

impl Inflater {
    /// At the beginning of a connection.
    pub(crate) fn new() -> Self {
        Self { state: Box::default(), ring: vec![0; RING], at: 0, begun: false }
    }

    /// The headers of one block, names in lower case.
    pub(crate) fn read(&mut self, block: &[u8]) -> Result<BTreeMap<String, String>, String> {
        parse(&self.inflate(block)?)
    }

    fn inflate(&mut self, block: &[u8]) -> Result<Vec<u8>, String> {
        let mut input = block;
        if !self.begun {
            let [_, flags, rest @ ..] = input else {
                return Err("a header block is empty".to_owned());
            };
            input = rest;
            if flags & FLAG_DICTIONARY != 0 {
                input = input.get(4..).ok_or("a header block is too short")?;
                let dictionary = dictionary();
                self.ring[..dictionary.len()].copy_from_slice(&dictionary);
                self.at = dictionary.len();
            }
            self.begun = true;
        }
        let flags = TINFL_FLAG_HAS_MORE_INPUT | TINFL_FLAG_IGNORE_ADLER32;
        let mut out = Vec::new();
        loop {
            let (status, read, written) =
                decompress(&mut self.state, input, &mut self.ring, self.at, flags);
            out.extend_from_slice(&self.ring[self.at..self.at + written]);
            self.at = (self.at + written) % RING;
            input = &input[read..];
            if out.len() > BLOCK_MAX {
                return Err("a header block is too large".to_owned());
            }
            match status {
                TINFLStatus::NeedsMoreInput if input.is_empty() => return Ok(out),
                TINFLStatus::HasMoreOutput => {}
                TINFLStatus::Done => return Ok(out),
                other => return Err(format!("a header block cannot be inflated: {other:?}")),
            }
        }
    }
}

fn parse(bytes: &[u8]) -> Result<BTreeMap<String, String>, String> {
    let mut rest = bytes;
    let mut headers = BTreeMap::new();
    let count = word(&mut rest)?;
    for _ in 0..count {
        let name = text(&mut rest)?.to_lowercase();
        let value = text(&mut rest)?;
        headers.insert(name, value);
    }
    Ok(headers)
}

fn word(rest: &mut &[u8]) -> Result<u32, String> {
    let (head, tail) = rest.split_at_checked(4).ok_or("a header block breaks off")?;
    *rest = tail;
    Ok(u32::from_be_bytes([head[0], head[1], head[2], head[3]]))
}

fn text(rest: &mut &[u8]) -> Result<String, String> {
    let length = usize::try_from(word(rest)?).unwrap_or(usize::MAX);
    let (head, tail) = rest.split_at_checked(length).ok_or("a header block breaks off")?;
    *rest = tail;
    Ok(String::from_utf8_lossy(head).into_owned())
}

/// A sync flush: an empty stored block. An inflater may keep what it has until it sees one, and Go's
/// does: without it the client waits for bytes that never come.
const FLUSH: [u8; 5] = [0, 0, 0, 0xff, 0xff];

/// A block without headers, all that a reply needs. `first`: whether it is the connection's first,
/// which begins the zlib stream.
pub(crate) fn empty_block(first: bool) -> BytesMut {
    let mut out = BytesMut::new();
    if first {
        out.put_slice(&[0x78, 0x01]);
    }
    let count = 0u32.to_be_bytes();
    // A stored block that is not the last one: its head, its length and its length inverted.
    out.put_u8(0);
    out.put_u16_le(4);
    out.put_u16_le(!4);
    out.put_slice(&count);
    out.put_slice(&FLUSH);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn adler32(bytes: &[u8]) -> u32 {
        let (a, b) = bytes.iter().fold((1u32, 0u32), |(a, b), byte| {
            let a = (a + u32::from(*byte)) % 65_521;
            (a, (b + a) % 65_521)
        });
        b << 16 | a
    }

    #[test]
    fn the_dictionary_is_the_protocols() {
        assert_eq!((dictionary().len(), adler32(&dictionary())), (1423, 0xe3c6_a7c2));
    }

    #[test]
    fn what_goes_out_can_be_read() {
        let mut inflater = Inflater::new();
        assert_eq!(inflater.read(&empty_block(true)), Ok(BTreeMap::new()));
        assert_eq!(inflater.read(&empty_block(false)), Ok(BTreeMap::new()));
        assert!(inflater.read(&[0xff; 9]).is_err());
        for first in [true, false] {
            assert!(empty_block(first).ends_with(&[0, 0, 0, 0xff, 0xff]), "it must be flushed");
        }
    }

    /// Two blocks as Python's zlib makes them with the dictionary and a sync flush after each.
    #[test]
    fn compressed_blocks_refer_to_the_dictionary_and_to_each_other() {
        let blocks = [include_str!("block1.hex"), include_str!("block2.hex")];
        let mut inflater = Inflater::new();
        for (block, expected) in blocks.iter().zip(["error", "data"]) {
            let digits = block.trim().as_bytes();
            let bytes: Vec<u8> = digits
                .chunks(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            let headers = inflater.read(&bytes).unwrap();
            assert_eq!(headers["streamtype"], expected);
            assert_eq!(headers["port"], "8080");
        }
    }
}
