//! Torn tails and flipped bytes, in every file, at every kind of place: the store opens with a
//! state that it once had, or says that it is damaged. It never makes things up.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use store::embedded::EmbeddedOptions;
use store::{Durability, Revision, Store, StoreError};

use super::{Fingerprint, check_value, copy_dir, everything, fingerprint, seed, value, write};

fn options(dir: &Path) -> EmbeddedOptions {
    let mut options = EmbeddedOptions::new(dir);
    options.segment_bytes = 64 << 10;
    options
}

/// A data directory as a kill leaves it, with every state that it went through.
struct Image {
    dir: tempfile::TempDir,
    states: HashMap<Fingerprint, Revision>,
    newest: Revision,
}

impl Image {
    async fn make(rng: &mut StdRng, writes: u64, relaxed_tail: u64) -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let live = scratch.path().join("live");
        let store = store::embedded::open(options(&live)).unwrap();
        let mut states = HashMap::new();
        states.insert(fingerprint(&everything(&*store).await), 1);
        let mut newest = 1;
        for n in 0..writes {
            let durability =
                if n >= writes - relaxed_tail { Durability::Relaxed } else { Durability::Synced };
            let key = format!("/k/{}", rng.random_range(0..30));
            let put = rng.random_bool(0.85).then(|| value(&key, n, rng.random_range(10..3_000)));
            newest = store.write(write(&key, put, durability)).await.unwrap().revision;
            states.insert(fingerprint(&everything(&*store).await), newest);
        }
        let dir = tempfile::tempdir().unwrap();
        copy_dir(&live, dir.path());
        Self { dir, states, newest }
    }

    fn files(&self) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(self.dir.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .collect();
        files.sort();
        files
    }

    fn last_segment(&self) -> PathBuf {
        let is_log = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "log");
        self.files().into_iter().rfind(is_log).unwrap()
    }

    /// Opens a damaged copy; gives the revision of the state that was found, if it opened.
    async fn open(&self, dir: &Path, what: &str) -> Option<Revision> {
        let store = match store::embedded::open(options(dir)) {
            Ok(store) => store,
            Err(StoreError::Corrupt(why)) => {
                assert!(why.contains(".log"), "{what}: {why} names no file");
                return None;
            }
            Err(error) => panic!("{what}: {error}"),
        };
        let state = everything(&*store).await;
        state.values().for_each(|kv| {
            check_value(kv);
        });
        let found = self.states.get(&fingerprint(&state));
        let found = *found.unwrap_or_else(|| panic!("{what}: a state that never was"));
        let given = store.write(write("/k/new", Some("x".into()), Durability::Synced)).await;
        let given = given.unwrap().revision;
        assert!(given > self.newest, "{what}: {given} was given before");
        Some(found)
    }

    /// Damages a copy of one file.
    async fn damaged(
        &self,
        file: &Path,
        what: &str,
        damage: impl Fn(&mut Vec<u8>),
    ) -> Option<Revision> {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(self.dir.path(), copy.path());
        let file = copy.path().join(file.file_name().unwrap());
        let mut bytes = std::fs::read(&file).unwrap();
        damage(&mut bytes);
        std::fs::write(&file, bytes).unwrap();
        self.open(copy.path(), &format!("{what} in {}", file.display())).await
    }
}

/// Where the last frame of a segment ends: what follows is room.
fn used(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1)
}

#[tokio::test]
async fn a_flipped_bit_is_an_error_or_the_last_good_state() {
    let mut rng = StdRng::seed_from_u64(seed());
    let image = Image::make(&mut rng, 250, 0).await;
    let newest = image.newest;
    assert!(image.files().len() >= 5, "several segments: {:?}", image.files());
    let (mut refused, mut opened) = (0, 0);
    for file in image.files() {
        let len = used(&std::fs::read(&file).unwrap());
        let mut places: Vec<usize> = (0..len.min(200)).collect();
        places.extend((0..60).filter(|_| len > 0).map(|_| rng.random_range(0..len)));
        places.extend(len.saturating_sub(50)..len);
        for at in places {
            let bit = rng.random_range(0..8);
            let what = format!("byte {at} bit {bit}");
            match image.damaged(&file, &what, |bytes| bytes[at] ^= 1 << bit).await {
                None => refused += 1,
                Some(found) => {
                    opened += 1;
                    // Only the last frame can be taken for one that was never finished.
                    let last = file == image.last_segment();
                    assert!(
                        found == newest || last,
                        "{what} in {}: back at {found}",
                        file.display()
                    );
                    assert!(newest - found <= 1, "{what}: back at {found} of {newest}");
                }
            }
        }
    }
    println!("{refused} refused, {opened} opened");
    assert!(refused > 100 && opened > 10, "{refused} refused, {opened} opened");
}

