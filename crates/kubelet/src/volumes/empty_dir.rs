//! `emptyDir`: a folder, or a tmpfs, that lives as long as the pod on this node.

use std::os::unix::fs::PermissionsExt;

use async_trait::async_trait;
use k8s_openapi::api::core::v1::Volume;

use super::{Context, Prepared, VolumeError, VolumePlugin, blocking, mount, ownership};
use crate::quantity;

pub(crate) struct EmptyDir;

#[async_trait]
impl VolumePlugin for EmptyDir {
    fn folder(&self) -> &'static str {
        "kubernetes.io~empty-dir"
    }

    fn takes(&self, volume: &Volume) -> bool {
        // A volume that says nothing is an emptyDir; the API server writes it out.
        volume.empty_dir.is_some()
            || *volume == (Volume { name: volume.name.clone(), ..Volume::default() })
    }

    async fn set_up(&self, ctx: &Context<'_>, volume: &Volume) -> Result<Prepared, VolumeError> {
        let source = volume.empty_dir.clone().unwrap_or_default();
        let (dir, group, may_mount) = (ctx.dir.clone(), ctx.fs_group(), ctx.may_mount);
        let memory = source.medium.as_deref() == Some("Memory");
        let size = source.size_limit.as_ref().and_then(quantity::value);
        blocking(move || {
            let fresh = !dir.exists();
            if memory && may_mount {
                mount::tmpfs(&dir, size)?;
            } else {
                std::fs::create_dir_all(&dir)
                    .map_err(|error| VolumeError::io("make", &dir, error))?;
            }
            if fresh {
                std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o777))
                    .map_err(|error| VolumeError::io("chmod", &dir, error))?;
            }
            if let Some(group) = group
                && !ownership::top_is_given(&dir, group)
            {
                ownership::give_to_group(&dir, group, false)?;
            }
            Ok(Prepared { path: dir, ..Prepared::default() })
        })
        .await
    }
}
