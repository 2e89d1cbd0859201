//! Reading what may be compressed, and digesting what passes by.

use std::io::{self, BufRead, BufReader, Read};

use flate2::bufread::MultiGzDecoder;
use sha2::{Digest, Sha256};

use super::{Attempt, Result, malformed};

/// A reader of the plain bytes of a stream that may be gzip or zstd, by its first bytes.
pub(super) fn plain<'a>(source: impl Read + 'a) -> Result<Box<dyn Read + 'a>> {
    let mut source = BufReader::with_capacity(256 * 1024, source);
    let start = source.fill_buf().attempt(|| "read the archive".to_owned())?;
    if start.starts_with(&[0x1f, 0x8b]) {
        return Ok(Box::new(MultiGzDecoder::new(source)));
    }
    if start.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
        let decoder = ruzstd::decoding::StreamingDecoder::new(source);
        return Ok(Box::new(decoder.map_err(|e| malformed("zstd", e))?));
    }
    Ok(Box::new(source))
}

/// Digests what is read through it.
pub(super) struct Digested<R> {
    source: R,
    hash: Sha256,
    pub(super) bytes: u64,
}

impl<R: Read> Digested<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, hash: Sha256::new(), bytes: 0 }
    }

    /// The digest of all bytes that were read.
    pub(super) fn digest(self) -> String {
        as_digest(self.hash)
    }

    /// Reads to the end, then answers the digest.
    pub(super) fn digest_all(mut self) -> io::Result<String> {
        io::copy(&mut self, &mut io::sink())?;
        Ok(self.digest())
    }
}

impl<R: Read> Read for Digested<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        self.hash.update(&buffer[..length]);
        self.bytes += length as u64;
        Ok(length)
    }
}

/// Digests what is written to it, and keeps nothing.
#[derive(Default)]
pub(super) struct Digesting {
    hash: Sha256,
    bytes: u64,
}

impl Digesting {
    /// The digest and the number of all bytes that were written.
    pub(super) fn finish(self) -> (String, u64) {
        (as_digest(self.hash), self.bytes)
    }
}

impl io::Write for Digesting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.hash.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The digest of some bytes.
pub(super) fn digest(bytes: &[u8]) -> String {
    let mut hash = Sha256::new();
    hash.update(bytes);
    as_digest(hash)
}

fn as_digest(hash: Sha256) -> String {
    use std::fmt::Write as _;
    let mut text = "sha256:".to_owned();
    for byte in hash.finalize() {
        // Writing to a String does not fail.
        _ = write!(text, "{byte:02x}");
    }
    text
}
