//! Frames: what one group commit appends, checksummed as a whole.
//!
//! Pure. A frame is a header and records; it counts wholly or not at all. Each frame says up to
//! where its segment was on stable storage when it was written, which tells a torn tail (what
//! nobody waited for) from damage (what was acknowledged). Frames begin at multiples of eight.

use std::sync::Arc;

use bytes::Bytes;

use crate::Revision;

/// Frames begin at multiples of this.
pub(super) const ALIGN: u64 = 8;
/// The length of a frame's header.
pub(super) const HEADER_LEN: usize = 40;

const MAGIC: u32 = 0x4C46_5246; // "FRFL"

/// What one record of a frame says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Record {
    /// A key got a value, at this revision.
    Put(Put),
    /// A value that stood in an older segment and is still current.
    Moved(Put),
    /// A key was deleted.
    Delete { key: Arc<str>, revision: Revision },
    /// Revisions up to this one may be given without telling the disk first.
    Ceiling(Revision),
    /// The store was opened: revisions above `last` and below `reopened` are skipped, because they
    /// may have been given and were lost.
    Opened { last: Revision, reopened: Revision },
    /// History up to this revision was dropped on demand.
    Compacted(Revision),
    /// Segments before `first` hold nothing current, and history starts at `floor`.
    Trimmed { first: u32, floor: Revision },
    /// The store was closed with everything on the disk. Only the log's last record counts.
    Closed,
}

/// A key's value with its place in history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Put {
    pub(super) key: Arc<str>,
    pub(super) value: Bytes,
    pub(super) modified: Revision,
    pub(super) created: Revision,
    /// When the key deletes itself, in milliseconds since 1970; 0 for never.
    pub(super) expires_ms: u64,
}

/// What a frame's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) segment: u32,
    pub(super) payload_len: u32,
    /// The segment was on stable storage up to here when the frame was written.
    pub(super) synced: u64,
    /// When the frame was written.
    pub(super) wall_ms: u64,
    payload_crc: u32,
}

impl Header {
    /// The bytes from this frame's beginning to the next one's.
    pub(super) fn stride(&self) -> u64 {
        (HEADER_LEN as u64 + u64::from(self.payload_len)).next_multiple_of(ALIGN)
    }

    /// Reads the header at the beginning of `bytes`, if there is a whole one of this segment.
    pub(super) fn read(bytes: &[u8], segment: u32) -> Option<Self> {
        let (head, _) = bytes.split_at_checked(HEADER_LEN)?;
        let mut reader = Reader(head);
        if reader.u32()? != MAGIC {
            return None;
        }
        let header = Self {
            payload_len: reader.u32()?,
            segment: reader.u32()?,
            synced: { reader.u32().and_then(|_reserved| reader.u64())? },
            wall_ms: reader.u64()?,
            payload_crc: reader.u32()?,
        };
        let crc = reader.u32()?;
        (header.segment == segment && crc == crc32c::crc32c(&head[..HEADER_LEN - 4]))
            .then_some(header)
    }

    /// The payload that follows the header in `bytes`, if it is whole.
    pub(super) fn payload<'a>(&self, bytes: &'a [u8]) -> Option<&'a [u8]> {
        let end = HEADER_LEN + self.payload_len as usize;
        let payload = bytes.get(HEADER_LEN..end)?;
        (crc32c::crc32c(payload) == self.payload_crc).then_some(payload)
    }
}

/// A frame that is being put together. The buffer is reused from frame to frame.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    buffer: Vec<u8>,
}

impl Encoder {
    /// Starts an empty frame.
    pub(super) fn begin(&mut self) {
        // One large frame must not pin its memory for good.
        if self.buffer.capacity() > 4 << 20 {
            self.buffer = Vec::new();
        }
        self.buffer.clear();
        self.buffer.resize(HEADER_LEN, 0);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.buffer.len() <= HEADER_LEN
    }

    /// The bytes that the frame will take.
    pub(super) fn len(&self) -> u64 {
        (self.buffer.len() as u64).next_multiple_of(ALIGN)
    }

    pub(super) fn put(&mut self, put: &Put, moved: bool) {
        self.buffer.push(if moved { 2 } else { 1 });
        self.u64(put.modified);
        self.u64(put.created);
        self.u64(put.expires_ms);
        self.bytes(put.key.as_bytes());
        self.bytes(&put.value);
    }

    pub(super) fn delete(&mut self, key: &str, revision: Revision) {
        self.buffer.push(3);
        self.u64(revision);
        self.bytes(key.as_bytes());
    }

    /// Adds a record that is about the log itself.
    pub(super) fn note(&mut self, record: &Record) {
        match record {
            Record::Put(put) => self.put(put, false),
            Record::Moved(put) => self.put(put, true),
            Record::Delete { key, revision } => self.delete(key, *revision),
            Record::Ceiling(revision) => {
                self.buffer.push(4);
                self.u64(*revision);
            }
            Record::Opened { last, reopened } => {
                self.buffer.push(5);
                self.u64(*last);
                self.u64(*reopened);
            }
            Record::Compacted(revision) => {
                self.buffer.push(6);
                self.u64(*revision);
            }
            Record::Trimmed { first, floor } => {
                self.buffer.push(7);
                self.u64(u64::from(*first));
                self.u64(*floor);
            }
            Record::Closed => self.buffer.push(8),
        }
    }

