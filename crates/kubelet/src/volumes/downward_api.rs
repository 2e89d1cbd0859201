//! `downwardAPI`: what a pod may know about itself, as files, kept current.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{Context, Prepared, VolumeError, VolumePlugin, payload};

pub(crate) struct DownwardApi;

#[async_trait]
impl VolumePlugin for DownwardApi {
    fn folder(&self) -> &'static str {
        "kubernetes.io~downward-api"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.downward_api.is_some()
    }

    async fn set_up(&self, ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError> {
        let source = volume.downward_api.clone().unwrap_or_default();
        let files =
            payload::of_downward(ctx.pod, ctx.place, source.items.as_deref(), source.default_mode)?;
        super::write_in_memory(ctx, files, None).await
    }
}
