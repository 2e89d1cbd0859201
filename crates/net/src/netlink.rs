//! One netlink socket: requests, acknowledgements and dumps, as bytes.
//!
//! Synchronous on purpose: the kernel answers a netlink request inside the `send` call, so there
//! is never anything to wait for.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// The length of a netlink message header.
pub(crate) const HEADER_LEN: usize = 16;
/// A nested attribute says so in its type.
pub(crate) const NESTED: u16 = 0x8000;

pub(crate) const REQUEST: u16 = 0x1;
pub(crate) const ACK: u16 = 0x4;
pub(crate) const DUMP: u16 = 0x300;
pub(crate) const CREATE: u16 = 0x400;
pub(crate) const EXCL: u16 = 0x200;
pub(crate) const REPLACE: u16 = 0x100;
pub(crate) const APPEND: u16 = 0x800;

const ERROR: u16 = 2;
const DONE: u16 = 3;
const DUMP_INTR: u16 = 0x10;
const CAPPED: u16 = 0x100;
const ACK_TLVS: u16 = 0x200;
const ERROR_ATTRIBUTE_MESSAGE: u16 = 1;
const RECEIVE_BYTES: usize = 64 * 1024;

/// A request that the kernel refused.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The sequence number of the request.
    pub(crate) seq: u32,
    pub(crate) errno: i32,
    /// The kernel's explanation, when it gave one.
    pub(crate) detail: Option<String>,
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        Self { seq: 0, errno: error.raw_os_error().unwrap_or(libc::EIO), detail: None }
    }
}

impl Refusal {
    /// The refusal as an error of this crate.
    pub(crate) fn on(self, what: impl Into<String>) -> crate::Error {
        crate::Error::Kernel {
            what: what.into(),
            detail: self.detail,
            source: io::Error::from_raw_os_error(self.errno),
        }
    }
}

/// One received message: its kind, its sequence number and its payload.
pub(crate) struct Received<'a> {
    pub(crate) kind: u16,
    pub(crate) flags: u16,
    pub(crate) seq: u32,
    pub(crate) payload: &'a [u8],
}

/// A socket of one netlink family, in the network namespace of the thread that opened it.
pub(crate) struct Channel {
    socket: Socket,
    seq: u32,
    buffer: Vec<u8>,
}

impl Channel {
    pub(crate) fn open(protocol: isize) -> io::Result<Self> {
        let mut socket = Socket::new(protocol)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        socket.set_ext_ack(true)?;
        socket.set_cap_ack(true)?;
        Ok(Self { socket, seq: 0, buffer: Vec::with_capacity(RECEIVE_BYTES) })
    }

    /// The next sequence number.
    pub(crate) fn next_seq(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1).max(1);
        self.seq
    }

    /// Sends bytes that hold one or several whole messages.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > 128 * 1024 {
            // A batch is one datagram; the default send buffer holds about 200 KiB.
            let room = bytes.len() + 64 * 1024;
            nix::sys::socket::setsockopt(
                &self.socket,
                nix::sys::socket::sockopt::SndBufForce,
                &room,
            )?;
        }
        self.socket.send(bytes, 0).map(drop)
    }

    /// Receives one datagram and hands each message in it to `each`. `false` when `wait` is not
    /// set and there is none.
    pub(crate) fn receive(
        &mut self,
        wait: bool,
        mut each: impl FnMut(Received<'_>),
    ) -> io::Result<bool> {
        self.buffer.clear();
        let flags = if wait { 0 } else { libc::MSG_DONTWAIT };
        loop {
            match self.socket.recv(&mut self.buffer, flags) {
                Ok(_) => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if !wait && error.kind() == io::ErrorKind::WouldBlock => {
                    return Ok(false);
                }
                Err(error) => return Err(error),
            }
        }
        let mut rest = &self.buffer[..];
        while rest.len() >= HEADER_LEN {
            let len = u32_at(rest, 0) as usize;
            if len < HEADER_LEN || len > rest.len() {
                break;
            }
            each(Received {
                kind: u16_at(rest, 4),
                flags: u16_at(rest, 6),
                seq: u32_at(rest, 8),
                payload: &rest[HEADER_LEN..len],
            });
            rest = &rest[align(len).min(rest.len())..];
        }
        Ok(true)
    }

    /// Sends one message and hands every answer to `each`, until the acknowledgement or the end
    /// of the dump. The message must ask for one of the two; its sequence number is set here.
    ///
    /// A dump during which the table changed may be torn; it is asked for again, and `each` sees
    /// only one that is whole.
    pub(crate) fn request(
        &mut self,
        message: &mut [u8],
        mut each: impl FnMut(u16, &[u8]),
    ) -> Result<(), Refusal> {
        const ATTEMPTS_MAX: usize = 16;
        for _ in 0..ATTEMPTS_MAX {
            let mut answers: Vec<(u16, Vec<u8>)> = Vec::new();
            if self.attempt(message, &mut answers)? {
                answers.iter().for_each(|(kind, payload)| each(*kind, payload));
                return Ok(());
            }
        }
        Err(Refusal { seq: self.seq, errno: libc::EINTR, detail: None })
    }

    /// One attempt; `false` when the dump was torn.
    fn attempt(
        &mut self,
        message: &mut [u8],
        answers: &mut Vec<(u16, Vec<u8>)>,
    ) -> Result<bool, Refusal> {
        let seq = self.next_seq();
        message[8..12].copy_from_slice(&seq.to_ne_bytes());
        self.send(message)?;
        let (mut outcome, mut whole) = (None, true);
        while outcome.is_none() {
            self.receive(true, |received| {
                if received.seq != seq {
                    return;
                }
                whole &= received.flags & DUMP_INTR == 0;
                match received.kind {
                    ERROR => outcome = Some(acknowledgement(&received)),
                    DONE => outcome = Some(Ok(())),
                    kind => answers.push((kind, received.payload.to_vec())),
                }
            })?;
        }
        outcome.unwrap_or(Ok(())).map(|()| whole)
    }
}

