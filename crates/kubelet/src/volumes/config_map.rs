//! `configMap`: a ConfigMap's keys as files, kept current.

use async_trait::async_trait;
use k8s_openapi::api::core::v1::{Pod, Volume};

use super::{Context, Prepared, VolumeError, VolumePlugin, atomic, blocking, payload};
use crate::objects::ObjectRef;
use crate::pod;

pub(crate) struct ConfigMapVolume;

#[async_trait]
impl VolumePlugin for ConfigMapVolume {
    fn folder(&self) -> &'static str {
        "kubernetes.io~configmap"
    }

    fn takes(&self, volume: &Volume) -> bool {
        volume.config_map.is_some()
    }

    fn references(&self, pod: &Pod, volume: &Volume) -> Vec<ObjectRef> {
        let name = volume.config_map.as_ref().map(|source| source.name.clone());
        name.map(|name| ObjectRef::config_map(pod::namespace(pod), &name)).into_iter().collect()
    }

    async fn set_up(&self, ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError> {
        let source = volume.config_map.clone().unwrap_or_default();
        let object = ctx.objects.config_map(pod::namespace(ctx.pod), &source.name).await;
        let files = payload::of_config_map(
            object.map_err(VolumeError::Api)?.as_deref(),
            &source.name,
            source.items.as_deref(),
            source.default_mode,
            source.optional == Some(true),
        )?;
        let (dir, group, now) = (ctx.dir.clone(), ctx.fs_group(), ctx.now);
        blocking(move || {
            std::fs::create_dir_all(&dir).map_err(|error| VolumeError::io("make", &dir, error))?;
            super::open_to_all(&dir)?;
            atomic::write(&dir, &files, group, now)?;
            Ok(Prepared { path: dir, read_only: true, ..Prepared::default() })
        })
        .await
    }
}
