//! Segment files: names, headers, and making them so that they are there wholly or not at all.
//!
//! Invariants: a segment is named only after its header is on the disk; its space is taken from
//! the file system before anything is written into it, so that a full disk shows when a segment
//! is made, not in the middle of a commit.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::frame::Reader;
use crate::{Revision, StoreError, StoreResult};

/// Frames begin after this many bytes.
pub(super) const HEADER_LEN: u64 = 128;
/// How many segments' worth of room is kept for deletes and cleaning on a full disk.
pub(super) const SPARES: usize = 2;

const MAGIC: &[u8; 8] = b"FERRYLOG";
const VERSION: u32 = 1;
const CRC_AT: usize = HEADER_LEN as usize - 4;

/// What a segment's header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) segment: u32,
    /// The oldest segment that was needed when this one was made.
    pub(super) first: u32,
    /// The length of the segment before this one; everything in it was on the disk.
    pub(super) previous_len: u64,
    /// The newest revision when the segment was made.
    pub(super) revision: Revision,
    /// Revisions up to this one may have been given without telling the disk.
    pub(super) ceiling: Revision,
    /// Where history starts: older segments that held more are gone.
    pub(super) floor: Revision,
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_LEN as usize);
        bytes.extend_from_slice(MAGIC);
        for word in [VERSION, self.segment, self.first, 0] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
        for long in [self.previous_len, self.revision, self.ceiling, self.floor] {
            bytes.extend_from_slice(&long.to_le_bytes());
        }
        bytes.resize(CRC_AT, 0);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        bytes
    }

    /// # Errors
    /// Says what is wrong with the bytes.
    pub(super) fn decode(bytes: &[u8], segment: u32) -> Result<Self, String> {
        let head = bytes.get(..HEADER_LEN as usize).ok_or("its header is cut off")?;
        let (crc, mut reader) = (&head[CRC_AT..], Reader(&head[MAGIC.len()..]));
        if crc != crc32c::crc32c(&head[..CRC_AT]).to_le_bytes() {
            return Err("its header's checksum is wrong".into());
        }
        if &head[..MAGIC.len()] != MAGIC {
            return Err("it is not a segment of the store".into());
        }
        let mut word = || reader.u32().unwrap_or(0);
        let (version, named, first) = (word(), word(), word());
        let _reserved = word();
        let mut long = || reader.u64().unwrap_or(0);
        let (previous_len, revision, ceiling, floor) = (long(), long(), long(), long());
        if version != VERSION {
            return Err(format!("it is of version {version}; this program reads {VERSION}"));
        }
        if named != segment {
            return Err(format!("it is segment {named} under another's name"));
        }
        Ok(Self { segment, first, previous_len, revision, ceiling, floor })
    }
}

/// Whether an I/O error says that there is no room.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded)
}

/// The data directory, locked for this process.
#[derive(Debug)]
pub(super) struct Dir {
    path: PathBuf,
    handle: File,
    _lock: File,
}

/// What lies in a data directory.
#[derive(Debug, Default)]
pub(super) struct Listing {
    pub(super) segments: Vec<u32>,
    pub(super) spares: Vec<PathBuf>,
}

impl Dir {
    /// Makes the directory if need be and locks it.
    pub(super) fn open(path: &Path) -> StoreResult<Self> {
        let fail = |what: &str, error: &io::Error| {
            if is_full(error) {
                return StoreError::Full;
            }
            StoreError::Unavailable(format!("cannot {what} {}: {error}", path.display()))
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(path)
            .map_err(|error| fail("make the data directory", &error))?;
        let lock = options()
            .create(true)
            .truncate(false)
            .open(path.join("lock"))
            .map_err(|error| fail("write to the data directory", &error))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(StoreError::Unavailable(format!(
                    "another process uses the data directory {}; stop it first",
                    path.display()
                )));
            }
            Err(TryLockError::Error(error)) => return Err(fail("lock", &error)),
        }
        let handle = File::open(path).map_err(|error| fail("read", &error))?;
        Ok(Self { path: path.to_owned(), handle, _lock: lock })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn segment_path(&self, segment: u32) -> PathBuf {
        self.path.join(format!("{segment:08x}.log"))
    }