/// Whether a received message is an acknowledgement or a refusal.
pub(crate) fn is_acknowledgement(received: &Received<'_>) -> bool {
    received.kind == ERROR
}

/// Reads an `NLMSG_ERROR`: number 0 is an acknowledgement.
pub(crate) fn acknowledgement(received: &Received<'_>) -> Result<(), Refusal> {
    let payload = received.payload;
    if payload.len() < 4 + HEADER_LEN {
        return Err(Refusal { seq: received.seq, errno: libc::EBADMSG, detail: None });
    }
    let errno = -(u32_at(payload, 0).cast_signed());
    if errno == 0 {
        return Ok(());
    }
    let quoted =
        if received.flags & CAPPED == 0 { u32_at(payload, 4) as usize } else { HEADER_LEN };
    let detail = (received.flags & ACK_TLVS != 0)
        .then(|| payload.get(4 + align(quoted)..))
        .flatten()
        .and_then(|tail| {
            attributes(tail)
                .find(|(kind, _)| *kind == ERROR_ATTRIBUTE_MESSAGE)
                .map(|(_, text)| String::from_utf8_lossy(text).trim_end_matches('\0').to_owned())
        });
    Err(Refusal { seq: received.seq, errno, detail })
}

/// The attributes in a payload, without the nested and byte-order marks in their kinds.
pub(crate) fn attributes(mut rest: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        if rest.len() < 4 {
            return None;
        }
        let (len, kind) = (usize::from(u16_at(rest, 0)), u16_at(rest, 2) & 0x3fff);
        if len < 4 || len > rest.len() {
            return None;
        }
        let value = &rest[4..len];
        rest = &rest[align(len).min(rest.len())..];
        Some((kind, value))
    })
}

/// The first attribute of a kind.
pub(crate) fn attribute(payload: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(payload).find(|(found, _)| *found == kind).map(|(_, value)| value)
}

/// A text attribute without its closing zero.
pub(crate) fn text(value: &[u8]) -> String {
    String::from_utf8_lossy(value.strip_suffix(&[0]).unwrap_or(value)).into_owned()
}

pub(crate) fn align(len: usize) -> usize {
    len.next_multiple_of(4)
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    u16::from_ne_bytes([bytes[at], bytes[at + 1]])
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_ne_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]])
}

/// A growing run of messages and attributes.
#[derive(Debug, Default, Clone)]
pub(crate) struct Encoder {
    bytes: Vec<u8>,
}

impl Encoder {
    pub(crate) fn as_slice(&self) -> &[u8] {
        &self.bytes
    }

    pub(crate) fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes
    }

    /// One message: a header, then what `body` writes.
    pub(crate) fn message(
        &mut self,
        kind: u16,
        flags: u16,
        seq: u32,
        body: impl FnOnce(&mut Self),
    ) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        self.bytes.extend_from_slice(&seq.to_ne_bytes());
        self.bytes.extend_from_slice(&[0; 4]);
        body(self);
        let len = u32::try_from(self.bytes.len() - start).expect("a message is below 4 GiB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    pub(crate) fn raw(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        self.pad();
    }

    pub(crate) fn attr(&mut self, kind: u16, value: &[u8]) {
        let len = u16::try_from(value.len() + 4).expect("an attribute is below 64 KiB");
        self.bytes.extend_from_slice(&len.to_ne_bytes());
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(value);
        self.pad();
    }

    /// A number in network byte order, as netfilter has them.
    pub(crate) fn be32(&mut self, kind: u16, value: u32) {
        self.attr(kind, &value.to_be_bytes());
    }

    pub(crate) fn be64(&mut self, kind: u16, value: u64) {
        self.attr(kind, &value.to_be_bytes());
    }

    /// A text with its closing zero.
    pub(crate) fn str(&mut self, kind: u16, value: &str) {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes);
    }

    pub(crate) fn nested(&mut self, kind: u16, body: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&[0; 2]);
        self.bytes.extend_from_slice(&(kind | NESTED).to_ne_bytes());
        body(self);
        let len = u16::try_from(self.bytes.len() - start).expect("a nest is below 64 KiB");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
    }

    fn pad(&mut self) {
        self.bytes.resize(align(self.bytes.len()), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut encoder = Encoder::default();
        encoder.message(7, REQUEST, 3, |m| {
            m.str(1, "abc");
            m.nested(2, |n| n.be32(5, 9));
        });
        let bytes = encoder.as_slice();
        assert_eq!(u32_at(bytes, 0) as usize, bytes.len());
        let payload = &bytes[HEADER_LEN..];
        assert_eq!(text(attribute(payload, 1).unwrap()), "abc");
        let nest = attribute(payload, 2).unwrap();
        assert_eq!(attribute(nest, 5).unwrap(), [0, 0, 0, 9]);
    }

    #[test]
    fn a_short_or_lying_attribute_ends_the_walk() {
        assert_eq!(attributes(&[3, 0, 1, 0]).count(), 0);
        assert_eq!(attributes(&[40, 0, 1, 0, 1, 2, 3, 4]).count(), 0);
        assert_eq!(attributes(&[5, 0, 1, 0, 1]).count(), 1);
    }
}
