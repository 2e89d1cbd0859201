//! Reads the log back into an index.
//!
//! Invariants: every segment but the last must be whole, to the byte; in the last one, whatever a
//! later frame proves to have been on stable storage must be whole too. Only what nobody waited
//! for may be cut off. Damage anywhere else is an error that names the file and the place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::time::Instant;

use super::super::index::{Change, Expiry, Index, Retention, Version};
use super::frame::{self, Put, Record};
use super::segment::{self, Dir, Listing};
use crate::{Revision, StoreError, StoreResult};

/// The moment of recovery, by both clocks.
#[derive(Debug, Clone, Copy)]
pub(super) struct Now {
    pub(super) instant: Instant,
    pub(super) wall_ms: u64,
}

/// What was read.
#[derive(Debug)]
pub(super) struct Recovered {
    pub(super) index: Index,
    /// The lengths of the segments that are only read.
    pub(super) closed: BTreeMap<u32, u64>,
    /// The last segment, which goes on at `tail`.
    pub(super) last: u32,
    pub(super) tail: u64,
    /// Bytes after `tail` that nobody waited for.
    pub(super) torn: u64,
    pub(super) ceiling: Revision,
    pub(super) floor: Revision,
    /// Segments that hold nothing current.
    pub(super) stale: Vec<u32>,
    /// The store was closed in order.
    pub(super) clean: bool,
}

/// Why a segment cannot be read to its end.
struct Damage(u64, &'static str);

fn corrupt(path: PathBuf, what: impl std::fmt::Display) -> StoreError {
    StoreError::Corrupt(format!("{}: {what}", path.display()))
}

/// Reads all segments; `None` when there is none.
pub(super) fn recover(
    dir: &Dir,
    listing: &Listing,
    retention: Retention,
    now: Now,
) -> StoreResult<Option<Recovered>> {
    let Some(&last) = listing.segments.last() else { return Ok(None) };
    let last_bytes = read(dir, last)?;
    let last_header = header(dir, last, &last_bytes)?;
    let (first, floor) = trimmed(dir, last, &last_bytes, last_header)?;
    let stale = listing.segments.iter().copied().filter(|segment| *segment < first).collect();
    for segment in first..last {
        if listing.segments.binary_search(&segment).is_err() {
            return Err(corrupt(dir.segment_path(segment), "the file is missing"));
        }
    }
    let mut loader: Option<Loader> = None;
    let mut closed = BTreeMap::new();
    for segment in first..last {
        let bytes = read(dir, segment)?;
        let header = header(dir, segment, &bytes)?;
        let loader = loader.get_or_insert_with(|| Loader::new(header, floor, retention, now));
        let next = self::header(dir, segment + 1, &read_head(dir, segment + 1)?)?;
        let len = usize::try_from(next.previous_len).unwrap_or(usize::MAX);
        let Some(whole) = bytes.get(..len) else {
            return Err(corrupt(dir.segment_path(segment), "the file is cut off"));
        };
        let end = loader.segment(dir, segment, whole)?;
        if end != next.previous_len {
            let what = format!("a frame is damaged at byte {end}");
            return Err(corrupt(dir.segment_path(segment), what));
        }
        closed.insert(segment, next.previous_len);
    }
    let mut loader = loader.unwrap_or_else(|| Loader::new(last_header, floor, retention, now));
    loader.header(last_header);
    let tail = loader.segment(dir, last, &last_bytes)?;
    prove_torn(&last_bytes, last, tail).map_err(|Damage(at, what)| {
        corrupt(dir.segment_path(last), format!("{what} at byte {at}"))
    })?;
    let after = &last_bytes[usize::try_from(tail).unwrap_or(usize::MAX)..];
    let torn = after.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1);
    let Loader { mut index, ceiling, clean, .. } = loader;
    index.raise_floor(floor);
    index.trim(now.instant);
    Ok(Some(Recovered { index, closed, last, tail, torn, ceiling, floor, stale, clean }))
}

fn read(dir: &Dir, segment: u32) -> StoreResult<Vec<u8>> {
    let path = dir.segment_path(segment);
    std::fs::read(&path).map_err(|error| unreadable(&path, &error))
}

fn read_head(dir: &Dir, segment: u32) -> StoreResult<Vec<u8>> {
    use std::io::Read;
    let path = dir.segment_path(segment);
    let mut head = Vec::new();
    std::fs::File::open(&path)
        .and_then(|file| file.take(segment::HEADER_LEN).read_to_end(&mut head))
        .map_err(|error| unreadable(&path, &error))?;
    Ok(head)
}

fn unreadable(path: &std::path::Path, error: &std::io::Error) -> StoreError {
    StoreError::Unavailable(format!("cannot read {}: {error}", path.display()))
}

fn header(dir: &Dir, segment: u32, bytes: &[u8]) -> StoreResult<segment::Header> {
    segment::Header::decode(bytes, segment).map_err(|what| corrupt(dir.segment_path(segment), what))
}

/// The oldest segment that is needed and where history starts, by the newest word on it.
fn trimmed(
    dir: &Dir,
    last: u32,
    bytes: &[u8],
    header: segment::Header,
) -> StoreResult<(u32, Revision)> {
    let (mut first, mut floor) = (header.first, header.floor);
    let each = |_: &frame::Header, record| {
        if let Record::Trimmed { first: upto, floor: from } = record {
            (first, floor) = (upto, from);
        }
    };
    walk(bytes, last, each).map_err(|Damage(at, what)| {
        corrupt(dir.segment_path(last), format!("{what} at byte {at}"))
    })?;
    Ok((first.min(last), floor))
}

