//! Encryption at rest in the composition: the key file, its changes while the server runs, and the
//! way from a key of the store to the resource that the file names.
//!
//! Secrets are encrypted unless a file says otherwise. The own file, `DATA/server/encryption-key`,
//! has the form of upstream's `EncryptionConfiguration`: a new key is put first, in the file, and
//! holds from then on.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result};
use api::names::GroupResource;
use api::status::{ApiError, ApiResult};
use apiserver::resource::Resource;
use apiserver::{Server, ValueTransformer};
use base::drain::Drain;
use bytes::Bytes;
use encryption::{Encryption, OpenError};
use kubelet::FileWatch;
use parking_lot::RwLock;

use crate::pki::write_secret;

/// The name of the first key that a cluster makes for itself.
const FIRST_KEY: &str = "key1";

/// Encrypts and decrypts by what the file says now.
pub(crate) struct AtRest {
    path: PathBuf,
    encryption: RwLock<Arc<Encryption>>,
    /// The built-in kinds by the prefix of their keys, which is not always their name.
    prefixes: HashMap<String, GroupResource>,
    /// Whether something could not be read, so that a new key may bring it back.
    unread: AtomicBool,
}

impl AtRest {
    /// By `--encryption-provider-config`, or by the cluster's own file, made when it is missing.
    pub(crate) fn open(
        given: Option<&Path>,
        server_dir: &Path,
        kinds: &[Arc<dyn Resource>],
    ) -> Result<Arc<Self>> {
        let path = match given {
            Some(path) => path.to_owned(),
            None => own_file(server_dir)?,
        };
        let encryption = read(&path)?;
        let prefixes = kinds
            .iter()
            .map(|kind| (kind.info().key_prefix.to_string(), kind.info().group_resource()))
            .collect();
        Ok(Arc::new(Self {
            path,
            encryption: RwLock::new(Arc::new(encryption)),
            prefixes,
            unread: AtomicBool::new(false),
        }))
    }

    /// Takes the file's changes in until the drain fires. A file that cannot be used changes nothing
    /// and is named in the log.
    pub(crate) async fn follow(self: Arc<Self>, server: Server, drain: Drain) {
        let folder = self.path.parent().filter(|dir| !dir.as_os_str().is_empty());
        let watch = match FileWatch::folder(folder.unwrap_or(Path::new("."))) {
            Ok(watch) => watch,
            Err(error) => {
                let path = self.path.display();
                tracing::error!(%path, %error, "changes of the encryption keys will not be seen before a restart");
                return;
            }
        };
        let mut known = std::fs::read(&self.path).unwrap_or_default();
        loop {
            tokio::select! {
                () = drain.cancelled() => return,
                changed = watch.changed() => if changed.is_err() { return },
            }
            let now = std::fs::read(&self.path).unwrap_or_default();
            if now == known || now.is_empty() {
                continue;
            }
            match read(&self.path) {
                Ok(encryption) => self.take(encryption, &server).await,
                Err(error) => {
                    tracing::error!(
                        error = format!("{error:#}"),
                        "the encryption keys stay as they were"
                    );
                }
            }
            known = now;
        }
    }

    async fn take(&self, encryption: Encryption, server: &Server) {
        let encryption = Arc::new(encryption);
        *self.encryption.write() = encryption.clone();
        tracing::info!(path = %self.path.display(), "the encryption keys were read anew");
        if self.unread.swap(false, Ordering::AcqRel) {
            for resource in self.prefixes.values().filter(|one| encryption.of(one).is_some()) {
                server.reload(resource).await;
            }
        }
    }

    /// The resource whose object has a key: by the built-in kinds' prefixes, or, for custom kinds,
    /// `/registry/GROUP/PLURAL/…`.
    fn resource_of(&self, key: &str) -> Option<GroupResource> {
        let mut known = key.match_indices('/').skip(2).map(|(at, _)| &key[..at]);
        if let Some(found) = known.find_map(|prefix| self.prefixes.get(prefix)) {
            return Some(found.clone());
        }
        let mut parts = key.strip_prefix("/registry/")?.split('/');
        let (group, plural) = (parts.next()?, parts.next()?);
        group.contains('.').then(|| GroupResource::new(group, plural))
    }

    fn with<T>(&self, key: &str, act: impl FnOnce(&encryption::Chain) -> T) -> Option<T> {
        let resource = self.resource_of(key)?;
        let encryption = self.encryption.read().clone();
        encryption.of(&resource).map(act)
    }
}

fn failed(key: &str, why: &OpenError) -> ApiError {
    ApiError::internal(format!("unable to transform key {key:?}: {why}"))
}

impl ValueTransformer for AtRest {
    fn encrypt(&self, key: &str, plain: Bytes) -> ApiResult<Bytes> {
        match self.with(key, |chain| chain.seal(&plain, key)) {
            None => Ok(plain),
            Some(sealed) => sealed.map(Bytes::from).map_err(|why| failed(key, &why)),
        }
    }

    fn decrypt(&self, key: &str, stored: Bytes) -> ApiResult<Bytes> {
        match self.with(key, |chain| chain.open(&stored, key)) {
            None => Ok(stored),
            Some(Ok(plain)) => Ok(Bytes::from(plain)),
            Some(Err(why)) => {
                self.unread.store(true, Ordering::Release);
                Err(failed(key, &why))
            }
        }
    }

    fn is_stale(&self, key: &str, stored: &[u8]) -> bool {
        self.with(key, |chain| !chain.is_current(stored)).unwrap_or(false)
    }
}

fn own_file(server_dir: &Path) -> Result<PathBuf> {
    let path = server_dir.join("encryption-key");
    if !path.exists() {
        let made = encryption::new_configuration(FIRST_KEY)?;
        let text = serde_norway::to_string(&made).context("cannot write the encryption keys")?;
        write_secret(&path, text.as_bytes())?;
    }
    Ok(path)
}

fn read(path: &Path) -> Result<Encryption> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the encryption keys in {}", path.display()))?;
    text.parse().with_context(|| format!("cannot use the encryption keys in {}", path.display()))
}