#[tokio::test]
async fn a_torn_tail_goes_back_to_what_was_acknowledged() {
    let mut rng = StdRng::seed_from_u64(seed());
    // The last forty were not waited for: a power failure may take them, from any place on.
    let image = Image::make(&mut rng, 120, 40).await;
    let (file, newest) = (image.last_segment(), image.newest);
    let len = used(&std::fs::read(&file).unwrap());
    let mut seen = std::collections::BTreeSet::new();
    for n in 0..150 {
        let at = if n < 50 { len - n } else { rng.random_range(128..len) };
        let what = format!("cut at {at}");
        // Cut off, full of zeros, or full of noise.
        let noise: Vec<u8> = (0..len - at).map(|_| rng.random()).collect();
        let found = image
            .damaged(&file, &what, |bytes| match n % 3 {
                0 => bytes.truncate(at),
                1 => bytes[at..len].fill(0),
                _ => bytes[at..len].copy_from_slice(&noise),
            })
            .await;
        // With everything after the cut gone, nothing proves that it was there.
        let found = found.unwrap_or_else(|| panic!("{what}: refused"));
        assert!(found <= newest);
        seen.insert(found);
    }
    assert!(seen.len() > 5, "the cuts went to {seen:?}");
}

#[tokio::test]
async fn pages_written_out_of_order_are_not_taken_for_damage() {
    let mut rng = StdRng::seed_from_u64(seed());
    let image = Image::make(&mut rng, 120, 40).await;
    let (file, newest) = (image.last_segment(), image.newest);
    let bytes = std::fs::read(&file).unwrap();
    let len = used(&bytes);
    let (mut torn, mut refused) = (0, 0);
    for _ in 0..100 {
        // One page in the middle never reached the disk; later ones did.
        let page = rng.random_range(0..len.div_ceil(512)) * 512;
        let what = format!("page {page}");
        let lost = |bytes: &mut Vec<u8>| {
            let end = (page + 512).min(bytes.len());
            bytes[page..end].fill(0);
        };
        match image.damaged(&file, &what, lost).await {
            Some(found) => {
                assert!(found >= newest - 40, "{what}: {found} of {newest} was acknowledged");
                torn += usize::from(found < newest);
            }
            None => refused += 1,
        }
    }
    println!("{torn} torn, {refused} refused");
    assert!(torn > 0);
}

#[tokio::test]
async fn a_missing_or_foreign_file_is_named() {
    let mut rng = StdRng::seed_from_u64(seed());
    let image = Image::make(&mut rng, 250, 0).await;
    let logs: Vec<_> = image
        .files()
        .into_iter()
        .filter(|path| path.extension().is_some_and(|ext| ext == "log"))
        .collect();
    for missing in &logs[..logs.len() - 1] {
        let copy = tempfile::tempdir().unwrap();
        copy_dir(image.dir.path(), copy.path());
        let missing = copy.path().join(missing.file_name().unwrap());
        std::fs::remove_file(&missing).unwrap();
        let error = store::embedded::open(options(copy.path())).unwrap_err().to_string();
        assert!(error.contains("damaged") && error.contains("is missing"), "{error}");
    }
    let copy = tempfile::tempdir().unwrap();
    copy_dir(image.dir.path(), copy.path());
    let name = |path: &PathBuf| copy.path().join(path.file_name().unwrap());
    std::fs::copy(name(&logs[0]), name(&logs[1])).unwrap();
    let error = store::embedded::open(options(copy.path())).unwrap_err().to_string();
    assert!(error.contains("under another's name"), "{error}");
    std::fs::write(name(&logs[1]), "hello").unwrap();
    let error = store::embedded::open(options(copy.path())).unwrap_err().to_string();
    assert!(error.contains("its header is cut off"), "{error}");
}
