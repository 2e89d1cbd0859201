//! Making an image from a folder or a tar: one layer, one configuration.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;

use super::codec::{Digested, plain};
use super::config::{Empty, RootFs};
use super::index::{CONFIG, Descriptor, LAYER, MANIFEST, Manifest};
use super::{
    Attempt, ImageConfig, ImageStore, ProcessConfig, Reference, Result, StoredImage, tree,
};

/// How to run an image that is built.
#[derive(Debug, Default, Clone)]
pub struct BuildConfig {
    /// The program and its first arguments.
    pub entrypoint: Vec<String>,
    /// The arguments that a pod may replace.
    pub cmd: Vec<String>,
    /// `KEY=VALUE`s; a PATH is added when there is none.
    pub env: Vec<String>,
    /// Where it starts.
    pub working_dir: String,
    /// Ports that it listens on, as `8080/tcp` or `8080`.
    pub exposed_ports: Vec<String>,
    /// `user[:group]`.
    pub user: String,
    /// Labels.
    pub labels: BTreeMap<String, String>,
    /// The signal that stops it.
    pub stop_signal: String,
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

impl BuildConfig {
    pub(super) fn process(&self) -> ProcessConfig {
        let mut env = self.env.clone();
        if !env.iter().any(|entry| entry.starts_with("PATH=")) {
            env.insert(0, PATH.to_owned());
        }
        let port = |port: &String| {
            let port = if port.contains('/') { port.clone() } else { format!("{port}/tcp") };
            (port, Empty {})
        };
        ProcessConfig {
            user: self.user.clone(),
            env,
            entrypoint: self.entrypoint.clone(),
            cmd: self.cmd.clone(),
            working_dir: self.working_dir.clone(),
            labels: self.labels.clone(),
            exposed_ports: self.exposed_ports.iter().map(port).collect(),
            volumes: BTreeMap::new(),
            stop_signal: self.stop_signal.clone(),
        }
    }
}

impl ImageStore {
    /// Builds an image of one layer from a folder, or from a tar that may be compressed, and
    /// gives it these names.
    ///
    /// # Errors
    /// The source cannot be read, or a name is not one.
    pub fn build(
        &self,
        source: &Path,
        config: &BuildConfig,
        names: &[String],
    ) -> Result<StoredImage> {
        let _adding = self.adding()?;
        let temporary = self.temporary("build");
        let what = || format!("write {}", temporary.display());
        let result = (|| {
            let file = File::create_new(&temporary).attempt(what)?;
            let mut out = BufWriter::new(file);
            if source.is_dir() {
                tree::write(source, &mut out)?;
            } else {
                let file = File::open(source).attempt(|| format!("open {}", source.display()))?;
                std::io::copy(&mut plain(file)?, &mut out).attempt(what)?;
            }
            let file =
                out.into_inner().map_err(std::io::IntoInnerError::into_error).attempt(what)?;
            file.sync_all().attempt(what)?;
            let size = file.metadata().attempt(what)?.len();
            let file = File::open(&temporary).attempt(what)?;
            let layer = Digested::new(file).digest_all().attempt(what)?;
            self.adopt_blob(&temporary, &layer, None)?;
            self.finish(&[(layer, size)], config.process(), names)
        })();
        if temporary.exists() {
            drop(std::fs::remove_file(&temporary));
        }
        result
    }

    /// Writes configuration and manifest over plain layers, unpacks and names the image.
    pub(super) fn finish(
        &self,
        layers: &[(String, u64)],
        process: ProcessConfig,
        names: &[String],
    ) -> Result<StoredImage> {
        let full: Vec<String> = names
            .iter()
            .map(|name| name.parse::<Reference>().map(|name| name.to_string()))
            .collect::<Result<_>>()?;
        let config = ImageConfig {
            architecture: "amd64".into(),
            os: "linux".into(),
            created: None,
            config: process,
            rootfs: RootFs {
                kind: "layers".into(),
                diff_ids: layers.iter().map(|(digest, _)| digest.clone()).collect(),
            },
        };
        let (digest, size) = self.put_json(&config)?;
        let descriptor = |media_type: &str, digest: &str, size| Descriptor {
            media_type: media_type.to_owned(),
            digest: digest.to_owned(),
            size,
            ..Descriptor::default()
        };
        let manifest = Manifest {
            schema_version: 2,
            media_type: MANIFEST.into(),
            config: descriptor(CONFIG, &digest, size),
            layers: layers.iter().map(|(digest, size)| descriptor(LAYER, digest, *size)).collect(),
        };
        let (digest, _) = self.put_json(&manifest)?;
        self.complete(&digest, &full)
    }

    /// Unpacks an image whose blobs are all here, then names it.
    pub(super) fn complete(&self, manifest: &str, names: &[String]) -> Result<StoredImage> {
        let image = self.load(manifest)?;
        self.unpack(&image)?;
        self.name(manifest, names)?;
        Ok(StoredImage { names: names.to_vec(), ..image })
    }
}
