//! The store itself: blobs, names, unpacked layers.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use nix::fcntl::{Flock, FlockArg};

use super::codec::{Digested, Digesting, digest, plain};
use super::index::{Descriptor, Index, Manifest, NAME};
use super::reference::{Reference, is_digest};
use super::{Attempt, ImageConfig, ImageError, Result, malformed, unpack};

/// A folder of images.
#[derive(Debug, Clone)]
pub struct ImageStore {
    root: PathBuf,
}

/// An image that the store has.
#[derive(Debug, Clone)]
pub struct StoredImage {
    /// The digest of its configuration.
    pub id: String,
    /// The digest of its manifest.
    pub digest: String,
    /// All its names in full, with tags, sorted.
    pub names: Vec<String>,
    /// How to run it.
    pub config: ImageConfig,
    /// Bytes of its blobs.
    pub size: u64,
    pub(super) manifest: Manifest,
}

impl StoredImage {
    /// `name@sha256:…` for each of its repositories.
    #[must_use]
    pub fn repo_digests(&self) -> Vec<String> {
        let names = self.names.iter().filter_map(|name| name.parse::<Reference>().ok());
        let names: BTreeSet<String> = names.map(|name| name.name()).collect();
        names.into_iter().map(|name| format!("{name}@{}", self.digest)).collect()
    }

    /// Its names with tags.
    #[must_use]
    pub fn repo_tags(&self) -> Vec<String> {
        self.names.iter().filter(|name| !name.contains('@')).cloned().collect()
    }
}

