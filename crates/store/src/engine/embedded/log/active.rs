//! The end of the log: the segment that is appended to, the closed ones before it, and the room
//! kept in reserve.
//!
//! Invariant: space is there before it is written into, so that "no room" is found while nothing
//! is half done.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{self, Encoder};
use super::segment::{self, Dir, HEADER_LEN, SPARES};
use crate::{Revision, StoreError};

/// What a commit's own records may take beside its writes.
const NOTES_LEN: u64 = 128;

/// Why something could not be put on the disk.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no room; nothing was changed.
    NoRoom,
    /// The disk failed; what it holds now is not known.
    Broken(io::Error),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if segment::is_full(&error) { Self::NoRoom } else { Self::Broken(error) }
    }
}

impl Failure {
    pub(super) fn into_error(self, path: &Path) -> StoreError {
        match self {
            Self::NoRoom => StoreError::Full,
            Self::Broken(error) => StoreError::Unavailable(format!(
                "writing to {} failed: {error}; mend the disk and restart",
                path.display()
            )),
        }
    }
}

/// Where a log that was read goes on.
#[derive(Debug)]
pub(super) struct Tail {
    pub(super) closed: BTreeMap<u32, u64>,
    pub(super) last: u32,
    pub(super) at: u64,
    pub(super) torn: u64,
    pub(super) floor: Revision,
    pub(super) stale: Vec<u32>,
}

#[derive(Debug)]
pub(super) struct Active {
    dir: Dir,
    segment_bytes: u64,
    segment: u32,
    file: File,
    /// Where the next frame goes.
    len: u64,
    /// The room that the file has.
    size: u64,
    /// What is on stable storage.
    synced: u64,
    closed: BTreeMap<u32, u64>,
    spares: Vec<PathBuf>,
    /// Where history starts after a restart.
    pub(super) floor: Revision,
    pub(super) fsyncs: u64,
    pub(super) written: u64,
}

impl Active {
    /// The first segment of a new store.
    pub(super) fn create(
        dir: Dir,
        spares: Vec<PathBuf>,
        segment_bytes: u64,
        revision: Revision,
    ) -> io::Result<Self> {
        let header = segment::Header {
            segment: 1,
            first: 1,
            previous_len: 0,
            revision,
            ceiling: revision,
            floor: revision,
        };
        let (file, size) = dir.make_segment(&header, segment_bytes, None)?;
        Ok(Self {
            dir,
            segment_bytes,
            segment: 1,
            file,
            len: HEADER_LEN,
            size,
            synced: HEADER_LEN,
            closed: BTreeMap::new(),
            spares,
            floor: revision,
            fsyncs: 0,
            written: HEADER_LEN,
        })
    }

