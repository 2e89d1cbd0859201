//! Images of the in-memory runtime: names without content.

use async_trait::async_trait;

use super::{MemoryRuntime, Pull, next_of};
use crate::{
    AuthConfig, FilesystemUsage, Image, ImageFilter, ImageFsInfo, ImageService, ImageSpec,
    PodSandboxConfig, Result,
};

#[async_trait]
impl ImageService for MemoryRuntime {
    async fn list_images(&self, filter: &ImageFilter) -> Result<Vec<Image>> {
        let mut state = self.inner.lock();
        state.called("list_images", &filter.image.image)?;
        if filter.image.image.is_empty() {
            return Ok(state.images.values().cloned().collect());
        }
        Ok(state.image(&filter.image.image).cloned().into_iter().collect())
    }

    async fn image_status(&self, image: &ImageSpec) -> Result<Option<Image>> {
        let mut state = self.inner.lock();
        state.called("image_status", &image.image)?;
        Ok(state.image(&image.image).cloned())
    }

    async fn pull_image(
        &self,
        image: &ImageSpec,
        _auth: Option<&AuthConfig>,
        _sandbox_config: Option<&PodSandboxConfig>,
    ) -> Result<String> {
        let pull = {
            let mut state = self.inner.lock();
            state.called("pull_image", &image.image)?;
            next_of(&mut state.pulls, &image.image)
        };
        match pull {
            Some(Pull::Fails(error)) => return Err(error),
            Some(Pull::Arrives(after)) => tokio::time::sleep(after).await,
            None => {}
        }
        let image = self.inner.lock().add_image(&image.image);
        Ok(image.repo_digests.first().cloned().unwrap_or(image.id))
    }

    async fn remove_image(&self, image: &ImageSpec) -> Result<()> {
        let mut state = self.inner.lock();
        state.called("remove_image", &image.image)?;
        let id = state.image(&image.image).map(|image| image.id.clone());
        state.images.retain(|_, image| Some(&image.id) != id.as_ref());
        Ok(())
    }

    async fn image_fs_info(&self) -> Result<ImageFsInfo> {
        let usage = FilesystemUsage {
            mountpoint: "/memory".into(),
            used_bytes: Some(0),
            inodes_used: Some(0),
            ..FilesystemUsage::default()
        };
        Ok(ImageFsInfo {
            image_filesystems: vec![usage.clone()],
            container_filesystems: vec![usage],
        })
    }
}