/// Held while content is added (shared) or swept (alone).
pub(super) struct Guard(#[expect(dead_code, reason = "held for its drop")] Flock<File>);

static TEMPORARY: AtomicU64 = AtomicU64::new(0);

impl ImageStore {
    /// Opens the store in a folder, making it if it is not there.
    ///
    /// # Errors
    /// The folder cannot be written.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let store = Self { root: root.into() };
        for folder in ["blobs/sha256", "layers/empty", "tmp"] {
            let path = store.root.join(folder);
            fs::create_dir_all(&path).attempt(|| format!("make {}", path.display()))?;
        }
        let layout = store.root.join("oci-layout");
        if !layout.exists() {
            store.write_file(&layout, br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        }
        Ok(store)
    }

    /// Its folder.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A number that changes with every change of what the store names.
    #[must_use]
    pub fn version(&self) -> u64 {
        use std::os::unix::fs::MetadataExt;
        // The index is replaced as a whole, so its inode and time tell versions apart.
        let meta = fs::metadata(self.root.join("index.json"));
        meta.map_or(0, |meta| meta.ino() ^ meta.mtime_nsec().unsigned_abs().rotate_left(32))
    }

    /// All images, with all their names.
    ///
    /// # Errors
    /// The index cannot be read.
    pub fn list(&self) -> Result<Vec<StoredImage>> {
        let mut images: BTreeMap<String, StoredImage> = BTreeMap::new();
        for entry in self.index()?.manifests {
            // An entry whose content is gone is skipped: the others still serve.
            let Ok(image) = self.load(&entry.digest) else { continue };
            let image = images.entry(entry.digest.clone()).or_insert(image);
            image.names.extend(entry.name().map(str::to_owned));
        }
        let mut images: Vec<_> = images.into_values().collect();
        images.iter_mut().for_each(|image| image.names.sort());
        Ok(images)
    }

    /// One image, by any of its names, its id or its digest; none when it is not here.
    ///
    /// # Errors
    /// The index cannot be read, or the name is not one.
    pub fn find(&self, name: &str) -> Result<Option<StoredImage>> {
        let by_id = |image: &StoredImage| image.id == name || image.digest == name;
        if is_digest(name) {
            return Ok(self.list()?.into_iter().find(by_id));
        }
        let images = self.list()?;
        if is_short_id(name) {
            let starts = |image: &&StoredImage| image.id[7..].starts_with(name);
            if let Some(image) = images.iter().find(starts) {
                return Ok(Some(image.clone()));
            }
        }
        let wanted: Reference = name.parse()?;
        let full = Reference { digest: None, ..wanted.clone() }.to_string();
        Ok(images.into_iter().find(|image| match &wanted.digest {
            Some(digest) => {
                image.digest == *digest
                    && image
                        .names
                        .iter()
                        .any(|n| n.parse::<Reference>().is_ok_and(|n| n.name() == wanted.name()))
            }
            None => image.names.contains(&full),
        }))
    }

    /// One image that must be here.
    ///
    /// # Errors
    /// [`ImageError::NotFound`] when it is not.
    pub fn get(&self, name: &str) -> Result<StoredImage> {
        self.find(name)?.ok_or_else(|| ImageError::NotFound(name.to_owned()))
    }

    /// Gives an image one more name; the name is taken from another image that has it.
    ///
    /// # Errors
    /// The image is not here, or the name is not one.
    pub fn tag(&self, image: &str, name: &str) -> Result<()> {
        let digest = self.get(image)?.digest;
        let name: Reference = name.parse()?;
        self.name(&digest, &[name.to_string()])
    }

    /// Takes a name away; the last one takes the image with it. An id takes all names.
    ///
    /// # Errors
    /// The image is not here.
    pub fn remove(&self, name: &str) -> Result<Vec<String>> {
        let image = self.get(name)?;
        let one = name.parse::<Reference>().ok().map(|name| name.to_string());
        let gone: Vec<String> = match one.filter(|one| image.names.contains(one)) {
            Some(one) => vec![one],
            None => image.names.clone(),
        };
        self.change_index(|index| {
            index.manifests.retain(|entry| {
                entry.digest != image.digest
                    || entry.name().is_some_and(|name| !gone.iter().any(|g| g == name))
            });
        })?;
        Ok(gone)
    }

    /// Takes an image away with all its names.
    ///
    /// # Errors
    /// The image is not here.
    pub fn remove_image(&self, name: &str) -> Result<()> {
        let image = self.get(name)?;
        self.change_index(|index| index.manifests.retain(|entry| entry.digest != image.digest))
    }

    /// The names of an image's unpacked layers below [`ImageStore::layers_dir`], topmost first,
    /// unpacking what is not yet.
    ///
    /// # Errors
    /// A layer is damaged, or the disk is full.
    pub fn unpack(&self, image: &StoredImage) -> Result<Vec<String>> {
        let _adding = self.adding()?;
        let (layers, ids) = (&image.manifest.layers, &image.config.rootfs.diff_ids);
        if layers.len() != ids.len() {
            return Err(malformed(&*image.id, "its layers and their ids differ in number"));
        }
        let mut names = Vec::new();
        for (layer, id) in layers.iter().zip(ids) {
            names.push(self.unpack_layer(&layer.digest, id)?);
        }
        names.reverse();
        if names.is_empty() {
            names.push("empty".to_owned());
        }
        Ok(names)
    }

    /// Where unpacked layers lie.
    #[must_use]
    pub fn layers_dir(&self) -> PathBuf {
        self.root.join("layers")
    }

    /// Takes a folder of the store's own filesystem as an unpacked layer; answers the digest and
    /// size of its tar, which is not kept. The folder must be on disk already.
    pub(super) fn adopt_layer(&self, folder: &Path) -> Result<(String, u64)> {
        let mut digest = Digesting::default();
        super::tree::write(folder, &mut digest)?;
        let (digest, size) = digest.finish();
        let target = self.layers_dir().join(&digest[7..39]);
        match fs::rename(folder, &target) {
            Err(_) if target.exists() => {}
            other => other.attempt(|| format!("put layer {digest} in place"))?,
        }
        sync_folder(&target)?;
        Ok((digest, size))
    }

    /// Makes the blobs of layers that were adopted as folders.
    pub(super) fn complete_blobs(&self, image: &StoredImage) -> Result<()> {
        let _adding = self.adding()?;
        for (layer, id) in image.manifest.layers.iter().zip(&image.config.rootfs.diff_ids) {
            if self.has_blob(&layer.digest) || layer.digest != *id {
                continue;
            }
            let folder = self.layers_dir().join(id.get(7..39).unwrap_or_default());
            let temporary = self.temporary("blob");
            let what = || format!("write {}", temporary.display());
            let made = (|| {
                let file = File::create_new(&temporary).attempt(what)?;
                super::tree::write(&folder, std::io::BufWriter::new(&file))?;
                file.sync_all().attempt(what)?;
                let file = File::open(&temporary).attempt(what)?;
                let digest = Digested::new(file).digest_all().attempt(what)?;
                self.adopt_blob(&temporary, &digest, Some(id))
            })();
            if made.is_err() {
                drop(fs::remove_file(&temporary));
            }
            made?;
        }
        Ok(())
    }

    fn unpack_layer(&self, blob: &str, diff_id: &str) -> Result<String> {
        if !is_digest(diff_id) {
            return Err(malformed("layer", format!("{diff_id:?} is not a digest")));
        }
        // Half a digest tells layers apart, and more names fit into the kernel's page of options.
        let name = diff_id[7..39].to_owned();
        let target = self.layers_dir().join(&name);
        if target.exists() {
            return Ok(name);
        }
        let source = self.open_blob(blob)?;
        let temporary = self.temporary("layer");
        fs::create_dir(&temporary).attempt(|| format!("make {}", temporary.display()))?;
        let result = (|| {
            let mut source = Digested::new(plain(source)?);
            unpack::unpack(&mut source, &temporary)?;
            let got = source.digest_all().attempt(|| format!("read layer {blob}"))?;
            if got != diff_id {
                return Err(malformed(format!("layer {blob}"), format!("it is {got} inside")));
            }
            let folder = File::open(&temporary).attempt(|| "open the layer".to_owned())?;
            nix::unistd::syncfs(&folder).attempt(|| "write the layer to disk".to_owned())?;
            match fs::rename(&temporary, &target) {
                // Another process was quicker, with the same content.
                Err(_) if target.exists() => Ok(()),
                other => other.attempt(|| format!("put layer {diff_id} in place")),
            }
        })();
        if temporary.exists() {
            drop(fs::remove_dir_all(&temporary));
        }
        result.map(|()| name)
    }

    /// Sweeps what no name leads to any more and no container stands on: blobs, layers, leftovers
    /// of processes that died. Answers the bytes of the blobs that went: none while something is
    /// being added, since what is new has no name yet; the next sweep gets it.
    ///
    /// # Errors
    /// The index cannot be read: then nothing is swept.
    pub fn collect_garbage(&self, containers_dir: &Path) -> Result<u64> {
        let _alone = match self.lock("lock", FlockArg::LockExclusiveNonblock) {
            Err(ImageError::Io { source, .. })
                if source.kind() == std::io::ErrorKind::WouldBlock =>
            {
                return Ok(0);
            }
            other => other?,
        };
        let (mut blobs, mut layers) = (BTreeSet::new(), used_layers(containers_dir));
        layers.insert("empty".to_owned());
        for entry in self.index()?.manifests {
            let image = self.load(&entry.digest)?;
            blobs.insert(entry.digest);
            blobs.insert(image.manifest.config.digest.clone());
            blobs.extend(image.manifest.layers.iter().map(|layer| layer.digest.clone()));
            let ids = image.config.rootfs.diff_ids.iter();
            layers.extend(ids.filter_map(|id| id.get(7..39)).map(str::to_owned));
        }
        let mut freed = 0;
        for (path, name) in entries(&self.root.join("blobs/sha256")) {
            if !blobs.contains(&format!("sha256:{name}")) {
                freed += fs::metadata(&path).map_or(0, |meta| meta.len());
                drop(fs::remove_file(path));
            }
        }
        for (path, name) in entries(&self.layers_dir()) {
            if !layers.contains(&name) {
                // First out of sight, so that a crash leaves no half of a layer under its name.
                let dying = self.temporary("dying");
                if fs::rename(&path, &dying).is_ok() {
                    drop(fs::remove_dir_all(dying));
                }
            }
        }
        for (path, _) in entries(&self.root.join("tmp")) {
            drop(if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) });
        }
        Ok(freed)
    }

    /// Keeps the sweeper away while content is added that nothing leads to yet.
    pub(super) fn adding(&self) -> Result<Guard> {
        self.lock("lock", FlockArg::LockShared)
    }

    fn lock(&self, name: &str, how: FlockArg) -> Result<Guard> {
        let path = self.root.join(name);
        let file = File::options().create(true).truncate(false).write(true).open(&path);
        let file = file.attempt(|| format!("open {}", path.display()))?;
        let locked = Flock::lock(file, how).map_err(|(_, errno)| errno);
        locked.map(Guard).attempt(|| format!("lock {}", path.display()))
    }

    pub(super) fn temporary(&self, kind: &str) -> PathBuf {
        let number = TEMPORARY.fetch_add(1, Ordering::Relaxed);
        self.root.join(format!("tmp/{kind}-{}-{number}", std::process::id()))
    }

    pub(super) fn blob_path(&self, digest: &str) -> Result<PathBuf> {
        if !is_digest(digest) {
            return Err(malformed("blob", format!("{digest:?} is not a digest")));
        }
        Ok(self.root.join("blobs/sha256").join(&digest[7..]))
    }

    pub(super) fn has_blob(&self, digest: &str) -> bool {
        self.blob_path(digest).is_ok_and(|path| path.exists())
    }

    pub(super) fn open_blob(&self, digest: &str) -> Result<File> {
        let path = self.blob_path(digest)?;
        File::open(path).attempt(|| format!("open blob {digest}"))
    }

    pub(super) fn read_blob(&self, digest: &str) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let limited = self.open_blob(digest)?.take(16 << 20);
        let mut limited = limited;
        limited.read_to_end(&mut bytes).attempt(|| format!("read blob {digest}"))?;
        Ok(bytes)
    }

    /// Stores what a reader gives; with `expected`, only if that is its digest.
    pub(super) fn put_blob(
        &self,
        source: impl Read,
        expected: Option<&str>,
    ) -> Result<(String, u64)> {
        let temporary = self.temporary("blob");
        let result = (|| {
            let what = || format!("write {}", temporary.display());
            let mut file = File::create_new(&temporary).attempt(what)?;
            let mut source = Digested::new(source);
            std::io::copy(&mut source, &mut file).attempt(what)?;
            file.sync_all().attempt(what)?;
            let (bytes, digest) = (source.bytes, source.digest());
            self.adopt_blob(&temporary, &digest, expected)?;
            Ok((digest, bytes))
        })();
        if result.is_err() {
            drop(fs::remove_file(&temporary));
        }
        result
    }

    /// Puts a finished file under its digest.
    pub(super) fn adopt_blob(
        &self,
        file: &Path,
        digest: &str,
        expected: Option<&str>,
    ) -> Result<()> {
        if let Some(expected) = expected.filter(|expected| *expected != digest) {
            return Err(malformed(format!("blob {expected}"), format!("it is {digest} inside")));
        }
        let path = self.blob_path(digest)?;
        fs::rename(file, &path).attempt(|| format!("put blob {digest} in place"))?;
        sync_folder(&path)
    }

    pub(super) fn put_json<T: serde::Serialize>(&self, value: &T) -> Result<(String, u64)> {
        let bytes = serde_json::to_vec(value).map_err(|e| malformed("blob", e))?;
        self.put_blob(&*bytes, Some(&digest(&bytes)))
    }

    /// Gives the image of a manifest these names in full, taking them from others.
    pub(super) fn name(&self, manifest: &str, names: &[String]) -> Result<()> {
        let bytes = self.read_blob(manifest)?;
        let media_type = serde_json::from_slice::<Manifest>(&bytes)
            .map_err(|e| malformed(format!("manifest {manifest}"), e))?
            .media_type;
        let entry = Descriptor {
            media_type: if media_type.is_empty() {
                super::index::MANIFEST.into()
            } else {
                media_type
            },
            digest: manifest.to_owned(),
            size: bytes.len() as u64,
            ..Descriptor::default()
        };
        self.change_index(|index| {
            for name in names {
                index.manifests.retain(|old| old.name() != Some(name));
                let mut entry = entry.clone();
                entry.annotations.insert(NAME.to_owned(), name.clone());
                index.manifests.push(entry);
            }
            if names.is_empty() && !index.manifests.iter().any(|old| old.digest == manifest) {
                index.manifests.push(entry.clone());
            }
        })
    }

    pub(super) fn load(&self, manifest: &str) -> Result<StoredImage> {
        let what = || format!("manifest {manifest}");
        let bytes = self.read_blob(manifest)?;
        let parsed: Manifest = serde_json::from_slice(&bytes).map_err(|e| malformed(what(), e))?;
        let config = self.read_blob(&parsed.config.digest)?;
        let config = serde_json::from_slice(&config).map_err(|e| malformed(what(), e))?;
        let blobs: u64 = parsed.layers.iter().map(|layer| layer.size).sum();
        Ok(StoredImage {
            id: parsed.config.digest.clone(),
            digest: manifest.to_owned(),
            names: Vec::new(),
            config,
            size: blobs + parsed.config.size + bytes.len() as u64,
            manifest: parsed,
        })
    }

    fn index(&self) -> Result<Index> {
        let path = self.root.join("index.json");
        match fs::read(&path) {
            Ok(bytes) => {
                serde_json::from_slice(&bytes).map_err(|e| malformed(path.display().to_string(), e))
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Ok(Index { schema_version: 2, ..Index::default() })
            }
            Err(error) => Err(error).attempt(|| format!("read {}", path.display())),
        }
    }

    fn change_index(&self, change: impl FnOnce(&mut Index)) -> Result<()> {
        let _alone = self.lock("index.lock", FlockArg::LockExclusive)?;
        let before = self.index()?;
        let mut after = before.clone();
        change(&mut after);
        if after == before {
            return Ok(());
        }
        let bytes = serde_json::to_vec(&after).map_err(|e| malformed("index.json", e))?;
        self.write_file(&self.root.join("index.json"), &bytes)
    }

    /// Replaces a file as a whole, durably.
    pub(super) fn write_file(&self, path: &Path, bytes: &[u8]) -> Result<()> {
        let temporary = self.temporary("file");
        let what = || format!("write {}", path.display());
        let mut file = File::create_new(&temporary).attempt(what)?;
        file.write_all(bytes).attempt(what)?;
        file.sync_all().attempt(what)?;
        fs::rename(&temporary, path).attempt(what)?;
        sync_folder(path)
    }
}

fn sync_folder(path: &Path) -> Result<()> {
    let Some(folder) = path.parent() else { return Ok(()) };
    let synced = File::open(folder).and_then(|folder| folder.sync_all());
    synced.attempt(|| format!("write {} to disk", folder.display()))
}

fn is_short_id(name: &str) -> bool {
    (12..=64).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn entries(folder: &Path) -> Vec<(PathBuf, String)> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|e| (e.path(), e.file_name().to_string_lossy().into_owned())).collect()
}

/// The layers under containers: each container's folder has a file `layers` that names them.
fn used_layers(containers_dir: &Path) -> BTreeSet<String> {
    let mut used = BTreeSet::new();
    for (sandbox, _) in entries(containers_dir) {
        for (container, _) in entries(&sandbox.join("c")) {
            let names = fs::read_to_string(container.join("layers")).unwrap_or_default();
            used.extend(names.lines().map(str::to_owned));
        }
    }
    used
}
