//! Importing and saving archives: OCI layouts, and what `docker save` writes.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use tar::{Archive, EntryType, Header};

use super::codec::{digest, plain};
use super::index::{
    CONFIG, Descriptor, Index, LAYER, LAYER_GZIP, MANIFEST, Manifest, NAME, REF_NAME,
};
use super::reference::is_digest;
use super::{Attempt, ImageConfig, ImageStore, Reference, Result, StoredImage, malformed};

/// One image in `manifest.json` of `docker save`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Option<Vec<String>>,
    layers: Vec<String>,
}

/// An archive's files, in a temporary folder.
struct Unpacked<'a> {
    store: &'a ImageStore,
    folder: PathBuf,
    /// The file that holds a path of the archive.
    files: BTreeMap<String, PathBuf>,
}

impl Drop for Unpacked<'_> {
    fn drop(&mut self) {
        // What stays is swept with the garbage.
        drop(fs::remove_dir_all(&self.folder));
    }
}

impl ImageStore {
    /// Imports every image of an archive (OCI layout or `docker save`; plain, gzip or zstd), or of
    /// a folder that is an OCI layout. With `name`, a single image gets that name too.
    ///
    /// # Errors
    /// The archive cannot be read or is damaged; images before the damage are here then.
    pub fn import(&self, source: &Path, name: Option<&str>) -> Result<Vec<StoredImage>> {
        if source.is_dir() {
            let _adding = self.adding()?;
            let mut files = BTreeMap::new();
            collect(source, source, &mut files)?;
            // A folder of its own that does not exist: there is nothing to clear up.
            let folder = self.temporary("import");
            return Unpacked { store: self, folder, files }.import(name);
        }
        let file = File::open(source).attempt(|| format!("open {}", source.display()))?;
        self.import_stream(file, name)
    }

    /// As [`ImageStore::import`], from a stream.
    ///
    /// # Errors
    /// As for [`ImageStore::import`].
    pub fn import_stream(&self, source: impl Read, name: Option<&str>) -> Result<Vec<StoredImage>> {
        let _adding = self.adding()?;
        let unpacked = self.spread(source)?;
        unpacked.import(name)
    }

    /// Lays an archive's files out, by number, not by the names that it chose.
    fn spread(&self, source: impl Read) -> Result<Unpacked<'_>> {
        let what = || "read the archive".to_owned();
        let folder = self.temporary("import");
        fs::create_dir(&folder).attempt(|| format!("make {}", folder.display()))?;
        let mut unpacked = Unpacked { store: self, folder, files: BTreeMap::new() };
        let mut links = Vec::new();
        let mut archive = Archive::new(plain(source)?);
        for entry in archive.entries().attempt(what)? {
            let mut entry = entry.attempt(what)?;
            let path = entry.path().attempt(what)?.to_string_lossy().into_owned();
            let path = path.trim_start_matches("./").to_owned();
            match entry.header().entry_type() {
                EntryType::Regular => {
                    let to = unpacked.folder.join(unpacked.files.len().to_string());
                    let mut file = File::create_new(&to).attempt(what)?;
                    std::io::copy(&mut entry, &mut file).attempt(what)?;
                    file.sync_all().attempt(what)?;
                    unpacked.files.insert(path, to);
                }
                EntryType::Symlink | EntryType::Link => {
                    // Old `docker save` links equal layers: `../OTHER/layer.tar`.
                    if let Some(target) = entry.link_name().attempt(what)? {
                        let target = target.to_string_lossy().into_owned();
                        links.push((path, target.trim_start_matches("../").to_owned()));
                    }
                }
                _ => {}
            }
        }
        for (path, target) in links {
            if let Some(file) = unpacked.files.get(&target).cloned() {
                unpacked.files.insert(path, file);
            }
        }
        Ok(unpacked)
    }

    /// Writes images to an archive that this, Docker and containerd can read.
    ///
    /// # Errors
    /// An image is not here, or the output cannot be written.
    pub fn save(&self, names: &[String], out: impl Write) -> Result<()> {
        let what = || "write the archive".to_owned();
        let mut builder = tar::Builder::new(BufWriter::new(out));
        let mut add = |path: &str, bytes: &[u8]| {
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(bytes.len() as u64);
            builder.append_data(&mut header, path, bytes).attempt(what)
        };
        let (mut index, mut docker) = (Index { schema_version: 2, ..Index::default() }, Vec::new());
        let mut blobs = Vec::new();
        for name in names {
            let image = self.get(name)?;
            self.complete_blobs(&image)?;
            let full = name.parse::<Reference>().map(|name| name.to_string()).ok();
            let full = full.filter(|full| image.names.contains(full));
            let tags: Vec<String> = full.map_or_else(|| image.names.clone(), |full| vec![full]);
            for tag in &tags {
                index.manifests.push(Descriptor {
                    media_type: MANIFEST.into(),
                    digest: image.digest.clone(),
                    size: self.read_blob(&image.digest)?.len() as u64,
                    annotations: [(NAME.to_owned(), tag.clone())].into(),
                    platform: None,
                });
            }
            let path =
                |digest: &str| format!("blobs/sha256/{}", digest.get(7..).unwrap_or_default());
            let layers = &image.manifest.layers;
            docker.push(DockerImage {
                config: path(&image.id),
                repo_tags: Some(tags),
                layers: layers.iter().map(|layer| path(&layer.digest)).collect(),
            });
            blobs.extend([image.digest.clone(), image.id.clone()]);
            blobs.extend(layers.iter().map(|layer| layer.digest.clone()));
        }
        let json = |e: serde_json::Error| malformed("archive", e);
        add("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
        add("index.json", &serde_json::to_vec(&index).map_err(json)?)?;
        add("manifest.json", &serde_json::to_vec(&docker).map_err(json)?)?;
        blobs.sort();
        blobs.dedup();
        for blob in blobs {
            let file = self.open_blob(&blob)?;
            let mut header = Header::new_gnu();
            header.set_mode(0o644);
            header.set_size(file.metadata().attempt(what)?.len());
            let path = format!("blobs/sha256/{}", &blob[7..]);
            builder.append_data(&mut header, path, file).attempt(what)?;
        }
        builder.into_inner().and_then(|mut out| out.flush()).attempt(what)
    }
}

