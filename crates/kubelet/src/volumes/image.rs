//! `image`: the files of an OCI image, read-only. The runtime mounts them; nothing is copied.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{Context, ImageSource, Prepared, VolumeError, VolumePlugin};

pub(crate) struct ImageVolume;

#[async_trait]
impl VolumePlugin for ImageVolume {
    fn folder(&self) -> &'static str {
        "kubernetes.io~image"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.image.is_some()
    }

    async fn set_up(&self, _ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError> {
        let source = volume.image.clone().unwrap_or_default();
        let image = ImageSource {
            reference: source.reference.unwrap_or_default(),
            pull_policy: source.pull_policy,
        };
        Ok(Prepared { image: Some(image), read_only: true, ..Prepared::default() })
    }
}
