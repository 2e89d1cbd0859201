//! `secret`: a Secret's keys as files in memory, kept current.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::{Context, Prepared, VolumeError, VolumePlugin, payload};
use crate::objects::ObjectRef;
use crate::pod;

pub(crate) struct SecretVolume;

#[async_trait]
impl VolumePlugin for SecretVolume {
    fn folder(&self) -> &'static str {
        "kubernetes.io~secret"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.secret.is_some()
    }

    fn references(&self, pod: &Pod, volume: &Volume) -> Vec<ObjectRef> {
        let name = volume.secret.as_ref().and_then(|source| source.secret_name.clone());
        name.map(|name| ObjectRef::secret(pod::namespace(pod), &name)).into_iter().collect()
    }

    async fn set_up(&self, ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError> {
        let source = volume.secret.clone().unwrap_or_default();
        let name = source.secret_name.unwrap_or_default();
        let object = ctx.objects.secret(pod::namespace(ctx.pod), &name).await;
        let files = payload::of_secret(
            object.map_err(VolumeError::Api)?.as_deref(),
            &name,
            source.items.as_deref(),
            source.default_mode,
            source.optional == Some(true),
        )?;
        super::write_in_memory(ctx, files, None).await
    }
}