    /// Goes on at the end of a log that was read.
    pub(super) fn resume(
        dir: Dir,
        spares: Vec<PathBuf>,
        segment_bytes: u64,
        tail: Tail,
    ) -> io::Result<Self> {
        for stale in tail.stale {
            std::fs::remove_file(dir.segment_path(stale))?;
        }
        let file = dir.open_segment(tail.last)?;
        // What was torn must not be taken for frames once something is written before it.
        segment::zero(&file, tail.at, tail.at + tail.torn)?;
        // What a killed process wrote may not be on the disk yet, and was read as if it were.
        file.sync_all()?;
        let size = file.metadata()?.len();
        Ok(Self {
            dir,
            segment_bytes,
            segment: tail.last,
            file,
            len: tail.at,
            size,
            synced: tail.at,
            closed: tail.closed,
            spares,
            floor: tail.floor,
            fsyncs: 1,
            written: tail.torn,
        })
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn segment(&self) -> u32 {
        self.segment
    }

    pub(super) fn is_unsynced(&self) -> bool {
        self.synced < self.len
    }

    /// The closed segments and their lengths, the oldest first.
    pub(super) fn closed(&self) -> &BTreeMap<u32, u64> {
        &self.closed
    }

    pub(super) fn segment_bytes(&self) -> u64 {
        self.segment_bytes
    }

    /// The bytes that the log's segments hold.
    pub(super) fn log_bytes(&self) -> u64 {
        self.closed.values().sum::<u64>() + self.len
    }

    /// The bytes taken from the file system.
    pub(super) fn disk_bytes(&self) -> u64 {
        let spares = self.spares.len() as u64 * self.segment_bytes;
        self.closed.values().sum::<u64>() + self.size + spares
    }

    /// Whether records of this many bytes fit without a new segment, or with a spare.
    pub(super) fn fits_in_reserve(&self, bytes: u64) -> bool {
        self.has_room(bytes) || !self.spares.is_empty()
    }

    fn has_room(&self, bytes: u64) -> bool {
        self.len + framed(bytes) <= self.size
    }

    /// Makes sure that records of this many bytes can be appended. On a full disk the new segment
    /// comes out of the reserve.
    pub(super) fn make_room(
        &mut self,
        bytes: u64,
        revision: Revision,
        ceiling: Revision,
        full: bool,
    ) -> Result<(), Failure> {
        if self.has_room(bytes) {
            return Ok(());
        }
        self.sync()?;
        let next = self.segment + 1;
        let header = segment::Header {
            segment: next,
            first: self.closed.keys().next().copied().unwrap_or(self.segment),
            previous_len: self.len,
            revision,
            ceiling,
            floor: self.floor,
        };
        let size = self.segment_bytes.max(HEADER_LEN + framed(bytes));
        let spare = if full { Some(self.spares.pop().ok_or(Failure::NoRoom)?) } else { None };
        let (file, size) = match self.dir.make_segment(&header, size, spare.as_deref()) {
            Ok(made) => made,
            Err(error) => {
                self.spares.extend(spare);
                return Err(error.into());
            }
        };
        self.fsyncs += 2;
        self.written += HEADER_LEN;
        let old = std::mem::replace(&mut self.file, file);
        if !full {
            // Gives back the room at its end. A file that stays long is only larger.
            old.set_len(self.len).unwrap_or_default();
        }
        self.closed.insert(self.segment, self.len);
        (self.segment, self.len, self.size, self.synced) = (next, HEADER_LEN, size, HEADER_LEN);
        if self.has_room(bytes) { Ok(()) } else { Err(Failure::NoRoom) }
    }

    /// Writes a frame, without waiting for the disk.
    pub(super) fn append(&mut self, encoder: &mut Encoder, wall_ms: u64) -> Result<(), Failure> {
        let frame = encoder.finish(self.segment, self.synced, wall_ms);
        self.file.write_all_at(frame, self.len)?;
        self.len += frame.len() as u64;
        self.written += frame.len() as u64;
        Ok(())
    }

    /// Waits until everything that was appended is on stable storage.
    pub(super) fn sync(&mut self) -> Result<(), Failure> {
        if self.is_unsynced() {
            // After a failed sync the kernel may count the pages as clean: never try again.
            self.file.sync_data().map_err(Failure::Broken)?;
            self.fsyncs += 1;
            self.synced = self.len;
        }
        Ok(())
    }

    /// Takes room into reserve until there is enough; whether there is.
    pub(super) fn fill_reserve(&mut self) -> bool {
        while self.spares.len() < SPARES {
            match self.dir.make_spare(self.segment_bytes) {
                Ok(spare) => self.spares.push(spare),
                Err(error) => {
                    tracing::debug!(%error, "no room for the reserve");
                    return false;
                }
            }
        }
        true
    }

    /// Lets go of closed segments, into the reserve where it is short.
    pub(super) fn drop_closed(&mut self, upto: u32, keep: bool) -> io::Result<()> {
        let gone: Vec<_> =
            self.closed.range(..=upto).map(|(segment, len)| (*segment, *len)).collect();
        for (segment, len) in gone {
            self.closed.remove(&segment);
            if keep && self.spares.len() < SPARES && len * 2 > self.segment_bytes {
                self.spares.push(self.dir.recycle(segment)?);
                self.written += len;
            } else {
                std::fs::remove_file(self.dir.segment_path(segment))?;
            }
        }
        Ok(())
    }
}

/// The bytes of a frame with records of this many bytes, at most.
fn framed(bytes: u64) -> u64 {
    bytes + NOTES_LEN + frame::HEADER_LEN as u64 + frame::ALIGN
}