    /// Lists the directory and clears away what was being made when a process died.
    pub(super) fn list(&self) -> io::Result<Listing> {
        let mut listing = Listing::default();
        for entry in std::fs::read_dir(&self.path)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if name.ends_with(".tmp") {
                std::fs::remove_file(&path)?;
            } else if name.starts_with("spare-") {
                listing.spares.push(path);
            } else if let Some(hex) = name.strip_suffix(".log")
                && let Ok(segment) = u32::from_str_radix(hex, 16)
            {
                listing.segments.push(segment);
            }
        }
        listing.segments.sort_unstable();
        Ok(listing)
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        self.handle.sync_all()
    }

    /// Takes room from the file system under a temporary name.
    fn allocate(&self, name: &str, size: u64) -> io::Result<(File, PathBuf)> {
        let path = self.path.join(format!("{name}.tmp"));
        let file = options().create(true).truncate(true).open(&path)?;
        let taken = take_room(&file, size);
        if taken.is_err() {
            // A failed attempt may have taken a part; without the file it is given back.
            std::fs::remove_file(&path)?;
        }
        taken.map(|()| (file, path))
    }

    /// Makes a segment with its header, out of a spare if one is given.
    pub(super) fn make_segment(
        &self,
        header: &Header,
        size: u64,
        spare: Option<&Path>,
    ) -> io::Result<(File, u64)> {
        let (file, path) = match spare {
            Some(spare) => (options().open(spare)?, spare.to_owned()),
            None => self.allocate("segment", size)?,
        };
        file.write_all_at(&header.encode(), 0)?;
        file.sync_all()?;
        std::fs::rename(&path, self.segment_path(header.segment))?;
        self.sync()?;
        let size = file.metadata()?.len();
        Ok((file, size))
    }

    /// Opens a segment to append to it.
    pub(super) fn open_segment(&self, segment: u32) -> io::Result<File> {
        options().open(self.segment_path(segment))
    }

    /// Keeps room aside for a full disk.
    pub(super) fn make_spare(&self, size: u64) -> io::Result<PathBuf> {
        let (file, path) = self.allocate("spare", size)?;
        file.sync_all()?;
        self.name_spare(&path)
    }

    /// Turns a segment that is not needed any more into a spare.
    pub(super) fn recycle(&self, segment: u32) -> io::Result<PathBuf> {
        let path = self.segment_path(segment);
        let file = options().open(&path)?;
        // The next life of the file must not find frames of this one.
        zero(&file, 0, file.metadata()?.len())?;
        file.sync_all()?;
        self.name_spare(&path)
    }

    fn name_spare(&self, path: &Path) -> io::Result<PathBuf> {
        let free = |n: &u32| !self.path.join(format!("spare-{n}")).exists();
        let n = (0..u32::MAX).find(free).unwrap_or(0);
        let spare = self.path.join(format!("spare-{n}"));
        std::fs::rename(path, &spare)?;
        self.sync()?;
        Ok(spare)
    }
}

fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

fn take_room(file: &File, size: u64) -> io::Result<()> {
    let len = i64::try_from(size).map_err(io::Error::other)?;
    // glibc writes to each block where the file system cannot reserve.
    nix::fcntl::posix_fallocate(file, 0, len).map_err(io::Error::from)
}

/// Overwrites a part of a file with zeros.
pub(super) fn zero(file: &File, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; 1 << 20];
    let mut at = from;
    while at < to {
        let len = (to - at).min(zeros.len() as u64);
        file.write_all_at(&zeros[..len as usize], at)?;
        at += len;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_round_trips_and_damage_is_named() {
        let header = Header {
            segment: 7,
            first: 3,
            previous_len: 4096,
            revision: 99,
            ceiling: 1000,
            floor: 50,
        };
        let bytes = header.encode();
        assert_eq!(bytes.len() as u64, HEADER_LEN);
        assert_eq!(Header::decode(&bytes, 7), Ok(header));
        assert!(Header::decode(&bytes, 8).unwrap_err().contains("another's name"));
        assert!(Header::decode(&bytes[..100], 7).unwrap_err().contains("cut off"));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(Header::decode(&damaged, 7).is_err(), "byte {at}");
        }
    }
}
