//! Registries: pulling and pushing.

use std::sync::Arc;

use futures::TryStreamExt;
use oci_client::client::{ClientConfig, ClientProtocol};
use oci_client::errors::{OciDistributionError, OciErrorCode};
use oci_client::manifest::OciDescriptor;
use oci_client::secrets::RegistryAuth;
use oci_client::{Client, Reference as RegistryReference, RegistryOperation};
use tokio::io::AsyncWriteExt;

use super::codec::{Digested, digest};
use super::index::{DOCKER_LIST, DOCKER_MANIFEST, Descriptor, INDEX, Index, MANIFEST, Manifest};
use super::{Attempt, ImageError, ImageStore, Reference, Result, StoredImage, malformed};

/// Who pulls or pushes.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Nobody in particular.
    #[default]
    Anonymous,
    /// User and password.
    Basic(String, String),
    /// A token.
    Bearer(String),
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Credentials::Anonymous => "Anonymous",
            Credentials::Basic(..) => "Basic",
            Credentials::Bearer(_) => "Bearer",
        })
    }
}

/// Hears of progress: bytes so far, bytes in all.
pub type Progress = Arc<dyn Fn(u64, u64) + Send + Sync>;

fn client(name: &Reference) -> Client {
    // The process may have chosen a provider already; either will do.
    drop(rustls::crypto::ring::default_provider().install_default());
    let protocol = if name.is_local() { ClientProtocol::Http } else { ClientProtocol::Https };
    let second = std::time::Duration::from_secs(1);
    Client::new(ClientConfig {
        protocol,
        connect_timeout: Some(10 * second),
        read_timeout: Some(60 * second),
        ..ClientConfig::default()
    })
}

fn auth(credentials: &Credentials) -> RegistryAuth {
    match credentials {
        Credentials::Anonymous => RegistryAuth::Anonymous,
        Credentials::Basic(user, password) => RegistryAuth::Basic(user.clone(), password.clone()),
        Credentials::Bearer(token) => RegistryAuth::Bearer(token.clone()),
    }
}

fn theirs(name: &Reference) -> RegistryReference {
    let (registry, repository) = (name.registry.clone(), name.repository.clone());
    match (&name.digest, &name.tag) {
        (Some(digest), _) => RegistryReference::with_digest(registry, repository, digest.clone()),
        (None, tag) => {
            let tag = tag.clone().unwrap_or_else(|| "latest".to_owned());
            RegistryReference::with_tag(registry, repository, tag)
        }
    }
}

fn failed(name: &Reference, error: &OciDistributionError) -> ImageError {
    let (name, why) = (name.to_string(), base::error::Chain(error).to_string());
    match error {
        OciDistributionError::AuthenticationFailure(_)
        | OciDistributionError::UnauthorizedError { .. } => ImageError::Denied { name, why },
        OciDistributionError::ImageManifestNotFoundError(_) => ImageError::NotFound(name),
        OciDistributionError::RegistryError { envelope, .. } => {
            let said = |codes: &[OciErrorCode]| {
                envelope.errors.iter().any(|error| codes.contains(&error.code))
            };
            if said(&[OciErrorCode::ManifestUnknown, OciErrorCode::NameUnknown]) {
                ImageError::NotFound(name)
            } else if said(&[OciErrorCode::Unauthorized, OciErrorCode::Denied]) {
                ImageError::Denied { name, why }
            } else {
                ImageError::Registry { name, why }
            }
        }
        _ => ImageError::Registry { name, why },
    }
}

impl ImageStore {
    /// Pulls an image; what is here already is not fetched again.
    ///
    /// # Errors
    /// The registry does not answer, refuses, or sends something that is not what it says.
    pub async fn pull(
        &self,
        name: &str,
        credentials: &Credentials,
        progress: Option<Progress>,
    ) -> Result<StoredImage> {
        let name: Reference = name.parse()?;
        let store = self.clone();
        let _adding = blocking(move || store.adding()).await?;
        let (client, reference, auth) = (client(&name), theirs(&name), auth(credentials));
        let accepted = [MANIFEST, DOCKER_MANIFEST, INDEX, DOCKER_LIST];
        let get = |reference: RegistryReference| {
            let (client, auth) = (&client, &auth);
            let name = &name;
            async move {
                let got = client.pull_manifest_raw(&reference, auth, &accepted).await;
                got.map_err(|error| failed(name, &error))
            }
        };
        let (mut bytes, _) = get(reference.clone()).await?;
        let list: Index = serde_json::from_slice(&bytes).unwrap_or_default();
        if let Some(entry) = list.for_this_machine() {
            let digest = entry.digest.clone();
            bytes = get(reference.clone_with_digest(digest)).await?.0;
        } else if !list.manifests.is_empty() {
            let why = "it has no variant for linux/amd64".to_owned();
            return Err(ImageError::Registry { name: name.to_string(), why });
        }
        let manifest: Manifest =
            serde_json::from_slice(&bytes).map_err(|e| malformed("manifest", e))?;
        let blobs: Vec<&Descriptor> =
            std::iter::once(&manifest.config).chain(&manifest.layers).collect();
        let (total, mut done) = (blobs.iter().map(|blob| blob.size).sum(), 0);
        for blob in blobs {
            if !self.has_blob(&blob.digest) {
                self.fetch(&client, &name, blob, |bytes| {
                    if let Some(progress) = &progress {
                        progress(done + bytes, total);
                    }
                })
                .await?;
            }
            done += blob.size;
        }
        let store = self.clone();
        blocking(move || {
            let (digest, _) = store.put_blob(&*bytes, Some(&digest(&bytes)))?;
            if name.digest.as_ref().is_some_and(|wanted| *wanted != digest)
                && list.manifests.is_empty()
            {
                return Err(malformed(name.to_string(), format!("the registry sent {digest}")));
            }
            store.complete(&digest, &[name.to_string()])
        })
        .await
    }

