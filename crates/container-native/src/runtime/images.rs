//! CRI's image service on the image store.

use std::path::Path;

use async_trait::async_trait;
use base64::Engine;
use container_runtime::{
    AuthConfig, Error, FilesystemUsage, Image, ImageFilter, ImageFsInfo, ImageService, ImageSpec,
    PodSandboxConfig, Result,
};

use super::{NativeRuntime, blocking, image_error, stats};
use crate::image::{Credentials, ImageError, StoredImage};

fn as_cri(image: StoredImage) -> Image {
    let user = image.config.config.user.split(':').next().unwrap_or_default().to_owned();
    let uid = if user.is_empty() { Some(0) } else { user.parse().ok() };
    Image {
        repo_tags: image.repo_tags(),
        repo_digests: image.repo_digests(),
        pinned: image.names.iter().any(|name| name.starts_with("ferry.local/")),
        size: image.size,
        username: if uid.is_some() { String::new() } else { user },
        uid,
        id: image.id,
    }
}

/// The pull secret's words as the registry's.
fn credentials(auth: Option<&AuthConfig>) -> Result<Credentials> {
    let Some(auth) = auth.filter(|auth| **auth != AuthConfig::default()) else {
        return Ok(Credentials::Anonymous);
    };
    if !auth.username.is_empty() {
        return Ok(Credentials::Basic(auth.username.clone(), auth.password.clone()));
    }
    if !auth.auth.is_empty() {
        let plain = base64::engine::general_purpose::STANDARD.decode(auth.auth.trim());
        let plain = plain.ok().and_then(|plain| String::from_utf8(plain).ok());
        let pair = plain.as_deref().and_then(|plain| plain.split_once(':'));
        let bad = || Error::InvalidArgument("the auth of a pull secret is not base64".to_owned());
        let (user, password) = pair.ok_or_else(bad)?;
        let password = password.trim_matches('\0');
        return Ok(Credentials::Basic(user.to_owned(), password.to_owned()));
    }
    let tokens = [&auth.registry_token, &auth.identity_token];
    let token = tokens.into_iter().find(|token| !token.is_empty());
    Ok(token.map_or(Credentials::Anonymous, |token| Credentials::Bearer(token.clone())))
}

#[async_trait]
impl ImageService for NativeRuntime {
    async fn list_images(&self, filter: &ImageFilter) -> Result<Vec<Image>> {
        if !filter.image.image.is_empty() {
            return Ok(self.image_status(&filter.image).await?.into_iter().collect());
        }
        let store = self.images.clone();
        let images = blocking(move || store.list().map_err(image_error)).await?;
        Ok(images.into_iter().map(as_cri).collect())
    }

    async fn image_status(&self, image: &ImageSpec) -> Result<Option<Image>> {
        let (store, name) = (self.images.clone(), image.image.clone());
        let found = blocking(move || store.find(&name).map_err(image_error)).await?;
        Ok(found.map(as_cri))
    }

    async fn pull_image(
        &self,
        image: &ImageSpec,
        auth: Option<&AuthConfig>,
        _sandbox_config: Option<&PodSandboxConfig>,
    ) -> Result<String> {
        let pulled = self.images.pull(&image.image, &credentials(auth)?, None).await;
        let pulled = pulled.map_err(image_error)?;
        Ok(pulled.id)
    }

    async fn remove_image(&self, image: &ImageSpec) -> Result<()> {
        let (store, name, containers) =
            (self.images.clone(), image.image.clone(), self.dir.clone());
        blocking(move || {
            match store.remove_image(&name) {
                Ok(()) => {}
                Err(ImageError::NotFound(_)) => return Ok(()),
                Err(error) => return Err(image_error(error)),
            }
            store.collect_garbage(&containers).map(drop).map_err(image_error)
        })
        .await
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfo> {
        let runtime = self.shared();
        blocking(move || {
            let timestamp = runtime.now();
            let usage = |folder: &Path, (used_bytes, inodes_used)| FilesystemUsage {
                timestamp,
                mountpoint: folder.display().to_string(),
                used_bytes: Some(used_bytes),
                inodes_used: Some(inodes_used),
            };
            let containers = stats::disk_usage(&runtime.dir);
            Ok(ImageFsInfo {
                image_filesystems: vec![usage(runtime.images.root(), runtime.images_use())],
                container_filesystems: vec![usage(&runtime.dir, containers)],
            })
        })
        .await
    }
}

impl NativeRuntime {
    /// Bytes and files of the images; counted anew only when there are others.
    fn images_use(&self) -> (u64, u64) {
        let version = self.images.version();
        let known = self.state.lock().images_use;
        if let Some((_, known)) = known.filter(|(of, _)| *of == version) {
            return known;
        }
        let counted = stats::disk_usage(self.images.root());
        self.state.lock().images_use = Some((version, counted));
        counted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pull_secrets_in_all_their_forms() {
        let check = |auth: AuthConfig, expected: &str| {
            let got = credentials(Some(&auth));
            let got = got.map(|credentials| match credentials {
                Credentials::Anonymous => "anonymous".to_owned(),
                Credentials::Basic(user, password) => format!("{user}/{password}"),
                Credentials::Bearer(token) => format!("token {token}"),
            });
            assert_eq!(got.unwrap_or_else(|error| error.code().to_owned()), expected);
        };
        check(AuthConfig::default(), "anonymous");
        let plain =
            AuthConfig { username: "u".into(), password: "p".into(), ..AuthConfig::default() };
        check(plain, "u/p");
        check(AuthConfig { auth: "dTpw".into(), ..AuthConfig::default() }, "u/p");
        check(AuthConfig { auth: "!".into(), ..AuthConfig::default() }, "InvalidArgument");
        check(AuthConfig { registry_token: "t".into(), ..AuthConfig::default() }, "token t");
    }
}