    /// Completes the frame and gives its bytes.
    pub(super) fn finish(&mut self, segment: u32, synced: u64, wall_ms: u64) -> &[u8] {
        let payload = &self.buffer[HEADER_LEN..];
        let payload_len = u32::try_from(payload.len()).expect("a batch is far below 4 GiB");
        let payload_crc = crc32c::crc32c(payload);
        let mut header = Vec::with_capacity(HEADER_LEN);
        for word in [MAGIC, payload_len, segment, 0] {
            header.extend_from_slice(&word.to_le_bytes());
        }
        header.extend_from_slice(&synced.to_le_bytes());
        header.extend_from_slice(&wall_ms.to_le_bytes());
        header.extend_from_slice(&payload_crc.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        self.buffer[..HEADER_LEN].copy_from_slice(&header);
        self.buffer.resize(self.buffer.len().next_multiple_of(ALIGN as usize), 0);
        &self.buffer
    }

    fn u64(&mut self, value: u64) {
        self.buffer.extend_from_slice(&value.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        let len = u32::try_from(bytes.len()).expect("values are far below 4 GiB");
        self.buffer.extend_from_slice(&len.to_le_bytes());
        self.buffer.extend_from_slice(bytes);
    }
}

/// The bytes that a put takes in the log, about.
pub(super) fn put_len(key_len: usize, value_len: usize) -> u64 {
    (33 + key_len + value_len) as u64
}

/// Reads the records of a payload in order. `None` inside says that the payload makes no sense
/// although its checksum is right: another version wrote it.
pub(super) fn records(payload: &[u8]) -> impl Iterator<Item = Option<Record>> {
    let mut reader = Reader(payload);
    let mut failed = false;
    std::iter::from_fn(move || {
        if failed || reader.0.is_empty() {
            return None;
        }
        let record = reader.record();
        failed = record.is_none();
        Some(record)
    })
}

pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        self.take(4).and_then(|bytes| bytes.try_into().ok()).map(u32::from_le_bytes)
    }

    pub(super) fn u64(&mut self) -> Option<u64> {
        self.take(8).and_then(|bytes| bytes.try_into().ok()).map(u64::from_le_bytes)
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let len = self.u32()?;
        self.take(len as usize)
    }

    fn key(&mut self) -> Option<Arc<str>> {
        std::str::from_utf8(self.bytes()?).ok().map(Arc::from)
    }

    fn put(&mut self) -> Option<Put> {
        let (modified, created, expires_ms) = (self.u64()?, self.u64()?, self.u64()?);
        let key = self.key()?;
        let value = Bytes::copy_from_slice(self.bytes()?);
        Some(Put { key, value, modified, created, expires_ms })
    }

    fn record(&mut self) -> Option<Record> {
        Some(match self.take(1)?[0] {
            1 => Record::Put(self.put()?),
            2 => Record::Moved(self.put()?),
            3 => {
                let revision = self.u64()?;
                Record::Delete { key: self.key()?, revision }
            }
            4 => Record::Ceiling(self.u64()?),
            5 => Record::Opened { last: self.u64()?, reopened: self.u64()? },
            6 => Record::Compacted(self.u64()?),
            7 => {
                let first = u32::try_from(self.u64()?).ok()?;
                Record::Trimmed { first, floor: self.u64()? }
            }
            8 => Record::Closed,
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_records() -> Vec<Record> {
        let put = Put {
            key: "/registry/pods/default/ä".into(),
            value: Bytes::from_static(b"{}"),
            modified: 9,
            created: 7,
            expires_ms: 5,
        };
        vec![
            Record::Put(put.clone()),
            Record::Moved(Put { value: Bytes::new(), ..put }),
            Record::Delete { key: "/a".into(), revision: 10 },
            Record::Ceiling(11),
            Record::Opened { last: 12, reopened: 13 },
            Record::Compacted(14),
            Record::Trimmed { first: 15, floor: 16 },
            Record::Closed,
        ]
    }

    fn encoded(records: &[Record]) -> Vec<u8> {
        let mut encoder = Encoder::default();
        encoder.begin();
        records.iter().for_each(|record| encoder.note(record));
        encoder.finish(3, 128, 1_000).to_vec()
    }

    fn decoded(bytes: &[u8]) -> Option<Vec<Record>> {
        let header = Header::read(bytes, 3)?;
        records(header.payload(bytes)?).collect()
    }

    #[test]
    fn records_round_trip() {
        let bytes = encoded(&all_records());
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(decoded(&bytes), Some(all_records()));
        let header = Header::read(&bytes, 3).unwrap();
        assert_eq!((header.synced, header.wall_ms), (128, 1_000));
        assert_eq!(header.stride(), bytes.len() as u64);
        assert_eq!(Header::read(&bytes, 4), None, "another segment's frame");
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let bytes = encoded(&all_records());
        let meaningful = HEADER_LEN + Header::read(&bytes, 3).unwrap().payload_len as usize;
        for at in 0..meaningful {
            for bit in 0..8 {
                let mut damaged = bytes.clone();
                damaged[at] ^= 1 << bit;
                assert_eq!(decoded(&damaged), None, "byte {at} bit {bit}");
            }
            assert_eq!(decoded(&bytes[..at]), None, "cut at {at}");
        }
    }
}