impl Unpacked<'_> {
    fn import(&self, name: Option<&str>) -> Result<Vec<StoredImage>> {
        let docker = self.json::<Vec<DockerImage>>("manifest.json")?;
        let found = match (self.json::<Index>("index.json")?, docker) {
            (Some(index), docker) => self.import_layout(&index, docker.as_deref())?,
            (None, Some(images)) => self.import_docker(&images)?,
            (None, None) => {
                return Err(malformed("archive", "it has neither index.json nor manifest.json"));
            }
        };
        let mut images = Vec::new();
        let alone = found.len() == 1;
        for (manifest, names) in found {
            let names = names.iter().map(String::as_str).chain(name.filter(|_| alone));
            let mut full = Vec::new();
            for name in names {
                full.push(name.parse::<Reference>()?.to_string());
            }
            full.sort();
            full.dedup();
            images.push(self.store.complete(&manifest, &full)?);
        }
        Ok(images)
    }

    fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<Option<T>> {
        let Some(file) = self.files.get(path) else { return Ok(None) };
        let bytes = fs::read(file).attempt(|| format!("read {path}"))?;
        serde_json::from_slice(&bytes).map(Some).map_err(|e| malformed(path, e))
    }

    /// Takes a blob of the layout over, unless it is here already.
    fn take(&self, digest: &str) -> Result<()> {
        if !is_digest(digest) {
            return Err(malformed("archive", format!("{digest:?} is not a digest")));
        }
        if self.store.has_blob(digest) {
            return Ok(());
        }
        let path = format!("blobs/sha256/{}", &digest[7..]);
        let missing = || malformed("archive", format!("it lacks {path}"));
        let file = self.files.get(&path).ok_or_else(missing)?;
        let file = File::open(file).attempt(|| format!("open {path}"))?;
        self.store.put_blob(file, Some(digest)).map(drop)
    }

    /// Manifests with their names.
    fn import_layout(
        &self,
        index: &Index,
        docker: Option<&[DockerImage]>,
    ) -> Result<Vec<(String, Vec<String>)>> {
        let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for entry in &index.manifests {
            let Some(manifest) = self.resolve(entry)? else { continue };
            let bytes = self.store.read_blob(&manifest)?;
            let parsed: Manifest =
                serde_json::from_slice(&bytes).map_err(|e| malformed("manifest", e))?;
            self.take(&parsed.config.digest)?;
            for layer in &parsed.layers {
                self.take(&layer.digest)?;
            }
            let names = found.entry(manifest).or_default();
            let annotation = |key: &str| entry.annotations.get(key).cloned();
            // A bare tag is no name.
            let other = annotation(REF_NAME).filter(|name| name.contains([':', '/']));
            names.extend(annotation(NAME).or(other));
            let config = parsed.config.digest.get(7..).unwrap_or_default();
            let same = docker.iter().flat_map(|images| images.iter());
            let same = same.filter(|image| !config.is_empty() && image.config.contains(config));
            names.extend(same.flat_map(|image| image.repo_tags.iter().flatten().cloned()));
        }
        Ok(found.into_iter().collect())
    }

    /// The manifest for this machine behind an entry, with its blob taken over.
    fn resolve(&self, entry: &Descriptor) -> Result<Option<String>> {
        self.take(&entry.digest)?;
        if !entry.is_list() {
            return Ok(Some(entry.digest.clone()));
        }
        let list = self.store.read_blob(&entry.digest)?;
        let list: Index = serde_json::from_slice(&list).map_err(|e| malformed("index", e))?;
        let Some(fitting) = list.for_this_machine() else { return Ok(None) };
        self.take(&fitting.digest)?;
        Ok(Some(fitting.digest.clone()))
    }

    fn import_docker(&self, images: &[DockerImage]) -> Result<Vec<(String, Vec<String>)>> {
        let mut found = Vec::new();
        for image in images {
            let open = |path: &str| {
                let file = self.files.get(path);
                let file = file.ok_or_else(|| malformed("archive", format!("it lacks {path}")))?;
                File::open(file).attempt(|| format!("open {path}"))
            };
            let mut config = Vec::new();
            open(&image.config)?.read_to_end(&mut config).attempt(|| "read the archive".into())?;
            let parsed: ImageConfig =
                serde_json::from_slice(&config).map_err(|e| malformed(&*image.config, e))?;
            if parsed.rootfs.diff_ids.len() != image.layers.len() {
                return Err(malformed("archive", "layers and their ids differ in number"));
            }
            let mut layers = Vec::new();
            for path in &image.layers {
                let mut start = [0; 2];
                let gzip = open(path)?.read_exact(&mut start).is_ok() && start == [0x1f, 0x8b];
                let (digest, size) = self.store.put_blob(open(path)?, None)?;
                let media_type = if gzip { LAYER_GZIP } else { LAYER }.to_owned();
                layers.push(Descriptor { media_type, digest, size, ..Descriptor::default() });
            }
            let (id, size) = self.store.put_blob(&*config, Some(&digest(&config)))?;
            let manifest = Manifest {
                schema_version: 2,
                media_type: MANIFEST.into(),
                config: Descriptor {
                    media_type: CONFIG.into(),
                    digest: id,
                    size,
                    ..Descriptor::default()
                },
                layers,
            };
            let (manifest, _) = self.store.put_json(&manifest)?;
            found.push((manifest, image.repo_tags.clone().unwrap_or_default()));
        }
        Ok(found)
    }
}