/// Hands over every record up to the first frame that is not whole, and says where that is.
fn walk(
    bytes: &[u8],
    segment: u32,
    mut each: impl FnMut(&frame::Header, Record),
) -> Result<u64, Damage> {
    let mut at = segment::HEADER_LEN;
    while let Some(rest) = usize::try_from(at).ok().and_then(|at| bytes.get(at..)) {
        let Some(header) = frame::Header::read(rest, segment) else { break };
        let Some(payload) = header.payload(rest) else { break };
        for record in frame::records(payload) {
            let unknown = Damage(at, "a record of another version");
            each(&header, record.ok_or(unknown)?);
        }
        at += header.stride();
    }
    Ok(at.min(bytes.len() as u64))
}

/// Makes sure that nothing after `tail` was ever on stable storage: a later frame would say so.
fn prove_torn(bytes: &[u8], segment: u32, tail: u64) -> Result<(), Damage> {
    let from = usize::try_from(tail).unwrap_or(usize::MAX);
    for at in (from..bytes.len()).step_by(frame::ALIGN as usize) {
        if let Some(header) = frame::Header::read(&bytes[at..], segment)
            && header.synced > tail
        {
            return Err(Damage(tail, "a frame that was acknowledged is damaged"));
        }
    }
    Ok(())
}

/// Applies records in their order.
struct Loader {
    index: Index,
    ceiling: Revision,
    floor: Revision,
    clean: bool,
    age_ms: u64,
    now: Now,
}

impl Loader {
    fn new(first: segment::Header, floor: Revision, retention: Retention, now: Now) -> Self {
        let age_ms = u64::try_from(retention.age.as_millis()).unwrap_or(u64::MAX);
        let index = Index::new(first.revision, retention);
        Self { index, ceiling: first.ceiling, floor, clean: false, age_ms, now }
    }

    fn header(&mut self, header: segment::Header) {
        self.ceiling = self.ceiling.max(header.ceiling);
    }

    fn segment(&mut self, dir: &Dir, segment: u32, bytes: &[u8]) -> StoreResult<u64> {
        let mut wrong = None;
        let end = walk(bytes, segment, |header, record| {
            self.clean = false;
            if let Err(revision) = self.record(segment, header.wall_ms, record) {
                wrong.get_or_insert(revision);
            }
        });
        let end = end.map_err(|Damage(at, what)| {
            corrupt(dir.segment_path(segment), format!("{what} at byte {at}"))
        })?;
        match wrong {
            Some(revision) => {
                let what = format!("revision {revision} is out of order");
                Err(corrupt(dir.segment_path(segment), what))
            }
            None => Ok(end),
        }
    }

    fn record(&mut self, home: u32, wall_ms: u64, record: Record) -> Result<(), Revision> {
        match record {
            Record::Put(put) => {
                self.in_order(put.modified)?;
                let expiry = self.expiry(put.expires_ms);
                self.change(wall_ms, change(put, home, expiry));
            }
            Record::Moved(put) => {
                let expiry = self.expiry(put.expires_ms);
                let version = Version {
                    modified: put.modified,
                    created: put.created,
                    value: Some(put.value),
                    home,
                };
                self.index.restore(put.key, version, expiry);
            }
            Record::Delete { key, revision } => {
                self.in_order(revision)?;
                let change = Change { revision, created: 0, key, value: None, expiry: None, home };
                self.change(wall_ms, change);
            }
            Record::Ceiling(revision) => self.ceiling = self.ceiling.max(revision),
            Record::Opened { last, reopened } => self.index.reopen(last, reopened),
            Record::Compacted(before) => {
                let before = before.min(self.index.revision());
                self.index.compact(before).unwrap_or_default();
            }
            Record::Trimmed { .. } => {}
            Record::Closed => self.clean = true,
        }
        Ok(())
    }

    fn in_order(&self, revision: Revision) -> Result<(), Revision> {
        // A moved record may already have taken the index further than its own segment's start.
        if revision > self.index.revision() { Ok(()) } else { Err(revision) }
    }

    fn change(&mut self, wall_ms: u64, change: Change) {
        let age_ms = self.now.wall_ms.saturating_sub(wall_ms);
        let at = self.now.instant.checked_sub(Duration::from_millis(age_ms));
        let kept = change.revision > self.floor && age_ms < self.age_ms;
        match at.filter(|_| kept) {
            Some(at) => {
                self.index.apply(change, at);
            }
            None => self.index.apply_forgotten(change),
        }
    }

    fn expiry(&self, expires_ms: u64) -> Option<Expiry> {
        let left = Duration::from_millis(expires_ms.saturating_sub(self.now.wall_ms));
        let at = self.now.instant.checked_add(left)?;
        (expires_ms > 0).then_some(Expiry { at, wall_ms: expires_ms })
    }
}

fn change(put: Put, home: u32, expiry: Option<Expiry>) -> Change {
    Change {
        revision: put.modified,
        created: put.created,
        key: put.key,
        value: Some(put.value),
        expiry,
        home,
    }
}
