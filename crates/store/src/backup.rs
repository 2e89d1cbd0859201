//! Backups: a stream of every key at one revision, checksummed, in a versioned format.
//!
//! ```text
//! file    = header chunk* end
//! header  = "FERRYBAK" version:u32 0:u32 revision:u64 crc:u32
//! chunk   = 'C' count:u32 len:u32 entries crc:u32       the crc covers everything before it
//! entries = (created:u64 modified:u64 key-len:u32 value-len:u32 key value)*
//! end     = 'E' keys:u64 digest:u32 crc:u32             digest is the crc of all chunks' crcs
//! ```
//!
//! Little-endian; checksums are CRC-32C. Invariant: a file that is cut off, damaged, reordered or
//! of another version is refused; nothing of a damaged chunk is handed on. Whether a backup is
//! encrypted is for the caller, who gives the reader and the writer.

use std::io::{self, Read, Write};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};

use crate::{Durability, Expect, KeyValue, Revision, Store, StoreError};

const MAGIC: &[u8; 8] = b"FERRYBAK";
const VERSION: u32 = 1;
/// A chunk is closed when its entries reach this many bytes.
const CHUNK_BYTES: usize = 1 << 20;
/// No chunk is larger than one value of the largest size beside a full chunk.
const CHUNK_BYTES_MAX: usize = 256 << 20;
/// How many keys are restored at once.
const RESTORE_WRITERS: usize = 64;