fn collect(root: &Path, folder: &Path, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let what = || format!("read {}", folder.display());
    for entry in fs::read_dir(folder).attempt(what)? {
        let path = entry.attempt(what)?.path();
        if path.is_dir() {
            collect(root, &path, files)?;
        } else if let Ok(below) = path.strip_prefix(root) {
            files.insert(below.to_string_lossy().into_owned(), path);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::BuildConfig;

    fn small_image(store: &ImageStore, folder: &Path, name: &str) -> StoredImage {
        let source = folder.join("source");
        fs::create_dir_all(source.join("bin")).unwrap();
        fs::write(source.join("bin/tool"), "tool").unwrap();
        let config = BuildConfig { cmd: vec!["/bin/tool".into()], ..BuildConfig::default() };
        store.build(&source, &config, &[name.into()]).unwrap()
    }

    #[test]
    fn what_is_saved_can_be_imported() {
        let folder = tempfile::tempdir().unwrap();
        let one = ImageStore::open(folder.path().join("one")).unwrap();
        let built = small_image(&one, folder.path(), "busybox:1.28");
        let archive = folder.path().join("image.tar");
        one.save(&["busybox:1.28".into()], File::create(&archive).unwrap()).unwrap();

        let two = ImageStore::open(folder.path().join("two")).unwrap();
        let imported = two.import(&archive, Some("extra/name")).unwrap();
        assert_eq!(imported[0].digest, built.digest);
        let image = two.get("docker.io/library/busybox:1.28").unwrap();
        assert_eq!(image.names, ["docker.io/extra/name:latest", "docker.io/library/busybox:1.28"]);
        let layers = two.unpack(&image).unwrap();
        let tool = two.layers_dir().join(&layers[0]).join("bin/tool");
        assert_eq!(fs::read_to_string(tool).unwrap(), "tool");
        assert_eq!(digest(&two.read_blob(&image.id).unwrap()), image.id);
    }

    #[test]
    fn names_move_and_garbage_goes() {
        let folder = tempfile::tempdir().unwrap();
        let store = ImageStore::open(folder.path().join("images")).unwrap();
        let image = small_image(&store, folder.path(), "a:1");
        store.tag("a:1", "b:2").unwrap();
        let nowhere = folder.path().join("containers");
        assert_eq!(store.collect_garbage(&nowhere).unwrap(), 0);
        assert_eq!(store.remove("a:1").unwrap(), ["docker.io/library/a:1"]);
        assert_eq!(store.find(&image.id).unwrap().unwrap().names, ["docker.io/library/b:2"]);
        store.remove("b:2").unwrap();
        assert!(store.find("b:2").unwrap().is_none());
        assert!(store.collect_garbage(&nowhere).unwrap() > 0);
        assert!(!store.has_blob(&image.id));
        assert!(store.import(Path::new("/dev/null"), None).is_err());
    }
}