    async fn fetch(
        &self,
        client: &Client,
        name: &Reference,
        blob: &Descriptor,
        mut progress: impl FnMut(u64),
    ) -> Result<()> {
        let temporary = self.temporary("pull");
        let what = || format!("write {}", temporary.display());
        let descriptor = OciDescriptor {
            media_type: blob.media_type.clone(),
            digest: blob.digest.clone(),
            size: i64::try_from(blob.size).unwrap_or_default(),
            ..OciDescriptor::default()
        };
        let result = async {
            let stream = client.pull_blob_stream(&theirs(name), &descriptor).await;
            let mut stream = stream.map_err(|error| failed(name, &error))?.stream;
            let mut file = tokio::fs::File::create_new(&temporary).await.attempt(what)?;
            let mut so_far = 0;
            let lost = |error: std::io::Error| ImageError::Registry {
                name: name.to_string(),
                why: error.to_string(),
            };
            while let Some(chunk) = stream.try_next().await.map_err(lost)? {
                file.write_all(&chunk).await.attempt(what)?;
                so_far += chunk.len() as u64;
                progress(so_far);
            }
            file.sync_all().await.attempt(what)?;
            let (store, path, expected) = (self.clone(), temporary.clone(), blob.digest.clone());
            blocking(move || {
                let file =
                    std::fs::File::open(&path).attempt(|| format!("read {}", path.display()))?;
                let got = Digested::new(file).digest_all().attempt(|| "read a blob".to_owned())?;
                store.adopt_blob(&path, &got, Some(&expected))
            })
            .await
        }
        .await;
        if result.is_err() {
            drop(std::fs::remove_file(&temporary));
        }
        result
    }

    /// Pushes an image under one of its names.
    ///
    /// # Errors
    /// The image is not here, or the registry does not answer or refuses.
    pub async fn push(&self, image: &str, credentials: &Credentials) -> Result<String> {
        let name: Reference = image.parse()?;
        let (store, wanted) = (self.clone(), image.to_owned());
        let image = blocking(move || {
            let image = store.get(&wanted)?;
            store.complete_blobs(&image)?;
            Ok(image)
        })
        .await?;
        let (client, reference) = (client(&name), theirs(&name));
        let failed = |error: OciDistributionError| failed(&name, &error);
        client
            .auth(&reference, &auth(credentials), RegistryOperation::Push)
            .await
            .map_err(failed)?;
        for blob in std::iter::once(&image.manifest.config).chain(&image.manifest.layers) {
            if client.blob_exists(&reference, &blob.digest).await.unwrap_or(false) {
                continue;
            }
            let path = self.blob_path(&blob.digest)?;
            let file = tokio::fs::File::open(&path)
                .await
                .attempt(|| format!("open blob {}", blob.digest))?;
            let stream = tokio_util::io::ReaderStream::with_capacity(file, 1 << 20);
            let stream = stream.map_err(OciDistributionError::IoError);
            client
                .push_blob_stream(&reference, stream, &blob.digest, Some(blob.size))
                .await
                .map_err(failed)?;
        }
        let manifest = self.read_blob(&image.digest)?;
        let media_type = if image.manifest.media_type.is_empty() {
            MANIFEST
        } else {
            &*image.manifest.media_type
        };
        let media_type =
            http::HeaderValue::from_str(media_type).map_err(|e| malformed("manifest", e))?;
        client.push_manifest_raw(&reference, manifest, media_type).await.map_err(failed)?;
        Ok(image.digest)
    }
}

/// Runs blocking work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| malformed("image work", error))?
}