/// What goes wrong with a backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The file cannot be read or written.
    #[error("cannot read or write the backup")]
    Io(#[from] io::Error),
    /// The file is not a whole backup.
    #[error("the backup is damaged: {0}")]
    Damaged(&'static str),
    /// The file was made by another version.
    #[error("the backup is of version {0}; this program reads {VERSION}")]
    Version(u32),
    /// The store that is to be restored into holds keys.
    #[error("the store already holds keys, the first is {0}; restore into an empty one")]
    NotEmpty(Arc<str>),
    /// The store failed.
    #[error("the store failed during the backup")]
    Store(#[from] StoreError),
}

/// What a backup holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The revision that it was taken at.
    pub revision: Revision,
    /// How many keys it holds.
    pub keys: u64,
}

/// Writes every key of a store, at one revision.
///
/// # Errors
/// When the store or the file fails. What was written until then is not a backup, and is refused
/// when read.
pub async fn save(
    store: &dyn Store,
    file: &mut (dyn Write + Send),
) -> Result<Summary, BackupError> {
    let (revision, mut items) = store.snapshot().await?;
    let mut writer = Writer::begin(file, revision)?;
    while let Some(kv) = items.try_next().await? {
        writer.add(&kv)?;
    }
    writer.finish()
}

/// Writes the keys of a backup into an empty store, each with the time to live that `ttl_of` gives
/// it: a backup does not know which keys were to delete themselves. They get new revisions, so
/// open the store above [`Summary::revision`] (`EmbeddedOptions::revision_min`) lest clients find
/// numbers that they know on other objects.
///
/// The whole file is checked while it is read, so a damaged one may leave a part of the keys
/// behind; check it first with [`verify`] where that matters.
///
/// # Errors
/// When the file is damaged, or the store is not empty or fails.
pub async fn restore(
    store: &dyn Store,
    file: &mut (dyn Read + Send),
    ttl_of: &(dyn Fn(&str) -> Option<Duration> + Send + Sync),
) -> Result<Summary, BackupError> {
    let first = crate::Range { limit: Some(1), ..crate::Range::default() };
    if let Some(kv) = store.range(first).await?.items.into_iter().next() {
        return Err(BackupError::NotEmpty(kv.key));
    }
    let mut reader = Reader::begin(file)?;
    while let Some(chunk) = reader.next_chunk()? {
        let writes = chunk.into_iter().map(|kv| {
            let ttl = ttl_of(&kv.key);
            store.write(crate::Write {
                key: kv.key,
                value: Some(kv.value),
                expect: Expect::Absent,
                durability: Durability::Synced,
                ttl,
            })
        });
        let mut writes = futures::stream::iter(writes).buffer_unordered(RESTORE_WRITERS);
        while writes.try_next().await?.is_some() {}
    }
    Ok(reader.summary())
}

/// Reads a backup to its end and says what it holds.
///
/// # Errors
/// When it is not whole.
pub fn verify(file: &mut dyn Read) -> Result<Summary, BackupError> {
    let mut reader = Reader::begin(file)?;
    while reader.next_chunk()?.is_some() {}
    Ok(reader.summary())
}

/// Writes a backup piece by piece.
pub struct Writer<W: Write> {
    file: W,
    revision: Revision,
    keys: u64,
    digest: u32,
    chunk: Vec<u8>,
    chunk_keys: u32,
}

impl<W: Write> Writer<W> {
    /// Starts a backup of the state at a revision.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn begin(mut file: W, revision: Revision) -> Result<Self, BackupError> {
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&VERSION.to_le_bytes());
        header.extend_from_slice(&0u32.to_le_bytes());
        header.extend_from_slice(&revision.to_le_bytes());
        seal(&mut header);
        file.write_all(&header)?;
        Ok(Self { file, revision, keys: 0, digest: 0, chunk: Vec::new(), chunk_keys: 0 })
    }

    /// Adds a key; keys come in order.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn add(&mut self, kv: &KeyValue) -> Result<(), BackupError> {
        for long in [kv.create_revision, kv.mod_revision] {
            self.chunk.extend_from_slice(&long.to_le_bytes());
        }
        for part in [kv.key.as_bytes(), &kv.value] {
            let len = u32::try_from(part.len()).map_err(io::Error::other)?;
            self.chunk.extend_from_slice(&len.to_le_bytes());
        }
        self.chunk.extend_from_slice(kv.key.as_bytes());
        self.chunk.extend_from_slice(&kv.value);
        self.chunk_keys += 1;
        if self.chunk.len() >= CHUNK_BYTES { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), BackupError> {
        let len = u32::try_from(self.chunk.len()).map_err(io::Error::other)?;
        let mut framed = vec![b'C'];
        framed.extend_from_slice(&self.chunk_keys.to_le_bytes());
        framed.extend_from_slice(&len.to_le_bytes());
        framed.append(&mut self.chunk);
        let crc = seal(&mut framed);
        self.digest = crc32c::crc32c_append(self.digest, &crc.to_le_bytes());
        self.keys += u64::from(std::mem::take(&mut self.chunk_keys));
        self.file.write_all(&framed)?;
        Ok(())
    }

    /// Ends the backup. Without this it is not one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn finish(mut self) -> Result<Summary, BackupError> {
        if self.chunk_keys > 0 {
            self.flush()?;
        }
        let mut end = vec![b'E'];
        end.extend_from_slice(&self.keys.to_le_bytes());
        end.extend_from_slice(&self.digest.to_le_bytes());
        seal(&mut end);
        self.file.write_all(&end)?;
        self.file.flush()?;
        Ok(Summary { revision: self.revision, keys: self.keys })
    }
}

/// Appends the checksum of what is there.
fn seal(bytes: &mut Vec<u8>) -> u32 {
    let crc = crc32c::crc32c(bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    crc
}

/// Reads a backup piece by piece, each checked before it is handed on.
pub struct Reader<R: Read> {
    file: R,
    revision: Revision,
    keys: u64,
    digest: u32,
    last: Option<Arc<str>>,
}

impl<R: Read> Reader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When it is not a backup of this version.
    pub fn begin(mut file: R) -> Result<Self, BackupError> {
        let mut header = [0; 28];
        fill(&mut file, &mut header, "it ends within its header")?;
        let (body, crc) = header.split_at(24);
        if &body[..8] != MAGIC {
            return Err(BackupError::Damaged("it does not begin as a backup does"));
        }
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err(BackupError::Damaged("its header's checksum is wrong"));
        }
        let version = u32_at(body, 8);
        if version != VERSION {
            return Err(BackupError::Version(version));
        }
        Ok(Self { file, revision: u64_at(body, 16), keys: 0, digest: 0, last: None })
    }

    /// The next keys, in order; `None` after the last.
    ///
    /// # Errors
    /// When what follows is damaged.
    pub fn next_chunk(&mut self) -> Result<Option<Vec<KeyValue>>, BackupError> {
        let mut kind = [0];
        fill(&mut self.file, &mut kind, "it is cut off")?;
        match kind {
            [b'C'] => self.chunk().map(Some),
            [b'E'] => self.end().map(|()| None),
            _ => Err(BackupError::Damaged("there is something else between its chunks")),
        }
    }

    /// What was read so far.
    #[must_use]
    pub fn summary(&self) -> Summary {
        Summary { revision: self.revision, keys: self.keys }
    }

    fn chunk(&mut self) -> Result<Vec<KeyValue>, BackupError> {
        let mut head = [0; 8];
        fill(&mut self.file, &mut head, "it is cut off within a chunk")?;
        let (count, len) = (u32_at(&head, 0), u32_at(&head, 4) as usize);
        if len > CHUNK_BYTES_MAX {
            return Err(BackupError::Damaged("a chunk is impossibly long"));
        }
        let mut body = Vec::new();
        // Read as far as the file goes: a wrong length must not take memory for what is not there.
        (&mut self.file).take(len as u64 + 4).read_to_end(&mut body)?;
        if body.len() != len + 4 {
            return Err(BackupError::Damaged("it is cut off within a chunk"));
        }
        let (entries, crc) = body.split_at(len);
        let sum =
            crc32c::crc32c_append(crc32c::crc32c_append(crc32c::crc32c(b"C"), &head), entries);
        if sum.to_le_bytes() != crc {
            return Err(BackupError::Damaged("a chunk's checksum is wrong"));
        }
        self.digest = crc32c::crc32c_append(self.digest, crc);
        let kvs = self.entries(entries)?;
        if kvs.len() as u64 != u64::from(count) {
            return Err(BackupError::Damaged("a chunk has another number of keys than it says"));
        }
        self.keys += u64::from(count);
        Ok(kvs)
    }

    fn entries(&mut self, mut rest: &[u8]) -> Result<Vec<KeyValue>, BackupError> {
        let wrong = || BackupError::Damaged("a chunk's entries do not fit it");
        let mut kvs = Vec::new();
        while !rest.is_empty() {
            let (head, after) = rest.split_at_checked(24).ok_or_else(wrong)?;
            let (key_len, value_len) = (u32_at(head, 16) as usize, u32_at(head, 20) as usize);
            let (key, after) = after.split_at_checked(key_len).ok_or_else(wrong)?;
            let (value, after) = after.split_at_checked(value_len).ok_or_else(wrong)?;
            let key: Arc<str> = std::str::from_utf8(key).map_err(|_| wrong())?.into();
            if self.last.as_ref().is_some_and(|last| *last >= key) {
                return Err(BackupError::Damaged("its keys are out of order"));
            }
            self.last = Some(key.clone());
            kvs.push(KeyValue {
                key,
                value: Bytes::copy_from_slice(value),
                create_revision: u64_at(head, 0),
                mod_revision: u64_at(head, 8),
            });
            rest = after;
        }
        Ok(kvs)
    }

    fn end(&mut self) -> Result<(), BackupError> {
        let mut end = [0; 17];
        end[0] = b'E';
        fill(&mut self.file, &mut end[1..], "it is cut off within its end")?;
        let (body, crc) = end.split_at(13);
        if crc32c::crc32c(body).to_le_bytes() != crc {
            return Err(BackupError::Damaged("its end's checksum is wrong"));
        }
        if u64_at(body, 1) != self.keys || u32_at(body, 9) != self.digest {
            return Err(BackupError::Damaged("chunks are missing or out of order"));
        }
        let mut more = [0];
        match self.file.read(&mut more)? {
            0 => Ok(()),
            _ => Err(BackupError::Damaged("something follows its end")),
        }
    }
}

fn fill(file: &mut impl Read, buffer: &mut [u8], cut: &'static str) -> Result<(), BackupError> {
    file.read_exact(buffer).map_err(|error| match error.kind() {
        io::ErrorKind::UnexpectedEof => BackupError::Damaged(cut),
        _ => BackupError::Io(error),
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn filled(keys: usize, value_len: usize) -> Arc<crate::embedded::EmbeddedStore> {
        let store = crate::memory();
        for n in 0..keys {
            let write = crate::Write {
                key: format!("/k/{n:04}").into(),
                value: Some(vec![b'a' + (n % 26) as u8; value_len].into()),
                expect: Expect::Absent,
                durability: Durability::Synced,
                ttl: None,
            };
            store.write(write).await.unwrap();
        }
        store
    }

    async fn state(store: &dyn Store) -> Vec<(Arc<str>, Bytes)> {
        let page = store.range(crate::Range::default()).await.unwrap();
        page.items.into_iter().map(|kv| (kv.key, kv.value)).collect()
    }

    #[tokio::test]
    async fn what_is_saved_is_restored() {
        for (keys, value_len) in [(0, 0), (1, 0), (300, 10_000)] {
            let (old, new) = (filled(keys, value_len).await, crate::memory());
            let mut file = Vec::new();
            let saved = save(&*old, &mut file).await.unwrap();
            assert_eq!(saved, Summary { revision: 1 + keys as u64, keys: keys as u64 });
            assert_eq!(verify(&mut &file[..]).unwrap(), saved);
            assert_eq!(restore(&*new, &mut &file[..], &|_| None).await.unwrap(), saved);
            assert_eq!(state(&*new).await, state(&*old).await);
        }
    }

    #[tokio::test]
    async fn events_expire_after_a_restore_too() {
        let (mut file, new) = (Vec::new(), crate::memory());
        save(&*filled(10, 1).await, &mut file).await.unwrap();
        let ttl_of = |key: &str| key.ends_with('3').then_some(Duration::from_secs(3600));
        restore(&*new, &mut &file[..], &ttl_of).await.unwrap();
        assert_eq!(new.stats().await.unwrap().expiring, 1);
    }

    #[tokio::test]
    async fn a_store_with_keys_is_not_restored_into() {
        let old = filled(3, 10).await;
        let mut file = Vec::new();
        save(&*old, &mut file).await.unwrap();
        let error = restore(&*old, &mut &file[..], &|_| None).await.unwrap_err();
        assert!(error.to_string().contains("the first is /k/0000"), "{error}");
    }

    #[tokio::test]
    async fn every_flipped_bit_and_every_cut_is_refused() {
        let mut file = Vec::new();
        save(&*filled(5, 20).await, &mut file).await.unwrap();
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(verify(&mut &damaged[..]).is_err(), "byte {at} bit {bit}");
            }
            assert!(verify(&mut &file[..at]).is_err(), "cut at {at}");
        }
        file.push(0);
        assert!(verify(&mut &file[..]).is_err(), "something follows");
    }

    #[tokio::test]
    async fn a_missing_chunk_is_noticed() {
        let mut file = Vec::new();
        save(&*filled(4, 600_000).await, &mut file).await.unwrap();
        let len = u32_at(&file, 28 + 5) as usize;
        file.drain(28..28 + 9 + len + 4);
        let error = verify(&mut &file[..]).unwrap_err();
        assert!(error.to_string().contains("missing or out of order"), "{error}");
    }

    #[test]
    fn another_version_is_named() {
        let mut header = MAGIC.to_vec();
        header.extend_from_slice(&9u32.to_le_bytes());
        header.resize(24, 0);
        seal(&mut header);
        let error = verify(&mut &header[..]).unwrap_err();
        assert_eq!(error.to_string(), "the backup is of version 9; this program reads 1");
    }
}
